#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wire/vmm_proto.h>

static int ends[2];

static void setup(void)
{
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
}

static void teardown(void)
{
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Sends raw bytes with n copies of a descriptor. */
static void send_raw(const void *buf, size_t len, size_t nfds)
{
	int fds[FDPASS_MAX_FDS];

	for (size_t i = 0; i < nfds; i++)
		fds[i] = STDERR_FILENO;
	ck_assert_int_eq(fdpass_send(ends[0], buf, len, fds, nfds), 0);
}

START_TEST(limits)
{
	struct vmm_msg_limits m = { .id = 7,
		.disk = { .bytes = 1, .ops = 2, .burst = 3 },
		.vsock = { .bytes = 4, .burst = 5 } };
	struct vmm_msg msg;

	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_LIMITS, &m, sizeof(m), NULL, 0), 0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 1);
	ck_assert_mem_eq(&msg.u.limits, &m, sizeof(m));
	m.vsock.ops = 1;
	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_LIMITS, &m, sizeof(m), NULL, 0), 0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), -EPROTO);
}
END_TEST

START_TEST(round_trip)
{
	struct vmm_msg_guest_connect req = {
		.id = 1ULL << 40, .dst_cid = 2, .dst_port = 3, .src_port = 4
	};
	struct vmm_msg msg;

	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), -EAGAIN);
	ck_assert_int_eq(
		vmm_proto_send(ends[0], VMM_MSG_GUEST_CONNECT, &req, sizeof(req), NULL, 0), 0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 1);
	ck_assert_uint_eq(msg.type, VMM_MSG_GUEST_CONNECT);
	ck_assert_uint_eq(msg.len, sizeof(req));
	ck_assert_uint_eq(msg.nfds, 0);
	ck_assert_mem_eq(&msg.u.guest_connect, &req, sizeof(req));
	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 1);
	ck_assert_uint_eq(msg.len, 0);
}
END_TEST

START_TEST(descriptors_travel)
{
	struct vmm_msg_connect req = { .id = 5, .port = 6 };
	struct vmm_msg msg;
	int fd = STDERR_FILENO;

	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_CONNECT, &req, sizeof(req), &fd, 1), 0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 1);
	ck_assert_uint_eq(msg.nfds, 1);
	ck_assert_int_eq(fcntl(msg.fds[0], F_GETFD), FD_CLOEXEC);
	(void)close(msg.fds[0]);
}
END_TEST

START_TEST(largest_board)
{
	static uint8_t board[sizeof(((struct vmm_msg *)0)->u.board) + 1];
	int fds[FDPASS_MAX_FDS];
	struct vmm_msg msg;

	memset(board, 0x5a, sizeof(board));
	for (size_t i = 0; i < FDPASS_MAX_FDS; i++)
		fds[i] = STDERR_FILENO;
	ck_assert_int_eq(
		vmm_proto_send(ends[0], VMM_MSG_BOOT, board, sizeof(board), NULL, 0), -EINVAL);
	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_BOOT, board, sizeof(board) - 1, fds,
				 FDPASS_MAX_FDS),
		0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 1);
	ck_assert_uint_eq(msg.len, sizeof(board) - 1);
	ck_assert_mem_eq(msg.u.board, board, sizeof(board) - 1);
	ck_assert_uint_eq(msg.nfds, FDPASS_MAX_FDS);
	for (size_t i = 0; i < msg.nfds; i++)
		(void)close(msg.fds[i]);
}
END_TEST

START_TEST(end_of_stream)
{
	struct vmm_msg msg;

	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	ck_assert_int_eq(shutdown(ends[0], SHUT_WR), 0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 1);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 0);
}
END_TEST

/* The peer is gone and never read what we sent: no error, an end. */
START_TEST(end_of_stream_with_unread_data)
{
	struct vmm_msg msg;

	ck_assert_int_eq(vmm_proto_send(ends[1], VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	(void)close(ends[0]);
	ends[0] = -1;
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 0);
}
END_TEST

START_TEST(send_checks_shapes)
{
	struct vmm_msg_id id = { .id = 1 };
	int fd = STDERR_FILENO;

	ck_assert_int_eq(vmm_proto_send(ends[0], 0, NULL, 0, NULL, 0), -EINVAL);
	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_LIMITS + 1, NULL, 0, NULL, 0), -EINVAL);
	ck_assert_int_eq(vmm_proto_send(ends[0], 1000, NULL, 0, NULL, 0), -EINVAL);
	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_QUIT, &id, 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(
		vmm_proto_send(ends[0], VMM_MSG_ACCEPT, &id, sizeof(id), NULL, 0), -EINVAL);
	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_REFUSE, &id, sizeof(id), &fd, 1), -EINVAL);
}
END_TEST

struct raw {
	struct vmm_msg_hdr hdr;
	union {
		struct vmm_msg_connect connect;
		struct vmm_msg_connected connected;
		struct vmm_msg_ended ended;
		struct vmm_msg_attach attach;
		struct vmm_msg_attached attached;
		struct vmm_msg_id id;
		struct vmm_reply reply;
	} u;
};

/* The message must be refused, and no descriptor that came with it may stay. */
static void refuse(const struct raw *raw, size_t payload, size_t nfds)
{
	unsigned before = open_fds();
	struct vmm_msg msg;

	send_raw(raw, sizeof(raw->hdr) + payload, nfds);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), -EPROTO);
	ck_assert_uint_eq(open_fds(), before);
}

START_TEST(malformed_headers)
{
	struct raw raw = { .hdr = { VMM_PROTO_VERSION, VMM_MSG_QUIT, 0 } };
	unsigned before = open_fds();
	struct vmm_msg msg;

	send_raw(&raw, 7, 3);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), -EPROTO);
	ck_assert_uint_eq(open_fds(), before);
	refuse(&raw, 1, 0); /* more than the header says */
	refuse(&raw, 0, 1); /* QUIT has no descriptors */
	raw.hdr.len = 1;
	refuse(&raw, 0, 0);
	refuse(&raw, 1, 0); /* QUIT has no payload */
	raw.hdr.len = UINT32_MAX;
	refuse(&raw, 0, 2);
	raw.hdr = (struct vmm_msg_hdr){ VMM_PROTO_VERSION + 1, VMM_MSG_QUIT, 0 };
	refuse(&raw, 0, 0);
	raw.hdr = (struct vmm_msg_hdr){ VMM_PROTO_VERSION, 0, 0 };
	refuse(&raw, 0, 0);
	raw.hdr.type = VMM_MSG_REPLY + 1;
	refuse(&raw, 0, 0);
	raw.hdr.type = UINT16_MAX;
	refuse(&raw, 0, 16);
	raw.hdr.type = VMM_MSG_BOOT; /* a board of no bytes */
	refuse(&raw, 0, 1);
}
END_TEST

START_TEST(malformed_payloads)
{
	struct raw raw = { .hdr = { VMM_PROTO_VERSION, VMM_MSG_CONNECT, sizeof(raw.u.connect) } };

	refuse(&raw, sizeof(raw.u.connect), 0);
	refuse(&raw, sizeof(raw.u.connect), 2);
	raw.u.connect.reserved = 1;
	refuse(&raw, sizeof(raw.u.connect), 1);
	raw = (struct raw){ .hdr = { VMM_PROTO_VERSION, VMM_MSG_CONNECTED,
				    sizeof(raw.u.connected) } };
	raw.u.connected.result = 1;
	refuse(&raw, sizeof(raw.u.connected), 0);
	raw = (struct raw){ .hdr = { VMM_PROTO_VERSION, VMM_MSG_ENDED, sizeof(raw.u.ended) } };
	refuse(&raw, sizeof(raw.u.ended), 0); /* reason 0 */
	raw.u.ended.reason = VMM_END_ERROR + 1;
	refuse(&raw, sizeof(raw.u.ended), 0);
	raw.u.ended.reason = VMM_END_ERROR;
	memset(raw.u.ended.text, 'x', sizeof(raw.u.ended.text));
	refuse(&raw, sizeof(raw.u.ended), 0);
	raw.u.ended.text[sizeof(raw.u.ended.text) - 1] = '\0';
	send_raw(&raw, sizeof(raw.hdr) + sizeof(raw.u.ended), 0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &(struct vmm_msg){ 0 }), 1);
}
END_TEST

/* Every message of version 2: its exact length, no descriptors, nothing undefined set. */
START_TEST(malformed_requests)
{
	static const struct {
		enum vmm_msg_type type;
		uint32_t len;
	} shapes[] = {
		{ VMM_MSG_ATTACH, sizeof(struct vmm_msg_attach) },
		{ VMM_MSG_ATTACHED, sizeof(struct vmm_msg_attached) },
		{ VMM_MSG_PAUSE, sizeof(struct vmm_msg_id) },
		{ VMM_MSG_RESUME, sizeof(struct vmm_msg_id) },
		{ VMM_MSG_STATS, sizeof(struct vmm_msg_id) },
		{ VMM_MSG_LIMITS, sizeof(struct vmm_msg_limits) },
		{ VMM_MSG_REPLY, sizeof(struct vmm_reply) },
	};
	struct raw raw;

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		raw = (struct raw){ .hdr = { VMM_PROTO_VERSION, (uint16_t)shapes[i].type, 0 } };
		raw.hdr.len = shapes[i].len - 1;
		refuse(&raw, raw.hdr.len, 0);
		raw.hdr.len = shapes[i].len + 1;
		refuse(&raw, raw.hdr.len, 0);
		raw.hdr.len = shapes[i].len;
		refuse(&raw, raw.hdr.len, 1);
		raw.hdr.version = 1;
		refuse(&raw, raw.hdr.len, 0);
		raw.hdr.version = VMM_PROTO_VERSION;
		send_raw(&raw, sizeof(raw.hdr) + raw.hdr.len, 0);
		ck_assert_int_eq(vmm_proto_recv(ends[1], &(struct vmm_msg){ 0 }), 1);
	}
	raw = (struct raw){ .hdr = {
				    VMM_PROTO_VERSION, VMM_MSG_ATTACHED, sizeof(raw.u.attached) } };
	raw.u.attached.flags = 4;
	refuse(&raw, sizeof(raw.u.attached), 0);
	raw.u.attached = (struct vmm_msg_attached){ .reserved = 1 };
	refuse(&raw, sizeof(raw.u.attached), 0);
	raw = (struct raw){ .hdr = { VMM_PROTO_VERSION, VMM_MSG_REPLY, sizeof(raw.u.reply) } };
	raw.u.reply.flags = 1U << 31;
	refuse(&raw, sizeof(raw.u.reply), 0);
	raw.u.reply = (struct vmm_reply){ .result = 1 };
	refuse(&raw, sizeof(raw.u.reply), 0);
}
END_TEST

START_TEST(oversized_datagram)
{
	static uint8_t big[VMM_PROTO_MAX];
	struct vmm_msg_hdr hdr = { VMM_PROTO_VERSION, VMM_MSG_BOOT, sizeof(big) - sizeof(hdr) };
	unsigned before = open_fds();
	struct vmm_msg msg;

	memcpy(big, &hdr, sizeof(hdr));
	send_raw(big, sizeof(big), 4);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), -EPROTO);
	ck_assert_uint_eq(open_fds(), before);
	/* The next message is not harmed by it. */
	ck_assert_int_eq(vmm_proto_send(ends[0], VMM_MSG_RUNNING, NULL, 0, NULL, 0), 0);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 1);
	ck_assert_uint_eq(msg.type, VMM_MSG_RUNNING);
}
END_TEST

START_TEST(full_socket)
{
	unsigned sent = 0;
	struct vmm_msg msg;
	int r;

	while ((r = vmm_proto_send(ends[0], VMM_MSG_QUIT, NULL, 0, NULL, 0)) == 0)
		sent++;
	ck_assert_int_eq(r, -EAGAIN);
	for (; sent > 0; sent--)
		ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), 1);
	ck_assert_int_eq(vmm_proto_recv(ends[1], &msg), -EAGAIN);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmm_proto");
	TCase *tc = tcase_create("vmm_proto");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, round_trip);
	tcase_add_test(tc, descriptors_travel);
	tcase_add_test(tc, largest_board);
	tcase_add_test(tc, end_of_stream);
	tcase_add_test(tc, end_of_stream_with_unread_data);
	tcase_add_test(tc, send_checks_shapes);
	tcase_add_test(tc, malformed_headers);
	tcase_add_test(tc, malformed_payloads);
	tcase_add_test(tc, malformed_requests);
	tcase_add_test(tc, oversized_datagram);
	tcase_add_test(tc, full_socket);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
