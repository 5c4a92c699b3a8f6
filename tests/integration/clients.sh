# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# Clients that are killed in the middle: nothing of theirs stays, in kosvmd, the VMM or the guest.

# Descriptors of kosvmd and the VMM of mill, and processes in its guest but this one.
open_things() {
	printf '%s %s %s\n' "$(find "/proc/$(cat "$KOSVM_RUN/pid")/fd" 2>/dev/null | wc -l)" \
		"$(find "/proc/$(field mill pid)/fd" 2>/dev/null | wc -l)" \
		"$(kosvm exec mill sh -c 'set -- /proc/[0-9]*; echo $#' 2>/dev/null)"
}

# No more of any than before: then something may have been on its way out. kosvmd has up to two timers that come and go by
# themselves and may not have been there then; eight clients would leave eight.
as_before() {
	local was now i

	read -ra was <<<"$before"
	read -ra now <<<"$(open_things)"
	was[0]=$((was[0] + 2))
	for i in 0 1 2; do
		[ "${now[i]}" -le "${was[i]}" ] || return 1
	done
}

# killed_once WHEN VERB...: kosvm VERB is killed once WHEN succeeds.
killed_once() {
	local when=$1
	shift

	kosvm "$@" >killed.out 2>&1 </dev/zero &
	until_true 30 "$when" killed.out
	kill -KILL $!
	wait $! 2>/dev/null || true
	rm -f killed.out
}

# The same eight times; what one of them leaves, for the next or for good, eight do not multiply.
killed() {
	local i

	adopt_kosvmd
	killed_once "$@"
	good exec mill true
	before=$(open_things)
	for i in {1..8}; do killed_once "$@"; done
	(until_true 60 as_before) || fail "$*: before $before, after $(open_things): $(ls -l "/proc/$(cat "$KOSVM_RUN/pid")/fd")"
	is state "$(field mill state)" running
}

has_begun() { grep -q begun "$1"; }
a_while() { read -rt 0.2 -u "$idle" || true; }

clients_exec() {
	killed has_begun exec mill sh -c 'echo begun; sleep 1000; :'
	killed has_begun exec -i mill sh -c 'echo begun; cat >/dev/null'
	killed has_begun exec mill sh -c 'echo begun; exec cat /dev/zero'
}

clients_logs() {
	killed a_while logs -f mill
	killed a_while events
	killed a_while stats
	killed a_while wait mill
}

clients_cp() {
	killed a_while cp "$data" mill:/tmp/data
	good exec --user 0 mill rm -f /tmp/data # half a copy is still root's
	good exec mill sh -c 'head -c 20M /dev/zero >/tmp/zeros'
	killed a_while cp mill:/tmp/zeros -
	good exec mill rm /tmp/zeros
	good exec mill ls /tmp
	echo "/tmp of the guest: $out"
}

clients_send() {
	killed a_while send mill
}

client_tests() {
	t "clients: killed in exec" clients_exec
	t "clients: killed in logs -f, events, stats and wait" clients_logs
	t "clients: killed in cp, both ways" clients_cp
	t "clients: killed in send" clients_send
}
