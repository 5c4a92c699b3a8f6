/* VMMs without a kosvmd: what goes on, what does not, and who may be the next. */
#include "bare_tests.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm_run.h"

static void start_detachable(struct vmm_run *v, const char *cmdline, const char *line)
{
	struct vmm_msg msg;

	vmm_run_init(v, cmdline);
	vmm_run_detachable(v);
	vmm_run_start(v);
	vmm_run_expect(v, VMM_MSG_RUNNING, &msg);
	vmm_run_wait_serial(v, line);
}

/* Takes the guest's next dial: our end of the stream. */
static int take_dial(struct vmm_run *v)
{
	struct vmm_msg_id answer;
	struct vmm_msg msg;
	int pair[2];

	vmm_run_expect(v, VMM_MSG_GUEST_CONNECT, &msg);
	answer.id = msg.u.guest_connect.id;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(
		vmm_proto_send(v->sock, VMM_MSG_ACCEPT, &answer, sizeof(answer), &pair[1], 1), 0);
	(void)close(pair[1]);
	return pair[0];
}

/* A guest that talks: the stream to it. */
static int start_talk(struct vmm_run *v)
{
	struct vmm_msg msg;
	int fd;

	vmm_run_init(v, "run=talk");
	(void)vmm_run_add_vsock(v, 42);
	vmm_run_detachable(v);
	vmm_run_start(v);
	vmm_run_expect(v, VMM_MSG_RUNNING, &msg);
	fd = take_dial(v);
	vmm_run_wait_serial(v, "talking\n");
	return fd;
}

static void tell(int fd, const char *what)
{
	ck_assert_int_eq(write(fd, what, strlen(what)), (ssize_t)strlen(what));
}

static void hear(int fd, const char *want)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[64] = "";

	ck_assert_msg(poll(&p, 1, 30000) == 1, "the guest does not say \"%s\"", want);
	ck_assert_int_eq(read(fd, text, sizeof(text) - 1), (ssize_t)strlen(want));
	ck_assert_str_eq(text, want);
}

static void ask(int fd, const char *what, const char *want)
{
	tell(fd, what);
	hear(fd, want);
}

/* Streams go on, new ones are refused, and the next kosvmd has it all again. */
START_TEST(outlives_its_master)
{
	struct vmm_run v;
	int more[3];
	int fd = start_talk(&v);

	ask(fd, "ehere", "here");
	vmm_run_leave(&v);
	for (int i = 0; i < 3; i++) {
		ask(fd, "estill there", "still there");
		ask(fd, "d", "refused");
		ck_assert_uint_eq(vmm_run_attach(&v), VMM_F_RUNNING);
		tell(fd, "d");
		more[i] = take_dial(&v);
		hear(fd, "taken");
		vmm_run_leave(&v);
	}
	(void)vmm_run_attach(&v);
	vmm_run_expect_record(&v, 0, "");
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	vmm_run_expect_record(&v, VMM_END_QUIT, "as told");
	for (int i = 0; i < 3; i++)
		(void)close(more[i]);
	(void)close(fd);
	vmm_run_done(&v);
}
END_TEST

static void send_attach(int fd, const struct vmm_run *v)
{
	struct vmm_msg_attach m;

	memcpy(m.boot_id, v->board.boot_id, sizeof(m.boot_id));
	ck_assert_int_eq(vmm_proto_send(fd, VMM_MSG_ATTACH, &m, sizeof(m), NULL, 0), 0);
}

/* A hundred of them, with data on its way at each change: every byte arrives, once and in order. */
START_TEST(a_hundred_masters)
{
	struct vmm_run v;
	struct vmm_reply r = { 0 };
	uint64_t bytes = 0;
	char text[64];
	int fd = start_talk(&v);

	for (int i = 0; i < 100; i++) {
		/* Asked of one, answered while there is none or under the next. */
		(void)snprintf(text, sizeof(text), "enumber %d of a hundred", i);
		tell(fd, text);
		if (i % 3 == 0)
			hear(fd, text + 1);
		vmm_run_leave(&v);
		if (i % 3 == 1)
			hear(fd, text + 1);
		ck_assert_uint_eq(vmm_run_attach(&v), VMM_F_RUNNING);
		if (i % 3 == 2)
			hear(fd, text + 1);
		bytes += strlen(text);
		r = vmm_run_request(&v, VMM_MSG_STATS);
		ck_assert_uint_eq(r.stats.vsock_rx_bytes, bytes);
		ck_assert_uint_eq(r.stats.vsock_tx_bytes, bytes - (uint64_t)(i + 1));
		ck_assert_uint_eq(r.stats.vsock_open, 1);
	}
	(void)close(fd);
	vmm_run_done(&v);
}
END_TEST

/* Whoever came in by the door is as bound to the protocol as the first one. */
START_TEST(rubbish_of_a_later_master)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "rubbish", 7 },
		{ "\002\000\011\000\010\000\000\000half", 12 }, /* STATS, 8 bytes promised */
		{ "\003\000\005\000\000\000\000\000", 8 },      /* QUIT of another version */
	};
	struct vmm_run v;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start_detachable(&v, "run=tick", "tick\n");
		vmm_run_leave(&v);
		(void)vmm_run_attach(&v);
		ck_assert_int_eq(send(v.sock, cases[i].bytes, cases[i].len, MSG_NOSIGNAL),
			(ssize_t)cases[i].len);
		vmm_run_expect_ended(&v, VMM_END_ERROR, "malformed");
		vmm_run_expect_record(&v, VMM_END_ERROR, "malformed");
		vmm_run_done(&v);
	}
	/* A second ATTACH is none of what it may say. */
	start_detachable(&v, "run=tick", "tick\n");
	vmm_run_leave(&v);
	(void)vmm_run_attach(&v);
	send_attach(v.sock, &v);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "not allowed");
	vmm_run_done(&v);
}
END_TEST

/* The guest has asked, and who was to answer is gone. */
START_TEST(asked_when_the_master_goes)
{
	struct vmm_run v;
	struct vmm_msg_id stale;
	struct vmm_msg msg;
	int pair[2];
	int fd = start_talk(&v);

	tell(fd, "d");
	vmm_run_expect(&v, VMM_MSG_GUEST_CONNECT, &msg);
	stale.id = msg.u.guest_connect.id;
	vmm_run_leave(&v);
	hear(fd, "refused");
	/* What the last one was asked, the next cannot answer. */
	(void)vmm_run_attach(&v);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(
		vmm_proto_send(v.sock, VMM_MSG_ACCEPT, &stale, sizeof(stale), &pair[1], 1), 0);
	(void)close(pair[1]);
	ck_assert_int_eq(read(pair[0], &msg, 1), 0);
	(void)close(pair[0]);
	ask(fd, "eon", "on");
	(void)close(fd);
	vmm_run_done(&v);
}
END_TEST

/* An answer that comes late is not taken for one to the next master's question. */
START_TEST(answers_go_to_who_asked)
{
	struct vmm_msg_connect req = { .id = 1, .src_cid = 2, .port = 77 };
	struct pollfd p = { .events = POLLIN };
	struct vmm_run v;
	int pair[2];
	int fd = start_talk(&v);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	/* A guest that is held answers late. */
	(void)vmm_run_request(&v, VMM_MSG_PAUSE);
	ck_assert_int_eq(
		vmm_proto_send(v.sock, VMM_MSG_CONNECT, &req, sizeof(req), &pair[1], 1), 0);
	(void)vmm_run_request(&v, VMM_MSG_STATS);
	(void)close(pair[0]);
	(void)close(pair[1]);
	ck_assert_uint_eq(vmm_run_attach(&v), VMM_F_RUNNING | VMM_F_PAUSED);
	/* Its ten seconds pass. */
	p.fd = v.sock;
	ck_assert_int_eq(poll(&p, 1, 11000), 0);
	(void)vmm_run_request(&v, VMM_MSG_RESUME);
	(void)close(fd);
	vmm_run_done(&v);
}
END_TEST

/* It must be closed without a word. */
static void expect_closed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	ck_assert_int_eq(poll(&p, 1, 30000), 1);
	ck_assert_int_le(read(fd, &byte, 1), 0);
	(void)close(fd);
}

static void expect_open(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, 50), 0);
}

/* Whoever does not know the boot id, or says anything else first, changes nothing. */
START_TEST(strangers_at_the_door)
{
	struct vmm_msg_id id = { .id = 1 };
	struct vmm_run v;
	int silent[8];
	int fd;

	start_detachable(&v, "run=tick", "tick\n");
	vmm_run_leave(&v);
	for (unsigned i = 0; i < sizeof(v.board.boot_id); i++) {
		fd = vmm_run_knock(&v);
		v.board.boot_id[i] ^= 1;
		send_attach(fd, &v);
		v.board.boot_id[i] ^= 1;
		expect_closed(fd);
	}
	fd = vmm_run_knock(&v);
	ck_assert_int_eq(vmm_proto_send(fd, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	expect_closed(fd);
	fd = vmm_run_knock(&v);
	ck_assert_int_eq(vmm_proto_send(fd, VMM_MSG_PAUSE, &id, sizeof(id), NULL, 0), 0);
	expect_closed(fd);
	fd = vmm_run_knock(&v);
	ck_assert_int_eq(send(fd, "rubbish", 7, MSG_NOSIGNAL), 7);
	expect_closed(fd);
	/* It had the right one, but of a version to come. */
	fd = vmm_run_knock(&v);
	ck_assert_int_eq(
		send(fd, "\003\000\006\000\020\000\000\000bbbbbbbbbbbbbbbb", 24, MSG_NOSIGNAL), 24);
	expect_closed(fd);
	for (unsigned i = 0; i < 8; i++)
		silent[i] = vmm_run_knock(&v);
	ck_assert_uint_eq(vmm_run_attach(&v), VMM_F_RUNNING);
	for (unsigned i = 0; i < 8; i++)
		(void)close(silent[i]);
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	vmm_run_done(&v);
}
END_TEST

START_TEST(one_master_at_a_time)
{
	struct vmm_run v;
	int fd;

	start_detachable(&v, "run=tick", "tick\n");
	fd = vmm_run_knock(&v);
	send_attach(fd, &v);
	expect_closed(fd);
	vmm_run_leave(&v);
	(void)vmm_run_attach(&v);
	fd = vmm_run_knock(&v);
	send_attach(fd, &v);
	expect_closed(fd);
	expect_open(v.sock);
	(void)vmm_run_request(&v, VMM_MSG_STATS);
	vmm_run_done(&v);
}
END_TEST

/* The last one's end and the next one's beginning reach the VMM in the same moment. */
START_TEST(succession)
{
	struct vmm_run v;
	struct vmm_msg msg;

	start_detachable(&v, "run=tick", "tick\n");
	for (int i = 0; i < 20; i++) {
		int next;

		ck_assert_int_eq(kill(v.pid, SIGSTOP), 0);
		next = vmm_run_knock(&v);
		send_attach(next, &v);
		vmm_run_leave(&v);
		v.sock = next;
		ck_assert_int_eq(kill(v.pid, SIGCONT), 0);
		vmm_run_expect(&v, VMM_MSG_ATTACHED, &msg);
	}
	vmm_run_done(&v);
}
END_TEST

/* The last word of a master that is gone by the time it is read. */
START_TEST(quit_and_gone)
{
	struct vmm_run v;
	struct vmm_msg_id id = { .id = 1 };

	start_detachable(&v, "run=tick", "tick\n");
	ck_assert_int_eq(kill(v.pid, SIGSTOP), 0);
	/* The answer to the first cannot be delivered: that must not swallow the second. */
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_STATS, &id, sizeof(id), NULL, 0), 0);
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_leave(&v);
	ck_assert_int_eq(kill(v.pid, SIGCONT), 0);
	vmm_run_wait_exit(&v);
	vmm_run_expect_record(&v, VMM_END_QUIT, "as told");
	vmm_run_done(&v);
}
END_TEST

START_TEST(gone_before_it_ran)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=tick");
	vmm_run_detachable(&v);
	vmm_run_start(&v);
	vmm_run_leave(&v); /* BOOT is in the socket, and that counts */
	vmm_run_wait_serial(&v, "tick\n");
	ck_assert_uint_eq(vmm_run_attach(&v), VMM_F_RUNNING);
	vmm_run_done(&v);
}
END_TEST

START_TEST(powers_off_alone)
{
	struct vmm_run v;
	int fd = start_talk(&v);

	vmm_run_leave(&v);
	tell(fd, "o");
	vmm_run_wait_exit(&v);
	ck_assert_int_eq(v.exit_code, 0);
	vmm_run_expect_record(&v, VMM_END_POWEROFF, "powered off");
	(void)close(fd);
	vmm_run_done(&v);
}
END_TEST

START_TEST(sigterm_alone)
{
	struct vmm_run v;

	start_detachable(&v, "run=tick", "tick\n");
	vmm_run_leave(&v);
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	vmm_run_wait_exit(&v);
	ck_assert_int_eq(v.exit_code, 0);
	vmm_run_expect_record(&v, VMM_END_QUIT, "SIGTERM");
	vmm_run_done(&v);
}
END_TEST

START_TEST(killed_alone)
{
	struct vmm_run v;

	start_detachable(&v, "run=tick", "tick\n");
	vmm_run_leave(&v);
	ck_assert_int_eq(kill(v.pid, SIGKILL), 0);
	vmm_run_wait_exit(&v);
	vmm_run_expect_record(&v, 0, "");
	vmm_run_done(&v);
}
END_TEST

/* Why it could not start is written down, too. */
START_TEST(error_is_recorded)
{
	struct vmm_run v;

	vmm_run_init_no_kvm(&v, "");
	vmm_run_detachable(&v);
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "not KVM");
	vmm_run_expect_record(&v, VMM_END_ERROR, "not KVM");
	vmm_run_done(&v);
}
END_TEST

START_TEST(listener_that_is_none)
{
	struct vmm_run v;
	int pair[2];

	vmm_run_init(&v, "run=tick");
	vmm_run_detachable(&v);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	(void)close(v.fds[v.board.listen_fd]);
	v.fds[v.board.listen_fd] = pair[0];
	(void)close(pair[1]);
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "listen");
	vmm_run_done(&v);
}
END_TEST

const struct bare_test bare_detach_tests[] = {
	{ "outlives_its_master", &outlives_its_master, NEEDS_KVM },
	{ "a_hundred_masters", &a_hundred_masters, NEEDS_KVM },
	{ "rubbish_of_a_later_master", &rubbish_of_a_later_master, NEEDS_KVM },
	{ "asked_when_the_master_goes", &asked_when_the_master_goes, NEEDS_KVM },
	{ "answers_go_to_who_asked", &answers_go_to_who_asked, NEEDS_KVM },
	{ "strangers_at_the_door", &strangers_at_the_door, NEEDS_KVM },
	{ "one_master_at_a_time", &one_master_at_a_time, NEEDS_KVM },
	{ "succession", &succession, NEEDS_KVM },
	{ "quit_and_gone", &quit_and_gone, NEEDS_KVM },
	{ "gone_before_it_ran", &gone_before_it_ran, NEEDS_KVM },
	{ "powers_off_alone", &powers_off_alone, NEEDS_KVM },
	{ "sigterm_alone", &sigterm_alone, NEEDS_KVM },
	{ "killed_alone", &killed_alone, NEEDS_KVM },
	{ "error_is_recorded", &error_is_recorded, 0 },
	{ "listener_that_is_none", &listener_that_is_none, NEEDS_KVM },
	{ 0 },
};
