# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# How an agent ends, by itself and by others, and what is said about it.

ending_stubborn() {
	local start=$SECONDS

	good exec pair cat /proc/uptime
	good stop --timeout 1s pair
	is state "$(field pair state)" stopped
	is "exit code: SIGKILL after its grace" "$(field pair exit_code)" 137
	[ $((SECONDS - start)) -lt $((60 * factor)) ] || fail "it took $((SECONDS - start)) s"
	good rm pair
}

ending_code() {
	manifest brief "/bin/sh -c 'echo out; echo err >&2; exit 42'"
	k run brief.ini
	is "code of kosvm run" "$code" 42
	is "its standard output" "$out" out
	has "its standard error" "$err" '^err$'
	good wait brief
	is "kosvm wait" "$out" 42
	good ps -a
	has "kosvm ps -a" "$out" '^brief +stopped .* 42 '
	good ps -q
	is "kosvm ps" "$out" ""
}

ending_start_again() {
	good start brief
	good wait brief
	is "kosvm wait" "$out" 42
	good rm brief
}

# In the foreground: what it says is seen as it comes, and SIGTERM to kosvm run stops it.
ending_interrupted() {
	local pid line lines

	manifest orderly '/opt/test/mill signal'
	mkfifo lines
	kosvm run orderly.ini >lines 2>lines.err &
	pid=$!
	exec {lines}<lines
	rm lines
	read -rt $((patience * factor)) -u "$lines" line
	is "first line" "$line" "mill: waiting"
	kill -TERM "$pid"
	read -rt $((patience * factor)) -u "$lines" line
	is "after SIGTERM" "$line" "mill: signal 15"
	code=0
	wait "$pid" || code=$?
	is code "$code" 9
	is state "$(field orderly state)" stopped
	good rm orderly
}

ending_guest_reboots() {
	manifest plain '/opt/test/mill stubborn'
	good run -d plain.ini
	k exec --user 0 plain /opt/test/mill reboot
	[ "$code" -eq 125 ] || fail "exec gave code $code when the VM ended"
	good wait plain
	is state "$(field plain state)" failed
	has reason "$(field plain reason)" 'ended by itself: .*reset'
}

ending_guest_powers_off() {
	good start plain
	k exec --user 0 plain /opt/test/mill poweroff
	good wait plain
	is state "$(field plain state)" failed
	has reason "$(field plain reason)" 'ended by itself: .*power'
	good rm plain
}

ending_tests() {
	t "vCPUs: a guest with two" boot_vcpus
	t "stop: an agent that ignores SIGTERM is killed after its grace" ending_stubborn
	t "end: the agent's code reaches run, wait and ps" ending_code
	t "end: an agent that ended starts again" ending_start_again
	t "end: run in the foreground: output as it comes, SIGTERM stops the agent" ending_interrupted
	t "end: a guest that reboots has failed, and why is told" ending_guest_reboots
	t "end: so has one that switches itself off" ending_guest_powers_off
}
