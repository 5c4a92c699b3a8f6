/*
 * Stands in for kosvm-vmm where there is no KVM: it speaks the whole of
 * wire/vmm_proto.h, outlives its kosvmd, and plays the guest behind it as the
 * manifest's command line orders (stand_in_guest.c). For tests that kill and
 * restart; tests of what hostile VMMs do have fake_vmm.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <base/log.h>
#include <wire/board.h>
#include <wire/guest_proto.h>

#include "stand_in.h"

#define CALLERS_MAX 4 /* connections to the listener that have not said ATTACH */
#define DIALS_MAX   8

/* A connection to the listener before its first message. */
struct caller {
	struct loop_fd w;
	int fd;
};

/* The guest asked, the host has not answered. */
struct dial {
	uint64_t id; /* 0: free */
	uint32_t port;
};

static struct vmm {
	struct loop *loop;
	struct board board;
	int fds[FDPASS_MAX_FDS];
	int sock; /* -1: detached */
	struct loop_fd watch;
	struct loop_fd listener;
	struct loop_signal sigterm;
	struct caller callers[CALLERS_MAX];
	struct dial dials[DIALS_MAX];
	uint64_t next_id;
	bool running;
	bool paused;
	uint64_t console_len;
	struct vmm_stats stats;
	struct vmm_msg_ended ended;
} vmm = { .sock = -1, .watch = LOOP_FD_INIT, .listener = LOOP_FD_INIT };

static uint32_t flags_now(void)
{
	return (vmm.running ? VMM_F_RUNNING : 0u) | (vmm.paused ? VMM_F_PAUSED : 0u);
}

void vmm_end(enum vmm_end reason, const char *text)
{
	if (vmm.ended.reason)
		return;
	vmm.ended.reason = reason;
	vmm.ended.code = reason == VMM_END_ERROR ? EIO : 0;
	(void)snprintf(vmm.ended.text, sizeof(vmm.ended.text), "%.*s",
		(int)sizeof(vmm.ended.text) - 1, text);
	loop_quit(vmm.loop, 0);
}

bool vmm_paused(void)
{
	return vmm.paused;
}

void vmm_console(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n < 0 || vmm.board.serial_fd == BOARD_NO_FD)
		return;
	n = n < (int)sizeof(line) - 1 ? n : (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (vmm.console_len + (uint64_t)n > vmm.board.serial_limit)
		return;
	vmm.console_len += (uint64_t)n;
	(void)!write(vmm.fds[vmm.board.serial_fd], line, (size_t)n);
}

bool vmm_disk_mark(void)
{
	static const char mark[] = "stand-in was here";
	char found[sizeof(mark)] = "";

	for (unsigned i = 0; i < vmm.board.slot_count; i++) {
		const struct board_slot *s = &vmm.board.slots[i];
		int fd = s->device == BOARD_BLK && !s->read_only ? vmm.fds[s->fd] : -1;

		/* Its very end: no file system has anything there yet. */
		if (fd < 0 ||
			io_pread_full(fd, found, sizeof(found), s->size - sizeof(found)) < 0 ||
			memcmp(found, mark, sizeof(mark)) == 0)
			continue;
		vmm.stats.blk_write_bytes += sizeof(mark);
		return io_pwrite_full(fd, mark, sizeof(mark), s->size - sizeof(mark)) < 0;
	}
	return true;
}

/* A host that is busy is waited for, one that is gone is found by reading. */
static void say(enum vmm_msg_type type, const void *payload, size_t len)
{
	int r = -EAGAIN;

	for (int i = 0; i < 100 && vmm.sock >= 0 && r == -EAGAIN; i++) {
		struct pollfd p = { .fd = vmm.sock, .events = POLLOUT };

		r = vmm_proto_send(vmm.sock, type, payload, len, NULL, 0);
		if (r == -EAGAIN)
			(void)poll(&p, 1, 100);
	}
}

/* ---- the guest dials the host ---- */

void vmm_dial(uint32_t port, uint32_t src_port)
{
	struct vmm_msg_guest_connect m = {
		.dst_cid = GUEST_CID_HOST, .dst_port = port, .src_port = src_port
	};

	for (size_t i = 0; vmm.sock >= 0 && i < DIALS_MAX; i++) {
		if (vmm.dials[i].id)
			continue;
		m.id = ++vmm.next_id;
		vmm.dials[i] = (struct dial){ .id = m.id, .port = port };
		say(VMM_MSG_GUEST_CONNECT, &m, sizeof(m));
		return;
	}
	guest_dialled(port, -1);
}

static void answered(uint64_t id, int fd)
{
	for (size_t i = 0; id && i < DIALS_MAX; i++) {
		if (vmm.dials[i].id != id)
			continue;
		vmm.dials[i].id = 0;
		vmm.stats.vsock_total += fd >= 0;
		guest_dialled(vmm.dials[i].port, fd);
		return;
	}
	close_fd(&fd);
}

/* ---- the control socket ---- */

static void detach(void)
{
	loop_fd_del(&vmm.watch);
	close_fd(&vmm.sock);
	for (size_t i = 0; i < DIALS_MAX; i++)
		answered(vmm.dials[i].id, -1);
	if (vmm.board.listen_fd == BOARD_NO_FD)
		vmm_end(VMM_END_QUIT, "the control socket was closed");
}

/* For tests that look from outside: the process's name says it. */
static void set_paused(bool paused)
{
	char name[16] = "";

	vmm.paused = paused;
	(void)prctl(PR_GET_NAME, name);
	name[strcspn(name, " ")] = '\0';
	if (paused)
		memcpy(name + (strlen(name) < 8 ? strlen(name) : 8), " paused", sizeof(" paused"));
	(void)prctl(PR_SET_NAME, name);
}

static void got_request(const struct vmm_msg *m)
{
	struct vmm_reply r = { .id = m->u.id.id };

	if (m->type == VMM_MSG_LIMITS)
		vmm_console("limits: disk %llu %llu %llu vsock %llu %llu",
			(unsigned long long)m->u.limits.disk.bytes,
			(unsigned long long)m->u.limits.disk.ops,
			(unsigned long long)m->u.limits.disk.burst,
			(unsigned long long)m->u.limits.vsock.bytes,
			(unsigned long long)m->u.limits.vsock.burst);
	else if (m->type != VMM_MSG_STATS)
		set_paused(m->type == VMM_MSG_PAUSE);
	r.flags = flags_now();
	vmm.stats.vcpu_ns += 1000;
	r.stats = vmm.stats;
	say(VMM_MSG_REPLY, &r, sizeof(r));
	if (m->type == VMM_MSG_RESUME)
		guest_resumed();
}

static void got_connect(struct vmm_msg *m)
{
	struct vmm_msg_connected c = { .id = m->u.connect.id };

	c.result = guest_connect(m->u.connect.port, m->fds[0]);
	if (c.result == 0)
		m->nfds = 0; /* the guest's */
	say(VMM_MSG_CONNECTED, &c, sizeof(c));
}

static void dispatch(struct vmm_msg *m)
{
	switch (m->type) {
	case VMM_MSG_CONNECT:
		got_connect(m);
		break;
	case VMM_MSG_ACCEPT:
		m->nfds = 0;
		answered(m->u.id.id, m->fds[0]);
		break;
	case VMM_MSG_REFUSE:
		answered(m->u.id.id, -1);
		break;
	case VMM_MSG_PAUSE:
	case VMM_MSG_RESUME:
	case VMM_MSG_STATS:
	case VMM_MSG_LIMITS:
		got_request(m);
		break;
	case VMM_MSG_QUIT:
		vmm_end(VMM_END_QUIT, "as told");
		break;
	default:
		detach();
	}
	for (size_t i = 0; i < m->nfds; i++)
		(void)close(m->fds[i]);
}

static void control_ready(struct loop_fd *w, uint32_t events)
{
	struct vmm_msg m;

	(void)w;
	(void)events;
	while (vmm.sock >= 0 && !vmm.ended.reason) {
		int r = vmm_proto_recv(vmm.sock, &m);

		if (r == -EAGAIN)
			return;
		if (r == 1)
			dispatch(&m);
		else
			detach();
	}
}

static int serve_socket(int fd)
{
	int r = io_set_nonblock(fd, 1);

	vmm.watch.fn = control_ready;
	if (r == 0)
		r = loop_fd_add(vmm.loop, &vmm.watch, fd, EPOLLIN);
	if (r == 0)
		vmm.sock = fd;
	return r;
}

/* ---- the listener, for a later kosvmd ---- */

static void caller_done(struct caller *c)
{
	loop_fd_del(&c->w);
	close_fd(&c->fd);
}

static void caller_ready(struct loop_fd *w, uint32_t events)
{
	struct caller *c = container_of(w, struct caller, w);
	struct vmm_msg_attached m = { .flags = flags_now() };
	struct vmm_msg msg;
	int r = vmm_proto_recv(c->fd, &msg);
	int fd;

	(void)events;
	if (r == -EAGAIN)
		return;
	for (size_t i = 0; r == 1 && i < msg.nfds; i++)
		(void)close(msg.fds[i]);
	if (r != 1 || msg.type != VMM_MSG_ATTACH || vmm.sock >= 0 ||
		memcmp(msg.u.attach.boot_id, vmm.board.boot_id, BOARD_BOOT_ID_LEN) != 0) {
		caller_done(c);
		return;
	}
	loop_fd_del(&c->w);
	fd = steal_fd(&c->fd);
	if (serve_socket(fd) < 0)
		(void)close(fd);
	else
		say(VMM_MSG_ATTACHED, &m, sizeof(m));
}

static void listener_ready(struct loop_fd *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	for (size_t i = 0; fd >= 0 && vmm.sock < 0 && i < CALLERS_MAX; i++) {
		struct caller *c = &vmm.callers[i];

		if (c->fd >= 0)
			continue;
		c->w.fn = caller_ready;
		if (loop_fd_add(vmm.loop, &c->w, fd, EPOLLIN) == 0)
			c->fd = steal_fd(&fd);
	}
	close_fd(&fd);
}

/* ---- the whole ---- */

static void sigterm(struct loop_signal *s, int signo)
{
	(void)s;
	(void)signo;
	vmm_end(VMM_END_QUIT, "by SIGTERM");
}

static int receive_boot(struct kerr *e)
{
	struct pollfd p = { .fd = VMM_PROTO_FD, .events = POLLIN };
	struct vmm_msg m;
	int r;

	(void)poll(&p, 1, -1); /* or its end, if kosvmd dies before */
	r = vmm_proto_recv(VMM_PROTO_FD, &m);
	if (r <= 0 || m.type != VMM_MSG_BOOT)
		return kerr_set(e, EPROTO, "descriptor %d: no BOOT came (%d)", VMM_PROTO_FD, r);
	r = board_decode(m.u.board, m.len, (unsigned)m.nfds, &vmm.board, e);
	if (r == 0)
		memcpy(vmm.fds, m.fds, m.nfds * sizeof(int)); /* open until the end, disks locked */
	return r;
}

static int start(struct kerr *e)
{
	sigset_t set;
	int r;

	for (size_t i = 0; i < CALLERS_MAX; i++)
		vmm.callers[i] = (struct caller){ .w = LOOP_FD_INIT, .fd = -1 };
	(void)fcntl(VMM_PROTO_FD, F_SETFD, FD_CLOEXEC);
	r = receive_boot(e);
	if (r < 0)
		return r;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	vmm.sigterm = (struct loop_signal){ .fn = sigterm, .w = LOOP_FD_INIT };
	r = loop_signal_add(vmm.loop, &vmm.sigterm, &set);
	if (r == 0)
		r = serve_socket(VMM_PROTO_FD);
	if (r == 0 && vmm.board.listen_fd != BOARD_NO_FD) {
		int fd = vmm.fds[vmm.board.listen_fd];

		vmm.listener.fn = listener_ready;
		r = io_set_nonblock(fd, 1);
		if (r == 0)
			r = loop_fd_add(vmm.loop, &vmm.listener, fd, EPOLLIN);
	}
	if (r < 0)
		return kerr_errno(e, -r, "control socket");
	vmm.running = true;
	say(VMM_MSG_RUNNING, NULL, 0);
	guest_power_on(vmm.loop);
	return 0;
}

/* For whoever was away, then for whoever listens. */
static void say_ended(void)
{
	if (vmm.board.end_fd != BOARD_NO_FD)
		(void)io_pwrite_full(vmm.fds[vmm.board.end_fd], &vmm.ended, sizeof(vmm.ended), 0);
	say(VMM_MSG_ENDED, &vmm.ended, sizeof(vmm.ended));
}

int main(void)
{
	struct kerr e = { 0 };
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	log_init("kosvm-vmm", LOG_LEVEL_WARN);
	vmm.board.end_fd = vmm.board.listen_fd = vmm.board.serial_fd = BOARD_NO_FD;
	r = loop_new(&vmm.loop, &e);
	if (r == 0)
		r = start(&e);
	if (r == 0)
		r = loop_run(vmm.loop, &e);
	if (r < 0) {
		log_error("%s", e.msg);
		vmm_end(VMM_END_ERROR, e.msg);
	}
	say_ended();
	return vmm.ended.reason == VMM_END_ERROR;
}
