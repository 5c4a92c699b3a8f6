/* Guests that start, say something, and end in every way there is. */
#include "bare_tests.h"

#include <stdio.h>
#include <string.h>

#include <base/cleanup.h>

#include "vmm_run.h"

/* Runs a guest program to its end; its output must contain `line`. */
static void run_to_end(struct vmm_run *v, enum vmm_end reason, const char *text, const char *line)
{
	vmm_run_start(v);
	vmm_run_expect_ended(v, reason, text);
	ck_assert_msg(
		strstr(vmm_run_serial(v), line) != NULL, "the guest said: %s", vmm_run_serial(v));
	vmm_run_done(v);
}

START_TEST(hello_and_power_off)
{
	struct vmm_run v;
	struct vmm_msg msg;

	vmm_run_init(&v, "run=hello");
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, "powered off");
	ck_assert_str_eq(vmm_run_serial(&v), "hello\n");
	vmm_run_done(&v);
}
END_TEST

START_TEST(hello_without_opening_anything)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=hello");
	(void)vmm_run_add_vsock(&v, 7);
	v.no_open = true;
	run_to_end(&v, VMM_END_POWEROFF, NULL, "hello\n");
}
END_TEST

/* The status file of the VMM has this line. */
static bool status_has(const struct vmm_run *v, const char *line)
{
	char path[40];
	char buf[4096];
	_cleanup_fclose_ FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)v->pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(buf, sizeof(buf), f)) {
		if (strcmp(buf, line) == 0)
			return true;
	}
	return false;
}

/* What a machine does goes on with these protections on. */
static void live_with(uint32_t confine, bool locked)
{
	struct vmm_run v;
	struct vmm_msg msg;

	vmm_run_init(&v, "run=halt");
	(void)vmm_run_add_vsock(&v, 7);
	v.board.confine = confine;
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	vmm_run_wait_serial(&v, "halted\n");
	ck_assert(status_has(&v, "NoNewPrivs:\t1\n") == locked);
	ck_assert(status_has(&v, "Seccomp:\t2\n") == locked);
	/* Of set-up and of the loop. */
	ck_assert(status_has(&v, "Seccomp_filters:\t2\n") == locked);
	ck_assert_int_eq(vmm_run_request(&v, VMM_MSG_PAUSE).result, 0);
	ck_assert_int_eq(vmm_run_request(&v, VMM_MSG_RESUME).result, 0);
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	vmm_run_done(&v);
}

START_TEST(lives_locked)
{
	live_with(BOARD_CONFINE_ALL, true);
}
END_TEST

START_TEST(lives_without_a_lock)
{
	live_with(0, false);
}
END_TEST

START_TEST(pvh_entry)
{
	struct vmm_run v;

	vmm_run_init(&v, "");
	vmm_run_set_guest(&v, "pvh.elf");
	run_to_end(&v, VMM_END_POWEROFF, NULL, "pvh: start_info\n");
}
END_TEST

START_TEST(triple_fault)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=triple");
	run_to_end(&v, VMM_END_RESET, "triple fault", "");
}
END_TEST

START_TEST(reset_register)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=reset");
	run_to_end(&v, VMM_END_RESET, "reset", "");
}
END_TEST

START_TEST(keyboard_reset)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=i8042");
	run_to_end(&v, VMM_END_RESET, "keyboard", "");
}
END_TEST

START_TEST(io_ports)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=ports");
	run_to_end(&v, VMM_END_POWEROFF, NULL, "a block of bytes\nports ok\n");
}
END_TEST

START_TEST(several_vcpus)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=hello");
	v.board.vcpus = 4;
	run_to_end(&v, VMM_END_POWEROFF, NULL, "hello\n");
}
END_TEST

START_TEST(most_vcpus)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=hello");
	v.board.vcpus = BOARD_MAX_VCPUS;
	run_to_end(&v, VMM_END_POWEROFF, NULL, "hello\n");
}
END_TEST

START_TEST(memory_around_the_hole)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=high mib=5120");
	v.board.memory = 5ULL << 30;
	run_to_end(&v, VMM_END_POWEROFF, NULL, "high ok\n");
}
END_TEST

START_TEST(most_memory)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=hello");
	v.board.memory = BOARD_MEMORY_MAX;
	run_to_end(&v, VMM_END_POWEROFF, NULL, "hello\n");
}
END_TEST

START_TEST(memory_that_cannot_be_mapped)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=hello");
	v.board.memory = BOARD_MEMORY_MAX;
	v.address_space = 1ULL << 30;
	run_to_end(&v, VMM_END_ERROR, "guest memory", "");
}
END_TEST

START_TEST(memory_too_small_for_the_kernel)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=hello");
	v.board.memory = BOARD_MEMORY_MIN;
	run_to_end(&v, VMM_END_ERROR, "kernel", "");
}
END_TEST

START_TEST(kernel_that_is_none)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=hello");
	vmm_run_set_guest(&v, "no-kernel");
	run_to_end(&v, VMM_END_ERROR, "kernel", "");
}
END_TEST

const struct bare_test bare_boot_tests[] = {
	{ "hello_and_power_off", &hello_and_power_off, NEEDS_KVM },
	{ "hello_without_opening_anything", &hello_without_opening_anything,
		NEEDS_KVM | NEEDS_STATIC },
	/* The leak check of a sanitized one is a ptrace of itself, which the lock forbids. */
	{ "lives_locked", &lives_locked, NEEDS_KVM | NEEDS_STATIC },
	{ "lives_without_a_lock", &lives_without_a_lock, NEEDS_KVM },
	{ "pvh_entry", &pvh_entry, NEEDS_KVM },
	{ "triple_fault", &triple_fault, NEEDS_KVM },
	{ "reset_register", &reset_register, NEEDS_KVM },
	{ "keyboard_reset", &keyboard_reset, NEEDS_KVM },
	{ "io_ports", &io_ports, NEEDS_KVM },
	{ "several_vcpus", &several_vcpus, NEEDS_KVM },
	{ "most_vcpus", &most_vcpus, NEEDS_KVM },
	{ "memory_around_the_hole", &memory_around_the_hole, NEEDS_KVM },
	{ "most_memory", &most_memory, NEEDS_KVM },
	{ "memory_that_cannot_be_mapped", &memory_that_cannot_be_mapped, NEEDS_KVM | NEEDS_STATIC },
	{ "memory_too_small_for_the_kernel", &memory_too_small_for_the_kernel, NEEDS_KVM },
	{ "kernel_that_is_none", &kernel_that_is_none, NEEDS_KVM },
	{ 0 },
};
