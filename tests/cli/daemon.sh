# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# kosvmd: started by whoever needs it, once; and the agents it does not have.

try kosvm ps --format json
expect "the first verb starts kosvmd" 0
is "and an empty list is no line" -z "$out"
first=$(kosvmd_pid)
is "it has a process id" -n "$first"
is "its state is for its owner alone" "$(stat -c %a "$KOSVM_STATE")" = 700
is "and so is its socket" "$(stat -c %a "$KOSVM_RUN/kosvmd.sock")" = 600
try kosvmd
expect "a second kosvmd is refused" 1 "kosvmd"
is "and the first goes on" "$(kosvmd_pid)" = "$first"
leaked=$(find "/proc/$first/fd" -lname "$dir/.*" 2>/dev/null | wc -l)
is "it keeps nothing open of who started it" "$leaked" -eq 0
end_kosvmd
is "SIGTERM ends it" ! -e "/proc/$first"

several=()
for i in 1 2 3 4 5 6; do
	kosvm ps >"several.$i" 2>&1 &
	several+=($!)
done
codes=''
for i in "${several[@]}"; do
	wait "$i" && codes+=0 || codes+=x
done
is "six at the same moment are all served" "$codes" = 000000
is "by one kosvmd" "$(for i in 1 2 3; do kosvmd_pid; done | sort -u | wc -l)" -eq 1

for verb in logs send start stop wait rm; do
	try kosvm "$verb" nobody
	expect "$verb of an agent that is not there" 1 "no agent is named nobody"
done
try kosvm exec nobody true
expect "exec in an agent that is not there" 125 "no agent is named nobody"
for verb in start stop wait rm; do
	try kosvm "$verb" nobody nemo
	expect "$verb goes on with the next name" 1 "nemo"
	try kosvm "$verb" -- -odd
	expect "$verb takes -- before a name" 1 "no agent is named -odd"
	try kosvm "$verb" $'\xff'
	expect "$verb of what is no text" 1 "UTF-8"
done
try kosvm stop "$(head -c 5000 /dev/zero | tr '\0' a)"
expect "a very long name" 1
for option in -e -u -w; do
	try kosvm exec "$option" $'A=\xff' nobody true
	expect "exec $option with what is no text is not passed over" 125 "UTF-8"
done
try kosvm doctor --format json
json_lines "doctor --format json"
if [ "$(id -u)" -eq 0 ]; then
	is "doctor: all of the jail is there" "$(grep -c '"check":"isolation","grade":"ok"' <<<"$out")" -eq 1
fi
try env KOSVM_RUN=run kosvm ps
expect "a relative KOSVM_RUN" 1 "absolute path"
try env KOSVM_RUN="/$(head -c 200 /dev/zero | tr '\0' a)" kosvm ps
expect "a KOSVM_RUN too long for a socket" 1 "too long"
if [ "$(id -u)" -eq 0 ]; then
	mkdir foreign
	chown nobody foreign
	python3 - <<'PY' &
import os, pwd, socket, time
os.chdir("foreign") # what is above is closed to others
os.setuid(pwd.getpwnam("nobody").pw_uid)
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.bind("kosvmd.sock")
s.listen()
time.sleep(60)
PY
	impostor=$!
	for _ in $(seq 100); do [ -S foreign/kosvmd.sock ] || sleep 0.05; done
	sleep 0.2
	try env KOSVM_RUN="$dir/foreign" kosvm ps
	expect "a stranger behind the socket gets nothing" 1 "neither you nor root"
	kill "$impostor" || true
	wait "$impostor" 2>/dev/null || true
else
	skip "a stranger behind the socket gets nothing" "not root"
fi
