# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# vsock, in both directions.

feed() {
	local i

	[ -n "${KOSVM_SOAK:-}" ] || { cat "$data" && return; }
	for i in {1..10}; do
		cat "$data"
		echo "$i"
	done
}

stream_echo() {
	local sum back start=$SECONDS

	sum=$(feed | b2sum)
	back=$(feed | timeout $((600 * factor)) kosvm send --port 5000 mill | b2sum)
	is "checksum of what came back" "$back" "$sum"
	is state "$(field mill state)" running
	echo "$((SECONDS - start)) s"
}

stream_many() {
	timeout $((patience * factor)) many-streams mill 5000 400 20000
	k send mill
	is "and one more" "$code" 0
}

stream_sends() {
	local i pids=()

	for i in {1..40}; do
		head -c $((i * 10000)) "$data" | timeout $((patience * factor)) kosvm send --port 5000 mill >"back.$i" &
		pids+=($!)
	done
	for i in {1..40}; do
		wait "${pids[i - 1]}" || fail "send $i: code $?"
		cmp -n $((i * 10000)) "$data" "back.$i" || fail "send $i: other bytes came back"
		is "bytes of send $i" "$(wc -c <"back.$i")" $((i * 10000))
		rm "back.$i"
	done
}

stream_nobody() {
	refused 'refused' send --port 5001 --wait 0s mill hello
	refused 'from 1027' send --port 1026 mill hello
}

# dialled CID PORT: the guest is refused, at once: a connection nobody answers times out after 2 s.
dialled() {
	k exec mill /opt/test/mill dial "$1" "$2"
	is "code of a connection to $1:$2" "$code" 1
	has "connection to $1:$2" "$out" '^ECONN(RESET|REFUSED) [0-9]+$'
}

stream_denied() {
	dialled 2 9999
	dialled 2 1024 # kosvm-init's own, taken
	dialled 2 1025
	dialled 2 0
	dialled 77 5000
	is state "$(field mill state)" running
}

stream_tests() {
	t "vsock: ${KOSVM_SOAK:+10 times }100 MiB to the agent and back, with a checksum" stream_echo
	t "vsock: 400 streams at once, each with bytes of its own" stream_many
	t "vsock: 40 kosvm send at once" stream_sends
	t "vsock: nobody listens, or it is the system's port" stream_nobody
	t "vsock: what the guest dials is refused at once" stream_denied
}
