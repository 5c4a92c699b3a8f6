# shellcheck shell=bash disable=SC2154,SC2001 # sourced by tests/cli/run, whose words it uses
# What a hostile guest sends, behind a kosvmd that is none: what a terminal is shown, and what ends in an error.

start_fake

for words in "logs escapes" "logs --console escapes" "send escapes hi" "exec escapes ls" "run -d --signature m.ini m.ini" \
	"ps -a" "stats --no-stream" "events --until 0" "inspect x" info unpanic stop\ x; do
	# shellcheck disable=SC2086 # words
	out=$(typed '' timeout 20 kosvm $words </dev/null)
	shown=${words%% *}
	# The names in stats end the same way.
	is "$words: the terminal gets the text" "$(LC_ALL=C grep -cE 'red.*end|five' <<<"$out")" -ge 1
	# kosvm's own line of progress begins by emptying the line.
	is "$words: and nothing it obeys" "$(LC_ALL=C sed 's/\r\x1b\[K//g' <<<"$out" | LC_ALL=C grep -cP '\x1b|\xc2\x9b|\x08|\x07')" -eq 0
	case $shown in run | ps | stats | events | inspect | info | unpanic | stop) continue ;; esac
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

# Archives. Nothing of them may come to lie anywhere but at inside/wanted.
mkdir -p outer/inside
echo private >secret
for name in tar-dotdot tar-absolute tar-hard-link tar-link-out tar-top-link tar-garbage tar-cut tar-error no-code odd-type long \
	cut nothing field; do
	rm -rf outer/inside
	mkdir outer/inside
	try kosvm cp "$name:/x/wanted" outer/inside
	expect "cp of an archive: $name" 1 "^kosvm cp: "
	is "$name writes nothing elsewhere" "$(find . /tmp/kosvm-test-escaped -name '*escaped*' 2>/dev/null | wc -l)" -eq 0
	is "$name follows no link" -z "$(find outer -mindepth 2 -maxdepth 2 ! -name wanted)"
done
try kosvm cp tar-error:/x/wanted outer/inside
expect "cp: the guest's own reason" 1 "disk on fire"
rm -rf outer/inside
mkdir outer/inside
try kosvm cp tar-other-name:/x/wanted outer/inside
expect "cp: another name than was asked for" 0
is "is not taken over" "$(cd outer/inside && ls -A)" = wanted
try kosvm cp tar-setuid:/x/wanted outer/inside/program
expect "cp of a set-user-id file" 0
is "leaves it without" "$(stat -c %a outer/inside/program)" = 777
rm -rf outer/inside/wanted
try kosvm cp tar-device:/x/wanted outer/inside
expect "cp of a device leaves it out and says so" 0 "null: left out"
is "and goes on" "$(cat outer/inside/wanted/f)" = kept
head -c 5M /dev/zero >zeros
try kosvm cp zeros early-error:/x
expect "cp: a guest that ends it early" 1 "no space here"
end_fake
