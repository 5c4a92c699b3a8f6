/*
 * Stands in for kosvm-vmm in the tests of kosvmd: speaks vmm_proto on
 * descriptor 3, or with whoever attaches to its listener, and misbehaves as
 * the board's command line says.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
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
static int control = -1;     /* stream to the guest's control port of kosvmd */
static uint64_t dialled = 1; /* id of the GUEST_CONNECT for it */
static uint32_t phase;       /* as HELLO tells it */
static int sock = VMM_PROTO_FD;
static int listener = -1, end_file = -1;
static uint32_t flags;
static bool again; /* taken over by a later kosvmd */

static bool told(const char *order)
{
	return strstr(board.cmdline, order) != NULL;
}

static void say(enum vmm_msg_type type, const void *p, size_t len)
{
	/* What a test of bad behaviour cannot deliver it need not. */
	(void)!vmm_proto_send(sock, type, p, len, NULL, 0);
}

static void wait_readable(void)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };

	(void)poll(&p, 1, -1);
}

static void ended(enum vmm_end reason, const char *text)
{
	struct vmm_msg_ended m = { .reason = reason };

	(void)snprintf(m.text, sizeof(m.text), "%s", text);
	if (end_file >= 0)
		(void)!pwrite(end_file, &m, sizeof(m), 0);
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

/* A guest of phase 2 tells its agent's end with it. */
static void hello(void)
{
	uint8_t buf[64];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_HELLO);
	guest_put_u32(&w, GUEST_F_PROTO_VERSION, GUEST_PROTO_VERSION);
	guest_put_u32(&w, GUEST_F_PHASE, phase);
	if (phase == GUEST_PHASE_ENDED)
		guest_put_u32(&w, GUEST_F_CODE, 5);
	else if (phase == GUEST_PHASE_RUNS)
		guest_put_u32(&w, GUEST_F_PID, 7);
	(void)!write(control, buf, (size_t)guest_writer_end(&w));
}

static void handle_connect(void)
{
	struct vmm_msg_connected m = { .id = msg.u.connect.id };

	(void)!send(msg.fds[0], "hi", 2, MSG_NOSIGNAL);
	(void)close(msg.fds[0]);
	say(VMM_MSG_CONNECTED, &m, sizeof(m));
}

static void handle_request(void)
{
	struct vmm_reply m = { .id = msg.u.id.id, .stats = { .vcpu_ns = 1000 + msg.u.id.id } };

	if (told("mum"))
		return;
	if (told("liar"))
		m.id++;
	if (told("unable"))
		m.result = -5;
	else if (msg.type == VMM_MSG_PAUSE)
		flags |= VMM_F_PAUSED;
	else if (msg.type == VMM_MSG_RESUME)
		flags &= ~(uint32_t)VMM_F_PAUSED;
	m.flags = flags;
	say(VMM_MSG_REPLY, &m, sizeof(m));
}

/* More questions than the socket holds answers: what comes behind them gets none. */
static void fill_socket(void)
{
	for (uint64_t id = 5000; id < 9000; id++) {
		struct pollfd p = { .fd = sock, .events = POLLOUT };

		(void)poll(&p, 1, -1);
		connect_guest(id, 2, 99);
	}
}

/* The guest's side of a take-over; "then-silent" does not dial. */
static void dial_again(void)
{
	if (told("then-wants"))
		phase = GUEST_PHASE_WANTS_CONFIG;
	if (told("then-runs"))
		phase = GUEST_PHASE_RUNS;
	if (told("exits-alone") || told("then-ended"))
		phase = GUEST_PHASE_ENDED;
	if (told("then-clogged"))
		fill_socket();
	if (told("serve") && !told("then-silent"))
		connect_guest(dialled = 1000, 2, GUEST_PORT_CONTROL);
	if (told("then-closes")) {
		(void)close(sock);
		for (;;)
			(void)pause();
	}
}

/* What an earlier kosvmd left is taken over by the next one that knows the boot id. */
static void wait_for_master(void)
{
	static int slammed;

	(void)close(sock);
	for (;;) {
		struct vmm_msg_attached m = { .flags = flags };
		bool good;

		sock = accept(listener, NULL, NULL);
		if (sock < 0) {
			struct pollfd p = { .fd = listener, .events = POLLIN };

			(void)poll(&p, 1, -1);
			continue;
		}
		good = vmm_proto_recv(sock, &msg) == 1 && msg.type == VMM_MSG_ATTACH &&
			memcmp(msg.u.attach.boot_id, board.boot_id, BOARD_BOOT_ID_LEN) == 0;
		if (told("never-attaches"))
			(void)pause();
		if (told("garbage-attach"))
			say(VMM_MSG_RUNNING, NULL, 0);
		if (!good || told("slams") || (told("hesitates") && slammed++ < 2)) {
			(void)close(sock);
			continue;
		}
		say(VMM_MSG_ATTACHED, &m, sizeof(m));
		again = true;
		if (control >= 0 && told("then-")) {
			(void)close(control);
			control = -1;
		}
		dial_again();
		return;
	}
}

static void handle_message(void)
{
	int r = vmm_proto_recv(sock, &msg);

	if (r == 0 && listener >= 0) {
		wait_for_master();
		return;
	}
	if (r != 1)
		exit(8);
	if (msg.type == VMM_MSG_ACCEPT && msg.u.id.id == dialled) {
		control = msg.fds[0];
		if (again && told("then-drops"))
			(void)close(control);
		else
			hello();
	} else if (msg.type == VMM_MSG_CONNECT) {
		handle_connect();
	} else if (msg.type >= VMM_MSG_PAUSE && msg.type <= VMM_MSG_LIMITS) {
		handle_request();
	} else if (msg.type == VMM_MSG_QUIT && !told("stubborn")) {
		ended(VMM_END_QUIT, "as told");
		exit(0);
	}
}

static void on_frame(uint8_t *f, size_t len)
{
	switch (f[0]) {
	case GUEST_CONFIG:
		phase = GUEST_PHASE_RUNS;
		frame(GUEST_READY, GUEST_F_PID, 7);
		if (told("exits") && !told("exits-alone"))
			frame(GUEST_EXITED, GUEST_F_CODE, 5);
		return;
	case GUEST_PING:
		f[0] = GUEST_PONG;
		if (!told("hangs"))
			(void)!write(control, f, len);
		return;
	case GUEST_SHUTDOWN:
		ended(VMM_END_POWEROFF, "");
		exit(0);
	default:
		return;
	}
}

/* Small frames: each comes whole. */
static void read_control(void)
{
	uint8_t buf[16384];
	ssize_t n = read(control, buf, sizeof(buf));
	uint32_t len;

	if (n <= 0) { /* kosvmd has gone */
		(void)close(control);
		control = -1;
		return;
	}
	for (uint8_t *p = buf; buf + n - p >= 8; p += 8 + len) {
		memcpy(&len, p + 4, sizeof(len));
		on_frame(p, 8 + len);
	}
}

/* A guest that works: control stream, HELLO, READY, and EXITED when told so. */
static void serve(void)
{
	for (;;) {
		bool deaf = told("deaf") || (told("slow") && !again) || told("then-drops");
		struct pollfd p[2] = { { .fd = sock, .events = POLLIN },
			{ .fd = deaf ? -1 : control, .events = POLLIN } };
		int n = poll(p, 2, again && told("then-") ? 200 : -1);

		if (n < 0)
			exit(9);
		/* As kosvm-init does until somebody answers. */
		if (n == 0 && told("then-clogged") && control < 0)
			connect_guest(++dialled, 2, GUEST_PORT_CONTROL);
		if (p[1].fd >= 0 && p[1].revents)
			read_control();
		if (p[0].revents)
			handle_message();
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
		struct pollfd p = { .fd = sock, .events = POLLOUT };

		connect_guest(id, 2, 99);
		(void)poll(&p, 1, -1);
	}
}

int main(void)
{
	const struct vmm_msg_connected least = { .id = 1, .result = INT32_MIN };
	const char *order;

	/* The socket blocks until kosvmd has written down who we are. */
	if (vmm_proto_recv(sock, &msg) != 1 || msg.type != VMM_MSG_BOOT)
		return 6;
	if (board_decode(msg.u.board, msg.len, (unsigned)msg.nfds, &board, NULL) < 0)
		return 5;
	order = board.cmdline;
	if (board.listen_fd != BOARD_NO_FD)
		listener = msg.fds[board.listen_fd];
	if (board.end_fd != BOARD_NO_FD)
		end_file = msg.fds[board.end_fd];
	if (strstr(order, "surroundings")) {
		tell_surroundings();
		return 0;
	}
	flags = VMM_F_RUNNING;
	say(VMM_MSG_RUNNING, NULL, 0);
	if (strstr(order, "serve")) {
		connect_guest(1, 2, GUEST_PORT_CONTROL);
		connect_guest(2, 2, GUEST_PORT_CONTROL); /* refused */
		connect_guest(3, 3, GUEST_PORT_LOG);     /* not its host */
		serve();
	}
	if (strstr(order, "crash"))
		abort();
	if (strstr(order, "denied"))
		(void)raise(SIGSYS);
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
		(void)!send(sock, "xyz", 3, MSG_NOSIGNAL);
	if (strstr(order, "twice"))
		say(VMM_MSG_RUNNING, NULL, 0);
	if (strstr(order, "least"))
		say(VMM_MSG_CONNECTED, &least, sizeof(least));
	if (strstr(order, "flood"))
		flood();
	if (strstr(order, "stays"))
		ended(VMM_END_POWEROFF, "");
	if (strstr(order, "mute"))
		(void)close(sock);
	for (;;)
		(void)pause();
}
