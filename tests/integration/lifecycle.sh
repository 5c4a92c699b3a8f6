# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# What happens to agents by themselves: restarts, a guest that hangs, and the kill switch.

# is_field NAME KEY VALUE
is_field() { [ "$(field "$1" "$2")" = "$3" ]; }
beyond() { [ "$(field "$1" "$2")" -gt "$3" ]; }

given_up() { [[ $(field crasher reason) == *'not started again after 2 restarts'* ]]; }

lifecycle_restarts() {
	manifest crasher "/bin/sh -c 'echo here; exit 3'" '[lifecycle]' 'restart = on-failure' 'restart-max = 2' 'restart-backoff = 200ms'
	k run -d crasher.ini
	until_true 120 is_field crasher restarts 2
	until_true 120 given_up
	is "boots" "$(field crasher generation)" 3
	is "exit code" "$(field crasher exit_code)" 3
	good logs --stdout crasher
	is "one log for all of them" "$out" $'here\nhere\nhere'
	good inspect crasher
	is "boots of inspect" "$(python3 -c 'import json, sys; print(len(json.load(sys.stdin)[0]["boots"]))' <<<"$out")" 3
	good rm crasher
}

lifecycle_stop_ends_it() {
	manifest always "/bin/sh -c 'sleep 1'" '[lifecycle]' 'restart = always' 'restart-backoff = 10s' 'restart-backoff-max = 1m'
	good run -d always.ini
	until_true 120 beyond always restart_at_ns 0
	good stop always
	is "a restart to come" "$(field always restart_at_ns)" 0
	good rm always
}

# Nothing in the guest answers any more; from the outside it looks busy.
lifecycle_hang() {
	local vmm

	manifest hanger '/opt/test/mill stubborn' '[lifecycle]' 'restart = on-failure' 'restart-backoff = 200ms' 'heartbeat = 1s' \
		"heartbeat-timeout = $((8 * factor))s"
	good run -d hanger.ini
	vmm=$(field hanger pid)
	kosvm exec --user 0 hanger /opt/test/mill hang >/dev/null 2>&1 &
	until_true 120 is_field hanger restarts 1
	until_true 120 is_field hanger state running
	wait $! || true
	gone "$vmm" || fail "the VMM that hung is still there"
	good exec hanger echo back
	is "it is back" "$out" back
	good events --since 10m --until 0s -f agent=hanger
	has "its moves" "$out" '"event":"hung"'
	good rm -f hanger
}

answers() {
	timeout $((5 * factor)) kosvm exec "$1" true 2>/dev/null
}

lifecycle_freeze() {
	manifest calm '/opt/test/mill echo 5000' '[labels]' 'tier = calm'
	manifest wild '/opt/test/mill echo 5000' '[labels]' 'tier = wild'
	good run -d calm.ini
	good run -d wild.ini
	good panic -l tier=wild --reason 'looks odd'
	is "what it prints" "$out" 'freeze tier=wild: looks odd'
	good ps
	has "kosvm ps" "$out" '^wild +running \(panic\)'
	has "the other runs on" "$out" '^calm +running  '
	good exec calm echo alive
	is "and answers" "$out" alive
	! answers wild || fail "a frozen guest answers"
	refused 'looks odd.*kosvm unpanic' run -d --name other wild.ini
	# It holds over a restart of kosvmd.
	detach_kosvmd
	start_kosvmd "$work/kosvmd.log"
	has "kosvm info" "$(kosvm info)" 'panic +freeze.*looks odd'
	! answers wild || fail "a frozen guest answers after a restart of kosvmd"
	good unpanic
	until_true 30 answers wild
	is "what was said meanwhile is answered" "$(kosvm send wild hello)" hello
	is paused "$(field wild paused)" ""
}

lifecycle_panic_kill() {
	good panic --kill --reason 'it burns'
	until_true 30 is_field calm pid null
	until_true 30 is_field wild pid null
	has reason "$(field wild reason)" 'it burns'
	refused 'it burns' start calm
	good unpanic
	good start calm wild mill
	good exec wild echo again
	is "after unpanic" "$out" again
	good rm -f calm wild
}

lifecycle_tests() {
	t "restart = on-failure: twice, then it stays failed" lifecycle_restarts
	t "restart = always: stop ends it" lifecycle_stop_ends_it
	t "heartbeat: a guest that hangs is ended and started again" lifecycle_hang
	t "panic: a label is frozen, the others run; it holds over a restart of kosvmd; unpanic" lifecycle_freeze
	t "panic --kill: all end, nothing starts before unpanic" lifecycle_panic_kill
}
