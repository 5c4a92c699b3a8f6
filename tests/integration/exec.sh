# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# kosvm exec: a command beside the agent, as if it were here.

exec_codes() {
	k exec mill sh -c 'exit 7'
	is "code of the command" "$code" 7
	k exec mill /no/such/program
	is "code of a missing command" "$code" 127
	k exec mill /opt/test/plain
	is "code of a file that cannot be executed" "$code" 126
	k exec mill sh -c 'kill -9 $$'
	is "code of a killed command" "$code" 137
	k exec nobody true
	is "code for an unknown agent" "$code" 125
	has "and why" "$err" '^kosvm exec: .*nobody'
}

exec_streams() {
	local sum

	sum=$(head -c 4M "$data" | b2sum)
	is "4 MiB through cat" "$(head -c 4M "$data" | timeout $((patience * factor)) kosvm exec -i mill cat | b2sum)" "$sum"
	k exec mill sh -c 'echo one; echo two >&2'
	is "standard output" "$out" one
	is "standard error" "$err" two
}

exec_signal() {
	local pid line said

	mkfifo said
	kosvm exec mill /opt/test/mill signal >said 2>said.err &
	pid=$!
	exec {said}<said
	rm said
	read -rt $((60 * factor)) -u "$said" line
	is "first line" "$line" "mill: waiting"
	kill -TERM "$pid"
	read -rt $((60 * factor)) -u "$said" line
	is "after SIGTERM" "$line" "mill: signal 15"
	code=0
	wait "$pid" || code=$?
	is code "$code" 9
}

exec_surroundings() {
	# shellcheck disable=SC2016 # expanded there
	good exec --env FIRST=1 -e SECOND='two words' --workdir /opt/test mill sh -c 'echo "$FIRST-$SECOND-$PWD-$(id -u)"'
	is "environment, directory, user" "$out" "1-two words-/opt/test-1000"
	good exec --user 0 mill id -u
	is "--user 0" "$out" 0
	good exec --user 33:44 mill sh -c 'id -u; id -g'
	is "--user 33:44" "${out//$'\n'/:}" 33:44
}

exec_tests() {
	t "exec: exit codes: 7, 127, 126, 137, 125" exec_codes
	t "exec: 4 MiB through standard input and output, standard error apart" exec_streams
	t "exec: SIGTERM reaches the command" exec_signal
	t "exec: environment, directory, user" exec_surroundings
}
