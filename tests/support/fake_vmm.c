/*
 * Stands in for kosvm-vmm in the tests of kosvmd: speaks vmm_proto on
 * descriptor 3 and misbehaves as the board's command line says.
 */
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wire/board.h>
#include <wire/guest_proto.h>
#include <wire/vmm_proto.h>

static struct vmm_msg msg;
static struct board board;
static int control = -1; /* stream to the guest's control port of kosvmd */

static void say(enum vmm_msg_type type, const void *p, size_t len)
{
	/* What a test of bad behaviour cannot deliver it need not. */
	(void)!vmm_proto_send(VMM_PROTO_FD, type, p, len, NULL, 0);
}

static void wait_readable(void)
{
	struct pollfd p = { .fd = VMM_PROTO_FD, .events = POLLIN };

	(void)poll(&p, 1, -1);
}

static void ended(enum vmm_end reason, const char *text)
{
	struct vmm_msg_ended m = { .reason = reason };

	(void)snprintf(m.text, sizeof(m.text), "%s", text);
	say(VMM_MSG_ENDED, &m, sizeof(m));
}

static void connect_guest(uint64_t id, uint64_t cid, uint32_t port)
{
	struct vmm_msg_guest_connect m = {
		.id = id, .dst_cid = cid, .dst_port = port, .src_port = 1000
	};

	say(VMM_MSG_GUEST_CONNECT, &m, sizeof(m));
}

static void frame(enum guest_frame_type type, enum guest_field f, uint32_t v)
{
	uint8_t buf[64];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), type);
	guest_put_u32(&w, f, v);
	(void)!write(control, buf, (size_t)guest_writer_end(&w));
}

static void handle_connect(void)
{
	struct vmm_msg_connected m = { .id = msg.u.connect.id };

	(void)!send(msg.fds[0], "hi", 2, MSG_NOSIGNAL);
	(void)close(msg.fds[0]);
	say(VMM_MSG_CONNECTED, &m, sizeof(m));
}

/* A guest that works: control stream, HELLO, READY, and EXITED when told so. */
static void serve(void)
{
	struct pollfd p[2] = { { .fd = VMM_PROTO_FD, .events = POLLIN }, { .events = POLLIN } };
	bool deaf = strstr(board.cmdline, "deaf");
	char buf[4096];

	for (;;) {
		p[1].fd = deaf ? -1 : control;
		if (poll(p, 2, -1) < 0)
			exit(9);
		if (p[1].fd >= 0 && p[1].revents) {
			ssize_t n = read(control, buf, sizeof(buf));

			if (n >= 8 && buf[0] == GUEST_CONFIG) {
				frame(GUEST_READY, GUEST_F_PID, 7);
				if (strstr(board.cmdline, "exits"))
					frame(GUEST_EXITED, GUEST_F_CODE, 5);
			} else if (n >= 8 && buf[0] == GUEST_SHUTDOWN) {
				ended(VMM_END_POWEROFF, "");
				exit(0);
			}
		}
		if (!p[0].revents)
			continue;
		if (vmm_proto_recv(VMM_PROTO_FD, &msg) != 1)
			exit(8);
		if (msg.type == VMM_MSG_ACCEPT && msg.u.id.id == 1) {
			control = msg.fds[0];
			frame(GUEST_HELLO, GUEST_F_PROTO_VERSION, GUEST_PROTO_VERSION);
		} else if (msg.type == VMM_MSG_CONNECT) {
			handle_connect();
		} else if (msg.type == VMM_MSG_QUIT && !strstr(board.cmdline, "stubborn")) {
			ended(VMM_END_QUIT, "as told");
			exit(0);
		}
	}
}

/* Which descriptors and variables it was given; nothing else may be there. */
static void tell_surroundings(void)
{
	char text[256];
	size_t n = (size_t)snprintf(text, sizeof(text), "env %d fds", environ[0] ? 1 : 0);
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int fds[256] = { 0 };

	while (d && (e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(d) && fd < 256)
			fds[fd] = 1;
	}
	if (d)
		(void)closedir(d);
	for (int i = 0; i < 256; i++) {
		if (fds[i] && n < sizeof(text) - 8)
			n += (size_t)snprintf(text + n, sizeof(text) - n, " %d", i);
	}
	/* The board's own descriptors came by the message. */
	for (size_t i = 0; i < msg.nfds; i++)
		(void)close(msg.fds[i]);
	ended(VMM_END_QUIT, text);
}

static void flood(void)
{
	for (uint64_t id = 1;; id++) {
		struct pollfd p = { .fd = VMM_PROTO_FD, .events = POLLOUT };

		connect_guest(id, 2, 99);
		(void)poll(&p, 1, -1);
	}
}

int main(void)
{
	const struct vmm_msg_connected least = { .id = 1, .result = INT32_MIN };
	const char *order;
	char peek;

	/* It finds its board at once, or the test fails. */
	if (recv(VMM_PROTO_FD, &peek, 1, MSG_PEEK | MSG_DONTWAIT) < 1)
		return 7;
	if (vmm_proto_recv(VMM_PROTO_FD, &msg) != 1 || msg.type != VMM_MSG_BOOT)
		return 6;
	if (board_decode(msg.u.board, msg.len, (unsigned)msg.nfds, &board, NULL) < 0)
		return 5;
	order = board.cmdline;
	if (strstr(order, "surroundings")) {
		tell_surroundings();
		return 0;
	}
	say(VMM_MSG_RUNNING, NULL, 0);
	if (strstr(order, "serve")) {
		connect_guest(1, 2, GUEST_PORT_CONTROL);
		connect_guest(2, 2, GUEST_PORT_CONTROL); /* refused */
		connect_guest(3, 3, GUEST_PORT_LOG);     /* not its host */
		serve();
	}
	if (strstr(order, "crash"))
		abort();
	if (strstr(order, "last-words")) {
		wait_readable(); /* and never reads it */
		ended(VMM_END_POWEROFF, "good night");
		return 0;
	}
	if (strstr(order, "escape")) {
		ended(VMM_END_ERROR, "\033[2J\xff text");
		return 1;
	}
	if (strstr(order, "garbage"))
		(void)!send(VMM_PROTO_FD, "xyz", 3, MSG_NOSIGNAL);
	if (strstr(order, "twice"))
		say(VMM_MSG_RUNNING, NULL, 0);
	if (strstr(order, "least"))
		say(VMM_MSG_CONNECTED, &least, sizeof(least));
	if (strstr(order, "flood"))
		flood();
	if (strstr(order, "stays"))
		ended(VMM_END_POWEROFF, "");
	if (strstr(order, "mute"))
		(void)close(VMM_PROTO_FD);
	for (;;)
		(void)pause();
}
