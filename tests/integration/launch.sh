# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# run and create with their options; logs by time and number.

launch_options() {
	# shellcheck disable=SC2016 # expanded there
	manifest teller "/bin/sh -c 'echo \$FIRST-\$SECOND-\$HERE; uname -n; sleep 1000'" '[env]' 'FIRST = manifest' 'SECOND = manifest'
	HERE=outer k run -d --name told -e SECOND='two words' -e HERE -e NOT_SET_HERE teller.ini
	is "run -d --name" "$code $out" "0 told"
	until_true 30 teller_said
	good logs told
	is "environment; host name" "$out" $'manifest-two words-outer\ntold'
	is "the manifest's name is free" "$(field teller state)" ""
	good create --name second teller.ini
	is "state of what was created" "$(field second state)" created
	good rm second
	good rm -f told
}

teller_said() {
	[ "$(kosvm logs told | wc -l)" -eq 2 ]
}

launch_rm() {
	manifest brief "/bin/sh -c 'echo out; echo err >&2; exit 42'"
	k run --rm brief.ini
	is "code and output of run --rm" "$code $out" "42 out"
	has "standard error" "$err" '^err$'
	is "what stays of it" "$(field brief state)" ""
	good run -d --rm brief.ini
	until_true 60 brief_gone
	# The client is killed, the agent ends, and it is removed all the same.
	
	manifest lasting "/bin/sh -c 'echo begun; sleep 3'"
	kosvm run --rm --name orphan lasting.ini >lasting.out 2>&1 &
	until_true 60 grep -q begun lasting.out
	kill -KILL $!
	until_true 60 orphan_gone
}

brief_gone() { [ -z "$(field brief state)" ]; }
orphan_gone() { [ -z "$(field orphan state)" ]; }

launch_logs() {
	local middle lines pid

	manifest counter "/bin/sh -c 'i=0; while [ \$i -lt 40 ]; do echo line-\$i; echo err-\$i >&2; i=\$((i+1)); sleep 0.2; done'"
	good run -d counter.ini
	kosvm logs -f counter >followed 2>followed.err &
	pid=$!
	until_true 60 grep -q line-20 followed
	middle=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
	wait "$pid"
	is "logs -f, to the end" "$(<followed)" "$(printf 'line-%d\n' {0..39})"
	is "its standard error" "$(<followed.err)" "$(printf 'err-%d\n' {0..39})"
	good logs --tail 3 --stdout counter
	is "logs --tail 3 --stdout" "$out$err" $'line-37\nline-38\nline-39'
	good logs -n 0 counter
	is "logs -n 0" "$out$err" ""
	good logs --since "$middle" counter
	has "logs --since" "$out" '^line-39$'
	lines=$(wc -l <<<"$out")
	if [ "$lines" -lt 5 ] || [ "$lines" -gt 25 ]; then fail "logs --since has $lines lines of 40"; fi
	good logs --until "$middle" counter
	is "--until has the others" "$(($(wc -l <<<"$out") + lines))" 40
	good logs --since 1h counter
	is "logs --since 1h" "$(wc -l <<<"$out")" 40
	good logs -t -n 1 counter
	has "logs -t" "$out$err" '^20[0-9-]+T[0-9:.]+Z (line|err)-39$'
	good rm counter
}

# A program that writes more than its log holds: the end of it is there, and all of it reached a follower.
launch_rotated() {
	manifest chatty "/bin/sh -c 'sleep 1; i=0; while [ \$i -lt 30000 ]; do echo line-\$i; i=\$((i+1)); done'" 'log = 256K'
	good run -d chatty.ini
	kosvm logs -f chatty >followed
	is "what a follower saw" "$(<followed)" "$(seq -f 'line-%.0f' 0 29999)"
	good logs chatty
	is "its last line" "$(tail -n 1 <<<"$out")" line-29999
	[ "$(du -b --apparent-size -c "$KOSVM_STATE/agents/"*/agent.log* | tail -n 1 | cut -f 1)" -lt 600000 ] || fail "the log holds too much"
	good rm chatty
	rm -f followed followed.err
}

launch_tests() {
	t "run -d --name -e; create" launch_options
	t "run --rm, run -d --rm, and with the client killed" launch_rm
	t "logs: -f, --tail, --since, --until, -t" launch_logs
	t "logs: a log that is rotated: its end, and all of it for a follower" launch_rotated
}
