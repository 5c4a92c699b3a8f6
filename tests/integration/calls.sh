# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# The filters of kosvm-vmm allow no system call that nothing needs: what its threads call during all the other tests is
# counted by the kernel, and a rule that nothing used fails.

tracefs=/sys/kernel/tracing
no_record= # why nothing is recorded

calls_record() {
	[ -e "$tracefs/events" ] || mount -t tracefs tracefs "$tracefs" 2>/dev/null || true
	if [ ! -e "$tracefs/events/raw_syscalls/sys_enter/hist" ]; then
		no_record="this kernel cannot count system calls for this user (tracefs with hist triggers)"
	else
		python3 "$here/calls.py" record "$KOSVM_TEST_DIR/seccomp.list" "$tracefs"
	fi
}

calls_stop() {
	[ -n "$no_record" ] || python3 "$here/calls.py" stop "$KOSVM_TEST_DIR/seccomp.list" "$tracefs" 2>/dev/null || true
}

# What Linux guests do not come to: machines that cannot start, guests that fall over.
calls_bare() {
	KOSVM_VMM=$work/tree/libexec/kosvm/kosvm-vmm KOSVM_BARE=$KOSVM_BUILD_DIR/tests/bare \
		"$KOSVM_BUILD_DIR/tests/bare/bare_tests" "${bare[@]}"
}

calls_judge() {
	python3 "$here/calls.py" judge "$KOSVM_TEST_DIR/seccomp.list" "$tracefs"
}

calls_tests() {
	local bare=(triple_fault blk_trim vsock_into_a_pipe vsock_half_closed answers_that_nobody_reads one_master_at_a_time succession)

	if [ -n "$no_record" ]; then
		skip "seccomp: every rule is used" "$no_record"
		return
	fi
	t "seccomp: bare guests beside the Linux ones" calls_bare
	t "seccomp: every rule is used" calls_judge
}
