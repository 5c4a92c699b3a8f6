#include "vsock_fixture.h"

#include <check.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>

#define PLENTY (1u << 20)

/* For what must come: machines that run tests may be slow. */
#define PATIENCE_MS 10000

static void on_guest_connect(
	void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port)
{
	struct fixture *f = user;
	int fd;

	f->asked++;
	f->ask_id = id;
	f->ask_cid = dst_cid;
	f->ask_port = dst_port;
	f->ask_src = src_port;
	if (f->answer == FIX_REFUSE) {
		virtio_vsock_refuse(f->m.v, id);
	} else if (f->answer == FIX_ACCEPT) {
		ck_assert_uint_lt(src_port, FIX_LOG);
		fix_pair(&fd, &f->ends[src_port]);
		virtio_vsock_accept(f->m.v, id, fd);
	}
}

static void on_connect_done(void *user, uint64_t id, int result)
{
	struct fixture *f = user;

	f->done++;
	f->done_id = id;
	f->done_result = result;
}

static const struct virtio_vsock_ops fix_ops = {
	.guest_connect = on_guest_connect,
	.connect_done = on_connect_done,
};

void fix_init(struct fixture *f, struct virtio_vsock_config *cfg, unsigned buffers)
{
	struct virtio_vsock_config plain = { 0 };

	*f = (struct fixture){ 0 };
	if (!cfg)
		cfg = &plain;
	cfg->ops = &fix_ops;
	cfg->user = f;
	mock_vsock_init(&f->m, cfg);
	if (buffers)
		mock_vsock_start(&f->m, buffers);
}

void fix_done(struct fixture *f)
{
	mock_vsock_done(&f->m);
}

void fix_pair(int *ret_dev, int *ret_ours)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	*ret_dev = sv[0];
	*ret_ours = sv[1];
}

void fix_send(struct fixture *f, uint16_t op, uint32_t port, uint32_t guest_port, uint32_t flags,
	const void *data, uint32_t len)
{
	const struct vsock_packet p = {
		.dst_cid = HOST_CID,
		.src_port = guest_port,
		.dst_port = port,
		.op = op,
		.flags = flags,
		.len = len,
		.buf_alloc = PLENTY,
	};

	ck_assert(mock_vsock_send(&f->m, &p, data, len));
	mock_vsock_run(&f->m, 0);
}

struct vsock_packet fix_expect(struct fixture *f, uint16_t op, void *data)
{
	struct vsock_packet p = { 0 };

	ck_assert_msg(
		mock_vsock_recv(&f->m, &p, data, PATIENCE_MS), "no packet, expected op %u", op);
	ck_assert_msg(p.op == op, "op %u (flags %u, len %u) from port %u, expected op %u", p.op,
		p.flags, p.len, p.src_port, op);
	return p;
}

void fix_expect_none(struct fixture *f)
{
	struct vsock_packet p = { 0 };

	ck_assert_msg(!mock_vsock_recv(&f->m, &p, NULL, 20), "unexpected op %u", p.op);
}

int fix_open(struct fixture *f, uint32_t port, uint32_t guest_port)
{
	int fd, ours;

	f->answer = FIX_WAIT;
	fix_send(f, VSOCK_OP_REQUEST, port, guest_port, 0, NULL, 0);
	ck_assert_uint_eq(f->ask_port, port);
	ck_assert_uint_eq(f->ask_src, guest_port);
	fix_pair(&fd, &ours);
	virtio_vsock_accept(f->m.v, f->ask_id, fd);
	(void)fix_expect(f, VSOCK_OP_RESPONSE, NULL);
	return ours;
}

int fix_open_to_guest(struct fixture *f, uint32_t guest_port, uint32_t *ret_port)
{
	struct vsock_packet p;
	unsigned before = f->done;
	int fd, ours;

	fix_pair(&fd, &ours);
	ck_assert_int_eq(virtio_vsock_connect(f->m.v, 77, HOST_CID, guest_port, fd), 0);
	p = fix_expect(f, VSOCK_OP_REQUEST, NULL);
	ck_assert_uint_eq(p.src_cid, HOST_CID);
	ck_assert_uint_eq(p.dst_port, guest_port);
	ck_assert_uint_eq(f->done, before);
	fix_send(f, VSOCK_OP_RESPONSE, p.src_port, guest_port, 0, NULL, 0);
	ck_assert_uint_eq(f->done, before + 1);
	ck_assert_uint_eq(f->done_id, 77);
	ck_assert_int_eq(f->done_result, 0);
	*ret_port = p.src_port;
	return ours;
}

bool fix_wait_end(struct fixture *f, int fd)
{
	uint64_t end = clock_mono_ns() + PATIENCE_MS * CLOCK_NS_PER_MS;
	char buf[4096];

	while (clock_mono_ns() < end) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		ck_assert_int_eq(loop_step(f->m.loop, 1, NULL), 0);
	}
	return false;
}

uint64_t fix_conns(struct fixture *f)
{
	struct virtio_vsock_stats s;

	virtio_vsock_get_stats(f->m.v, &s);
	return s.conns_open;
}
