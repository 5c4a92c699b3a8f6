# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# kosvmd ends, in good order and otherwise, while mill runs; and what is left when all is over.

# Its VM goes on, and the next kosvmd finds it.
daemon_killed() {
	local vmm

	vmm=$(field mill pid)
	good exec mill sh -c 'echo kept >/state/kept; sync; echo $$ >/tmp/mark'
	kill -KILL "$(cat "$KOSVM_RUN/pid")"
	good ps -a # starts the next one
	is state "$(field mill state)" running
	is "process of its VM" "$(field mill pid)" "$vmm"
	until_true 30 kosvm exec mill true
	good exec mill sh -c '[ -e /tmp/mark ]'
	holds second 20
}

# said FD: the next line from there.
said() {
	local line

	read -rt $((60 * factor)) -u "$1" line || fail "nothing was said"
	printf '%s' "$line"
}

# Streams do not pass through kosvmd: what was begun goes on when it is killed, and after the next one came.
daemon_sessions() {
	local pid from to

	adopt_kosvmd
	mkfifo from to
	# shellcheck disable=SC2016 # expanded there
	kosvm exec -i mill sh -c 'echo begun; while read x; do echo "got $x"; done; exit 5' <to >from &
	pid=$!
	exec {to}>to {from}<from
	rm from to
	is "first line" "$(said "$from")" begun
	echo one >&"$to"
	is "before" "$(said "$from")" "got one"
	kill -KILL "$(cat "$KOSVM_RUN/pid")"
	echo two >&"$to"
	is "while there is no kosvmd" "$(said "$from")" "got two"
	good ps
	adopt_kosvmd
	echo three >&"$to"
	is "with the next one" "$(said "$from")" "got three"
	good exec mill echo beside
	is "another command" "$out" beside
	exec {to}>&-
	code=0
	wait "$pid" || code=$?
	is "its code" "$code" 5
	good logs mill
	has "its output of before" "$out" 'mill: listening'
}

# Both are gone: that is told, and the agent starts with what it had.
daemon_and_vmm_killed() {
	local vmm

	vmm=$(field mill pid)
	adopt_kosvmd
	kill -KILL "$(cat "$KOSVM_RUN/pid")"
	kill -KILL "$vmm"
	until_true 30 gone "$vmm"
	good ps -a
	is state "$(field mill state)" failed
	has reason "$(field mill reason)" 'ended while kosvmd was away'
	good start mill
	good exec mill cat /state/kept
	is "state of before" "$out" kept
	holds second 20
}

# second RUN STATE: a kosvmd on these directories is refused.
second() {
	local said code=0

	said=$(KOSVM_RUN=$1 KOSVM_STATE=$2 timeout $((30 * factor)) kosvmd 2>&1) || code=$?
	is "code of the second kosvmd" "$code" 1
	has "what it said" "$said" 'another kosvmd runs already'
}

daemon_second() {
	second "$KOSVM_RUN" "$KOSVM_STATE"
	second "$work/run2" "$KOSVM_STATE"
	second "$KOSVM_RUN" "$work/state2"
	rm -rf "$work/run2" "$work/state2"
	is "state of mill" "$(field mill state)" running
}

# The one that the command line started is ended by its pid; from there on it is ours again.
daemon_terminated() {
	local vmm

	vmm=$(field mill pid)
	adopt_kosvmd
	detach_kosvmd
	! gone "$vmm" || fail "its VMM $vmm ended with it"
	start_kosvmd "$work/kosvmd.log"
	is state "$(field mill state)" running
	is "process of its VM" "$(field mill pid)" "$vmm"
	good logs mill
	has "its output of before" "$out" 'mill: listening'
}

daemon_interrupted() {
	local vmm

	vmm=$(field mill pid)
	end_kosvmd
	gone "$vmm" || fail "its VMM $vmm is still there"
	start_kosvmd "$work/kosvmd.log"
	is state "$(field mill state)" stopped
	good rm mill
}

daemon_tests() {
	t "kosvmd: one for a state directory and a run directory" daemon_second
	t "kosvmd: killed: its VMs go on, and the next one finds them" daemon_killed
	t "kosvmd: killed under an exec session, which goes on" daemon_sessions
	t "kosvmd: killed with a VM: the next one says so, and the agent starts with its state" daemon_and_vmm_killed
	t "kosvmd: SIGTERM leaves the agents running for the next one" daemon_terminated
	t "kosvmd: SIGINT stops them in good order" daemon_interrupted
}

end_all_gone() {
	good ps -a -q
	is "agents left" "$out" ""
	is "directories of agents left" "$(ls -A "$KOSVM_STATE/agents")" ""
	is "images left" "$(ls -A "$KOSVM_STATE/images")" "$(ls -A "$KOSVM_TEST_DIR/state/images")"
	end_kosvmd
	is "processes left" "$(find /proc -maxdepth 2 -name exe -lname "$work/*" -printf '%h %l\n' 2>/dev/null)" ""
	is "mounts left" "$(grep -F " $work" /proc/self/mountinfo)" ""
}

end_tests() {
	t "nothing is left: agents, directories, images, processes, mounts" end_all_gone
}
