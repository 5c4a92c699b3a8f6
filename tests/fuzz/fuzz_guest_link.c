/*
 * A hostile guest: any bytes into its control and its log stream, in pieces
 * of any size. The first byte of a piece says how long it is and where it
 * goes. Events come in the one order there is, and the log keeps its bound.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "guest_link.h"
#include "tree.h"

#define LOG_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool is_ready, is_exited, is_faulty, is_linked;
static unsigned pings;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void on_ready(void *user)
{
	(void)user;
	must(!is_ready && !is_faulty);
	is_ready = true;
}

static void on_exited(void *user, int code, int signal)
{
	(void)user;
	must(is_ready && !is_exited);
	must(code >= -1 && code <= 255 && signal >= 0 && signal <= 64);
	is_exited = true;
}

static void on_fault(void *user, const char *text)
{
	(void)user;
	must(!is_faulty);
	is_faulty = true;
	for (; *text; text++)
		must(*text >= 0x20 && *text <= 0x7e);
}

static void on_beat(void *user)
{
	(void)user;
	must(is_linked && pings > 0);
	pings--;
}

static void on_linked(void *user, bool up)
{
	(void)user;
	must(up != is_linked);
	is_linked = up;
}

static off_t size_of(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0) < 0 ? 0 : st.st_size;
}

static char path[] = "/tmp/kosvm-fuzz.XXXXXX";

static void remove_dir(void)
{
	(void)tree_remove(AT_FDCWD, path, NULL);
}

static int open_dir(void)
{
	static int dir = -1;

	if (dir < 0) {
		must(mkdtemp(path));
		(void)atexit(remove_dir);
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return dir;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct guest_link_ops ops = {
		.ready = on_ready,
		.exited = on_exited,
		.fault = on_fault,
		.beat = on_beat,
		.linked = on_linked,
	};
	char *words[] = { (char *)"/bin/agent", NULL };
	struct manifest m = {
		.name = "a", .user = "1:1", .workdir = "/", .argv = words, .env = words + 1
	};
	struct guest_link_config cfg = { .manifest = &m, .ops = &ops };
	struct guest_link *g = NULL;
	struct loop *loop = NULL;
	int dir = open_dir();
	int fds[2];

	is_ready = is_exited = is_faulty = is_linked = false;
	pings = 0;
	must(loop_new(&loop, NULL) == 0);
	must(agent_log_open(&cfg.log, dir, LOG_MAX, NULL) == 0);
	must(guest_link_new(&g, loop, &cfg, NULL) == 0);
	must(guest_link_accept(g, GUEST_PORT_CONTROL, 1, &fds[0]) == 0);
	must(guest_link_accept(g, GUEST_PORT_LOG, 1, &fds[1]) == 0);
	while (len > 0) {
		size_t n = (size_t)(*data & 0x7f) * 8 + 1;
		int fd = fds[*data >> 7];

		data++;
		len--;
		if (n > len)
			n = len;
		(void)!send(fd, data, n, MSG_NOSIGNAL);
		data += n;
		len -= n;
		pings += guest_link_ping(g) == 0;
		must(loop_step(loop, 0, NULL) == 0);
		must(guest_link_is_up(g) == is_linked);
	}
	(void)guest_link_shutdown(g, CLOCK_NS_PER_S);
	guest_link_drain(g);
	guest_link_free(g);
	agent_log_close(cfg.log);
	must(size_of(dir, "agent.log") + size_of(dir, "agent.log.1") <= LOG_MAX);
	loop_free(loop);
	(void)close(fds[0]);
	(void)close(fds[1]);
	must(tree_remove(dir, "agent.log", NULL) == 0);
	must(tree_remove(dir, "agent.log.1", NULL) == 0);
	return 0;
}
