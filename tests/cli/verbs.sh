# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# What each verb asks kosvmd for, and what it makes of the answers.

start_fake

# asked NAME METHOD PATH [PATTERN]: the last request.
asked() {
	local last

	last=$(tail -n 1 "$KOSVM_RUN/requests")
	if [[ $last == *"\"method\": \"$2\", \"path\": \"$3\""* ]] && grep -qE -- "${4:-.}" <<<"$last"; then
		ok "$1"
	else
		printf '  expected %s %s %s; got %s\n' "$2" "$3" "${4:-}" "$last"
		bad "$1"
	fi
}

try kosvm stop -t 1500ms a
asked "stop -t" POST /v1/agents/a/stop '"grace_ms": 1500'
try kosvm stop --kill a
asked "stop --kill" POST /v1/agents/a/kill '"body": \{\}'
try kosvm restart -t 2s a
asked "restart -t" POST /v1/agents/a/restart '"grace_ms": 2000'
try kosvm kill a
asked "kill" POST /v1/agents/a/kill '"body": \{\}'
for signal in HUP SIGHUP sighup 1; do
	try kosvm kill -s "$signal" a
	asked "kill -s $signal" POST /v1/agents/a/kill '"signal": 1\}'
done
try kosvm kill -s NOSUCH a
expect "kill -s NOSUCH" 2 "expected a signal"
try kosvm update a --disk-bandwidth 20M --disk-ops 500 --disk-burst none --vsock-bandwidth manifest --vsock-burst 1G
asked "update" PATCH /v1/agents/a '"body": \{"disk_bandwidth": 20971520, "disk_ops": 500, "disk_burst": 0, "vsock_bandwidth": null, "vsock_burst": 1073741824\}'
is "update prints the name" "$out" = a
try kosvm update --reset --cpu 50% --cpu-weight 200 a b
asked "update of several, with --reset" PATCH /v1/agents/b '"body": \{"reset": true, "cpu_permille": 500, "cpu_weight": 200\}'
for share in 1.5=1500 2=2000 none=0 0=0 0.25=250 12.5%=125 manifest=null; do
	try kosvm update --cpu "${share%=*}" a
	asked "update --cpu ${share%=*}" PATCH /v1/agents/a "\"cpu_permille\": ${share#*=}\\}"
done
for wrong in "--cpu 1." "--cpu .5" "--cpu 1.5.0" "--cpu 1.2345" "--cpu 12.34%" "--cpu -1" "--cpu 50%%" \
	"--disk-bandwidth fast" "--disk-bandwidth -1" "--disk-ops 1.5" "--disk-ops 99999999999999999999" "--disk-burst 1X" "--vsock-burst"; do
	# shellcheck disable=SC2086 # two words
	try kosvm update $wrong a
	expect "update $wrong" 2 "expected|requires|usage"
done
printf '[agent]\nname = modest\n' >modest.ini
printf '[agent]\nname = greedy\n' >greedy.ini
printf '\xff' >latin.ini
try kosvm policy explain modest.ini
asked "policy explain" POST /v1/policy '"file": "modest.ini"'
expect "policy explain: a line for each limit" 0 'memory +128M +modest.ini:9 +2G \(sandbox.ini:4\)'
expect "policy explain: a default" 0 'cpu +no limit +default +-'
expect "policy explain: what is not there" 0 'without quotas io.max: no disk'
try kosvm policy explain --format json modest.ini
is "policy explain --format json" "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["limits"][0]["value"])' <<<"$out")" = 128M
try kosvm policy explain greedy.ini
expect "policy explain: what is refused" 1 "too much"
try kosvm policy explain latin.ini
expect "policy explain: no text" 1 "UTF-8"
try kosvm policy explain
expect "policy explain of nothing" 2 "expected one manifest"
try kosvm policy
expect "policy without a command" 2 "explain"
try kosvm update a
expect "update without a limit" 2 "nothing to change"
try kosvm update --disk-ops 5
expect "update without a name" 2 "expected names"
try kosvm update --disk-ops 5 nobody
expect "update of one that is not there" 1 "no agent is named nobody"
try kosvm rm -f a
asked "rm -f" DELETE /v1/agents/a 'force=true'
try kosvm start '../../v1/panic'
asked "a name is never more than a name" POST /v1/agents/..%2F..%2Fv1%2Fpanic/start
try kosvm start ..
asked "nor are two dots" POST /v1/agents/%2E%2E/start
try kosvm start 'a b?c#d%'
asked "nor is a query" POST /v1/agents/a%20b%3Fc%23d%25/start
try kosvm start ''
expect "an empty name" 1 "an empty name"
try kosvm ps -a -f state=running -f label=a=b -f name=x --no-trunc
asked "ps with filters" GET /v1/agents 'all=true&state=running&label=a%3Db&name=x'
expect "ps --no-trunc" 0 '0000000000000000000000000007'
try kosvm ps -f age=3
expect "ps with an unknown filter" 2 "expected name=TEXT"
try kosvm ps
expect "ps shows what stands still" 0 'running \(panic\)'
try kosvm ps -q
is "ps -q" "$out" = $'x\nfrozen'
try kosvm wait a
is "wait prints the code" "$out" = 42
try kosvm inspect a b
is "inspect is a list" "$(python3 -c 'import json,sys; print([o["name"] for o in json.load(sys.stdin)])' <<<"$out")" = "['a', 'b']"
try kosvm inspect a nobody
expect "inspect of one that is not there" 1 "no agent is named nobody"
is "inspect shows the others" "$(python3 -c 'import json,sys; print(len(json.load(sys.stdin)))' <<<"$out")" -eq 1
try kosvm logs -f --since 2026-01-02T03:04:05Z --until 1800000000 -n 5 --stdout a
asked "logs" GET /v1/agents/a/logs 'follow=true&since=1767323045000000000&until=1800000000000000000&tail=5&stderr=false'
is "logs: stderr apart" "$err" = 'half line'
try kosvm logs --since yesterday a
expect "logs --since yesterday" 2 "expected a time"
try kosvm logs --tail some a
expect "logs --tail some" 2 "expected a number"
try kosvm logs -f -n 9 breaks
expect "logs -f goes on when kosvmd was restarted" 0
is "with every line, and each once" "$out" = $'0\n1\n2\n3\n4'
asked "from where it was" GET /v1/agents/breaks/logs 'follow=true&since=1767225602000000000"'
try kosvm logs breaks
expect "logs without -f does not" 1 "ended before it answered"
try kosvm logs -t a
expect "logs -t" 0 '^2026-01-01T00:00:00.000000000Z '
try kosvm panic --kill -l a=b -l c=d --reason 'so it is'
asked "panic" POST /v1/panic '"action": "kill", "labels": \{"a": "b", "c": "d"\}, "reason": "so it is"'
try kosvm panic
expect "panic without a reason" 2 "--reason"
try kosvm panic --all -l a=b -r x
expect "panic --all --label" 2 "exclude"
try kosvm panic -l a -r x
expect "panic --label without a value" 2 "KEY=VALUE"
try kosvm unpanic
asked unpanic DELETE /v1/panic
try kosvm info --format json
json_lines "info --format json"
try kosvm stats --no-stream
expect "stats: CPU from two samples" 0 'one .* 10\.0% .*'
try kosvm stats --no-stream --format json
json_lines "stats --format json"
is "stats --format json has CPU" "$(grep -c '"cpu_percent":10.0' <<<"$out")" -eq 1
try kosvm stats --no-stream one
is "stats of one" "$(grep -c five <<<"$out")" -eq 0
try kosvm stats --no-stream nobody
expect "stats of one that is not there" 1 "no agent is named nobody"
try kosvm events --since 0 --until 1700000000 -f agent=x
json_lines "events"
asked "events" GET /events 'since=0&agent=x&follow=false'
try kosvm events --until 2000 -f type=none
is "events of another type" -z "$out"
try kosvm events -f colour=red
expect "events with an unknown filter" 2 "expected agent=NAME"

printf 'text\n' >any.ini
printf 'signature\n' >any.ini.minisig
export FROM_HERE='two words'
try kosvm run -d --name fine -e A=1 -e FROM_HERE -e NOT_SET_ANYWHERE --rm any.ini
asked "run -d" POST /v1/agents '"env": \{"A": "1", "FROM_HERE": "two words"\}, "name": "fine", "manifest": "text\\n", "manifest_file": "any.ini", "signature": "signature\\n", "signature_file": "any.ini.minisig", "remove": true, "start": true'
is "run -d prints the name" "$out" = fine
try kosvm create -it --name fine any.ini
asked "create -it" POST /v1/agents '"tty": true, "rows": [0-9]+, "cols": [0-9]+, "stdin": true'
is "create starts nothing" "$(tail -n 1 "$KOSVM_RUN/requests" | grep -c '"start"')" -eq 0
try kosvm run --name fine --rm any.ini
expect "run in the foreground returns the agent's code" 42 '31mred'
asked "run --rm in the foreground removes it after its log" DELETE /v1/agents/fine
try kosvm run -e =x any.ini
expect "run -e =x" 2 "expected NAME=VALUE"
printf 'bad\xff' >bad.ini
cp any.ini.minisig bad.ini.minisig
try kosvm run bad.ini
expect "a manifest that is no text" 1 "bad.ini: no text in UTF-8"

try kosvm exec -e A=1 -u 5:6 -w /tmp both ls -l -- -x
asked "exec" POST /v1/agents/both/exec '"env": \{"A": "1"\}, "user": "5:6", "cwd": "/tmp", "argv": \["ls", "-l", "--", "-x"\]'
expect "exec returns the code" 3 out
is "exec: stdout" "$out" = out
is "exec: stderr apart" "$err" = err
try kosvm exec both -- ls
asked "exec --" POST /v1/agents/both/exec '"argv": \["ls"\]'
try kosvm exec -it host ls </dev/null
expect "exec -it without a terminal" 125 "leave -t away"
sum=$(head -c 4M /dev/urandom | tee noise | b2sum)
is "exec -i: 4 MiB through cat" "$(kosvm exec -i host cat <noise | b2sum)" = "$sum"
is "exec without -i has no input" -z "$(kosvm exec host cat <noise)"
code=0
(exec 2>/dev/null && kosvm exec host sh -c 'echo gone; sleep 0.2; echo gone') >/dev/full || code=$?
is "exec to a full disk fails" "$code" -eq 125
wrong=0
for i in $(seq 200); do
	code=0
	out=$(kosvm exec host sh -c "echo $i; echo e$i >&2; exit $((i % 128))" 2>.err) || code=$?
	[ "$code:$out:$(cat .err)" = "$((i % 128)):$i:e$i" ] || wrong=$((wrong + 1))
done
is "200 commands: code, output and errors" "$wrong" -eq 0
# shellcheck disable=SC2016 # the shell in the guest expands it
is "a shell with a script on its input" "$(echo 'echo $((40 + 2)); exit 0' | kosvm shell host)" = 42

# kosvmd goes away in the middle of an answer.
try kosvm wait dies
expect "kosvmd dies in the middle" 1 "ended before it answered"
try env KOSVM_NO_START=1 kosvm ps
expect "KOSVM_NO_START" 1 "no kosvmd listens there"
end_fake

# Not a word to anybody, and at once.
start_ns=$(date +%s%N)
for _ in $(seq 20); do kosvm version >/dev/null; done
printf '  kosvm version takes %d us\n' $((($(date +%s%N) - start_ns) / 20000))
try env KOSVM_RUN="$dir/never" KOSVM_STATE="$dir/never" kosvm version
expect "kosvm version" 0 '^kosvm [0-9]'
is "asks nobody" ! -e "$dir/never"
