# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# Many commands, one after another and at once: each has its own code and output.

commands_in_a_row() {
	local i

	for ((i = 1; i <= $1; i++)); do
		k exec mill sh -c "echo out-$i; echo err-$i >&2; exit $((i % 125))"
		is "command $i" "$code $out $err" "$((i % 125)) out-$i err-$i"
	done
}

# Their two outputs of many lines each never mix, and each is whole.
commands_apart() {
	# shellcheck disable=SC2016 # expanded there
	good exec mill sh -c 'i=0; while [ $i -lt 2000 ]; do echo out-$i; echo err-$i >&2; i=$((i+1)); done'
	is "standard output" "$out" "$(printf 'out-%d\n' {0..1999})"
	is "standard error" "$err" "$(printf 'err-%d\n' {0..1999})"
}

commands_at_once() {
	local i pids=()

	for i in {1..20}; do
		timeout $((patience * factor)) kosvm exec mill sh -c "echo out-$i; sleep 0.2; echo err-$i >&2; exit $i" >"out.$i" 2>"err.$i" &
		pids+=($!)
	done
	for i in {1..20}; do
		code=0
		wait "${pids[i - 1]}" || code=$?
		is "command $i" "$code $(<"out.$i") $(<"err.$i")" "$i out-$i err-$i"
		rm "out.$i" "err.$i"
	done
}

commands_input() {
	is "without -i there is no input" "$(echo lost | timeout 60 kosvm exec mill cat)" ""
	is "with -i there is" "$(echo kept | timeout 60 kosvm exec -i mill cat)" kept
	# The command ends although its input does not.
	k exec -i mill true < <(sleep 300)
	is "code of true" "$code" 0
	# Half of what it was sent is read by nobody.
	is "head" "$(head -c 3M "$data" | timeout 60 kosvm exec -i mill head -c 10 | wc -c)" 10
	# shellcheck disable=SC2016 # expanded there
	is "a script on the input of a shell" "$(echo 'echo $((40 + 2)); exit 0' | timeout 60 kosvm shell mill)" 42
}

commands_ids() {
	local id

	id=$(field mill id)
	good exec "$id" uname -n
	is "by its id" "$out" mill
	good exec "${id:0:6}" uname -n
	is "by the beginning of its id" "$out" mill
	good ps --no-trunc
	has "ps --no-trunc" "$out" "$id"
}

commands_tests() {
	local count=25

	[ -z "${KOSVM_SOAK:-}" ] || count=200
	t "exec: $count commands: code, output and errors of each" "commands_in_a_row $count"
	t "exec: 2000 lines on each output stay apart and whole" commands_apart
	t "exec: 20 at once" commands_at_once
	t "exec: input only with -i; a command that reads none of it; a script for shell" commands_input
	t "names: an id and its beginning" commands_ids
}
