# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# A hundred agents, created, looked at and removed; names, ids and filters with the real kosvmd. None is started.

{ manifest && printf '%s\n' '[labels]' 'tier = odd' 'team = blue'; } >labelled.ini
kosvm manifest sign labelled.ini --key plain.key >/dev/null
wrong=0
for i in $(seq 100); do
	file=m.ini
	[ $((i % 2)) -eq 0 ] || file=labelled.ini
	[ "$(kosvm create --name "agent-$i" "$file")" = "agent-$i" ] || wrong=$((wrong + 1))
done
is "100 agents are created" "$wrong" -eq 0
try kosvm ps -q
is "ps shows those that run" -z "$out"
try kosvm ps -aq
is "ps -aq has them all" "$(sort <<<"$out")" = "$(seq -f 'agent-%.0f' 100 | sort)"
try kosvm ps -a
is "ps -a is a table of them" "$(grep -cE '^agent-[0-9]+ +created +- +- +128M +[0-9a-f]{12}' <<<"$out")" -eq 100
try kosvm ps -a --format json
json_lines "ps -a --format json"
is "ps -a --format json has them" "$(wc -l <<<"$out")" -eq 100
ids=$(sed -E 's/.*"id":"([0-9a-f]{32})".*/\1/' <<<"$out")
is "each has an id of its own" "$(sort -u <<<"$ids" | wc -l)" -eq 100
try kosvm ps -aq -f label=tier=odd
is "ps -f label=KEY=VALUE" "$(wc -l <<<"$out")" -eq 50
try kosvm ps -aq -f label=tier -f label=team=blue -f name=agent-9
is "several filters all hold" "$(sort <<<"$out" | tr '\n' ' ')" = "agent-9 agent-91 agent-93 agent-95 agent-97 agent-99 "
try kosvm ps -aq -f label=tier=even
is "a filter for none" -z "$out"
try kosvm ps -q -f state=created
is "ps -f state=created implies -a" "$(wc -l <<<"$out")" -eq 100
try kosvm ps -f state=walking
expect "ps -f state of no such state" 1 "walking"

try kosvm inspect agent-42
id=$(sed -n 's/^    "id": "\([0-9a-f]*\)",*$/\1/p' <<<"$out")
is "inspect has the manifest as it was signed" "$(python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["manifest"])' <<<"$out")" = "$(cat m.ini)"
try kosvm inspect "$id"
expect "an id is a name" 0 '"name": "agent-42"'
short=$id
while [ ${#short} -gt 1 ] && [ "$(grep -c "^${short%?}" <<<"$ids")" -eq 1 ]; do short=${short%?}; done
try kosvm inspect "$short"
expect "so is its shortest beginning, ${#short} digits" 0 '"name": "agent-42"'
try kosvm inspect ""
expect "an empty name is none" 1 "empty name"
double=$(cut -c 1 <<<"$ids" | sort | uniq -d | head -n 1)
try kosvm inspect "$double"
expect "a beginning of several ids" 1 "at least, begin with $double: give more of it"

try kosvm create --name agent-42 m.ini
expect "a name that is taken" 1 "agent-42 exists already \(created\): .kosvm rm agent-42"
for name in a/b .. . A a_b "$(head -c 10000 /dev/zero | tr '\0' a)" $'a\nb' $'a\x1bb' -a "a b" ""; do
	try kosvm create --name "$name" m.ini
	expect "a name of $(printf %.20q "$name")" 1 "^kosvm create: .*name: expected 1 to "
	is "is refused in one line" "$(wc -l <<<"$err")" -eq 1
done
try kosvm create -e 1A=x m.ini
expect "a variable that may not be" 1 "1A: expected"
try kosvm stop agent-1
expect "stop of one that does not run" 0
try kosvm wait agent-1
expect "wait for one that never ran" 0 "^-1$"
for words in "logs agent-1" "stats --no-stream agent-1" "cp agent-1:/x ." "attach agent-1" "send agent-1 x" "exec agent-1 true" "shell agent-1" \
	"kill -s HUP agent-1" "cp m.ini agent-1:/x"; do
	want=1
	case $words in exec* | shell*) want=125 ;; esac
	# shellcheck disable=SC2086 # words
	try kosvm $words
	case $words in
	logs*) expect "$words, which has not run" 0 ;;
	*)
		expect "$words, which has not run" "$want" "^kosvm [a-z]+: .*agent-1 (is created: (.kosvm start agent-1. starts it|nothing there)|has no VM: it is created)"
		is "$words: one line" "$(wc -l <<<"$err")" -eq 1
		;;
	esac
done
try kosvm events --since 1h --until 0s -f agent=agent-42
expect "events of an agent that only was created" 0
try kosvm info
expect "info counts them" 0 '^agents +100$'
try kosvm doctor --format json
json_lines "doctor with them"

# A restart of kosvmd keeps them all.
end_kosvmd
try kosvm ps -aq
is "they are there after a restart of kosvmd" "$(wc -l <<<"$out")" -eq 100
try kosvm rm "$short" agent-1 nobody agent-2
expect "rm goes on after what is not there" 1 "no agent is named nobody"
is "and says what it removed" "$out" = "$short"$'\nagent-1\nagent-2'
mapfile -t rest < <(kosvm ps -aq)
try kosvm rm "${rest[@]}"
expect "rm of the other ${#rest[@]}" 0
try kosvm ps -a
is "none is left" "$(wc -l <<<"$out")" -eq 1
is "nor a directory of one" -z "$(ls -A "$KOSVM_STATE/agents")"
