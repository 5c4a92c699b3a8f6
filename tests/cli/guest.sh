# shellcheck shell=bash disable=SC2154,SC2001 # sourced by tests/cli/run, whose words it uses
# What a hostile guest sends, behind a kosvmd that is none: what a terminal is shown, and what ends in an error.

export KOSVM_RUN=$dir/fake
mkdir -m 700 "$KOSVM_RUN"
python3 "$top/tests/cli/fake-kosvmd" "$KOSVM_RUN/kosvmd.sock" &
fake=$!
for _ in $(seq 200); do [ -S "$KOSVM_RUN/kosvmd.sock" ] || sleep 0.05; done

for words in "logs escapes" "logs --console escapes" "send escapes hi" "exec escapes ls" "run -d --signature tree.tar m.ini"; do
	# shellcheck disable=SC2086 # words
	out=$(typed '' kosvm $words </dev/null)
	shown=${words%% *}
	is "$words: the terminal gets the text" "$(LC_ALL=C grep -c 'red.*end' <<<"$out")" -ge 1
	# kosvm's own line of progress begins by emptying the line.
	is "$words: and nothing it obeys" "$(LC_ALL=C sed 's/\r\x1b\[K//g' <<<"$out" | LC_ALL=C grep -cP '\x1b|\xc2\x9b|\x08|\x07')" -eq 0
	[ "$shown" != run ] || continue
	# shellcheck disable=SC2086
	try kosvm $words </dev/null
	is "$words: a file gets every byte" "$(LC_ALL=C grep -cP '\x1b\[31mred\xc2\x9b0mend' .out)" -eq 1
done
for name in no-code odd-type long cut nothing field; do
	try kosvm exec "$name" ls </dev/null
	expect "exec: a guest that sends: $name" 125 "broke the protocol|ended before the command"
done
try kosvm exec refused ls </dev/null
expect "exec: no such command" 127 '[ ?]\[31mgone'
try kosvm exec signal ls </dev/null
expect "exec: ended by a signal" 143
try kosvm ps -a
expect "ps: a reason with control characters" 0 '[ ?]\[31m'
is "reaches no terminal" "$(LC_ALL=C grep -cP '\x1b|\xc2\x9b' <<<"$out")" -eq 0
kill "$fake"
wait "$fake" 2>/dev/null || true
export KOSVM_RUN=$dir/run
