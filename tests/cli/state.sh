# shellcheck shell=bash disable=SC2154,SC2016 # sourced by tests/cli/run, whose words it uses
# The state directory as kosvmd may find it: from a newer version, damaged, open to others, a stranger's, full, read-only.

end_kosvmd
own=$KOSVM_STATE
mine() {
	export KOSVM_STATE=$dir/$1
	rm -rf "$KOSVM_STATE"
	mkdir -m 700 "$KOSVM_STATE"
}
# sql TEXT...: statements for the database, one transaction each.
sql() {
	python3 - "$KOSVM_STATE/kosvmd.db" "$@" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for text in sys.argv[2:]:
    print(*db.execute(text).fetchall())
    db.commit()
PY
}

mine newer
try kosvm ps
expect "a fresh state directory" 0
end_kosvmd
sql "PRAGMA user_version = 99" >/dev/null
before=$(sha256sum <"$KOSVM_STATE/kosvmd.db")
try kosvmd
expect "one of a newer version is refused in words" 1 "schema version 99.*newer"
try kosvm ps
expect "and the person who asked is told" 1 "schema version 99.*newer"
is "it is left as it was" "$(sha256sum <"$KOSVM_STATE/kosvmd.db")" = "$before"

mine rows
try kosvm ps
end_kosvmd
row="INSERT INTO agents (name, state, cid, created_ns, signer, manifest, signature, uid) VALUES"
# One of a newer version, one that says nonsense, and one whose very name is no text.
sql "$row ('new', 'stopped', 5, 1, 'k', '[agent]' || char(10) || 'mood = good', 's', '11')" \
	"$row ('odd', 'dreaming', 6, 1, 'k', 'x', 's', '22')" \
	"$row (CAST(x'ff0a' AS TEXT), 'running', 7, 1, CAST(x'fe' AS TEXT), x'00', 's', '33')" >/dev/null
try kosvm ps -a --format json
expect "rows that cannot be read keep nobody else" 0
is "each is shown as failed" "$(grep -c '"state":"failed"' <<<"$out")" = 3
is "with its reason" -n "$(grep 'unknown state dreaming' <<<"$out")"
json_lines "and what is no text is made one"
try kosvm start new
expect "one of them cannot be started" 1 "mood"
try kosvm rm new odd 33
expect "but removed" 0
is "all three are gone" -z "$(kosvm ps -aq)"
end_kosvmd

mine damaged
try kosvm ps
end_kosvmd
python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(40)
    f.write(b"\xa5" * 3000)' "$KOSVM_STATE/kosvmd.db"
try kosvmd
expect "a damaged database is refused" 1 "kosvmd.db|database"
echo "this is no database at all, and longer than a header of one: $(head -c 200 /dev/zero | tr '\0' x)" >"$KOSVM_STATE/kosvmd.db"
try kosvmd
expect "and what never was one" 1 "not a database"

mine wide
mkdir -m 755 "$KOSVM_STATE/images"
mkdir -m 777 "$KOSVM_STATE/keys"
kosvmd --ready-fd 3 3>ready 2>wide.log &
daemon=$!
for _ in $(seq 200); do [ -s ready ] || sleep 0.05; done
is "directories that were open to others are closed" "$(stat -c %a "$KOSVM_STATE/images" "$KOSVM_STATE/keys" | tr '\n' ' ')" = "700 700 "
is "and a warning says so" -n "$(grep 'keys: mode 0777 was open to others' wide.log)"
try env KOSVM_RUN="$dir/run2" kosvmd
expect "one state directory, one kosvmd, whatever the socket" 1 "$KOSVM_STATE/kosvmd.lock"
try env KOSVM_STATE="$dir/state2" kosvmd
expect "and one socket, one kosvmd" 1 "$KOSVM_RUN/kosvmd.lock"
kill "$daemon"
wait "$daemon" || true
chmod 770 "$KOSVM_STATE"
try kosvmd
expect "a state directory that others may write to is refused" 1 "mode 0770.*chmod 700 $KOSVM_STATE"
chmod 700 "$KOSVM_STATE"
mkdir -m 777 shared
try env KOSVM_RUN="$dir/shared" kosvmd
expect "and such a run directory" 1 "shared: mode 0777"
is "which is left as it was" "$(stat -c %a shared)" = 777
rmdir "$KOSVM_STATE/keys"
ln -s "$dir/shared" "$KOSVM_STATE/keys"
try kosvmd
expect "a directory of it that is a link" 1 "keys: expected a directory"
mine file
touch "$KOSVM_STATE/images"
try kosvmd
expect "or a file" 1 "images: expected a directory"
if [ "$(id -u)" -eq 0 ]; then
	mine stranger
	chown nobody "$KOSVM_STATE"
	try kosvmd
	expect "a stranger's state directory" 1 "belongs to user"
	mine stranger
	mkdir -m 700 "$KOSVM_STATE/agents"
	chown nobody "$KOSVM_STATE/agents"
	try kosvmd
	expect "or a stranger's directory in it" 1 "agents: belongs to user"
else
	skip "a stranger's state directory" "not root"
fi

# mounted OPTIONS COMMAND: a small file system of its own on the state directory.
mounted() {
	try unshare -rm sh -c 'mount -t tmpfs -o "$1" none "$KOSVM_STATE" && eval "$2"' sh "$@"
}
mine mounted
if unshare -rm mount -t tmpfs none "$KOSVM_STATE" 2>/dev/null; then
	mounted size=1m,mode=700 'mount -o remount,ro "$KOSVM_STATE" && kosvmd'
	expect "a read-only state directory" 1 "Read-only file system"
	mounted size=64k,mode=700 'head -c 100000 /dev/zero >"$KOSVM_STATE/fill"; kosvmd'
	expect "a full one" 1 "No space left|disk is full"
	mounted size=64k,mode=700 'head -c 100000 /dev/zero >"$KOSVM_STATE/fill"; kosvmd; rm "$KOSVM_STATE/fill"; mount -o remount,size=8m "$KOSVM_STATE"
		timeout --preserve-status -s TERM 5 kosvmd; echo "then $?"'
	expect "which works when there is room again" 0 "then 0"
else
	skip "a state directory that is full or read-only" "no mount namespace"
fi
export KOSVM_STATE=$own
