/*
 * kosvm-vmm: one virtual machine. It gets a board and open descriptors
 * over the socket it inherits as descriptor 3 and opens nothing itself.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <base/log.h>
#include <jail/lock.h>

#include "control.h"

static const char usage[] =
	"usage: kosvm-vmm [--version | --help]\n"
	"\n"
	"Runs one virtual machine. Started by kosvmd, which hands over the machine's\n"
	"description and its files on a socket inherited as descriptor 3.\n";

static void say(const char *text)
{
	(void)!write(STDOUT_FILENO, text, strlen(text));
}

/* Every byte here is paid once per agent: one heap, given back early. */
static void keep_heap_small(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 10);
	(void)mallopt(M_TOP_PAD, 0);
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 10);
}

/* Builds the machine and serves it until it ends. 0, or -errno before it ran. */
static int run_machine(struct control *c, const struct board *b, int *fds, size_t nfds,
	struct loop *loop, struct kerr *e)
{
	struct machine *m = NULL;
	int r = machine_new(&m, loop, b, fds, nfds, &control_machine_ops, c, e);

	if (r == 0)
		r = control_attach(c, loop, m, e);
	if (r == 0)
		r = machine_start(m, e);
	if (r == 0)
		r = control_say_running(c, e);
	/* All is made: what the loop does from here on needs less. */
	(void)prctl(PR_SET_NAME, "kosvm-vmm");
	if (r == 0)
		r = jail_lock_thread(b->confine, JAIL_THREAD_LOOP, e);
	if (r == 0)
		r = loop_run(loop, e);
	machine_free(m);
	return r;
}

static int serve(struct control *c, struct kerr *e)
{
	static struct board board;
	int fds[FDPASS_MAX_FDS];
	size_t nfds = 0;
	struct loop *loop = NULL;
	int r = loop_new(&loop, e);

	if (r == 0)
		r = control_receive_boot(c, &board, fds, &nfds, e);
	if (r == 0)
		control_take_files(c, &board, fds);
	/* Until its loop runs; the threads take names of their own. */
	(void)prctl(PR_SET_NAME, "kosvm-vmm-setup");
	/* All it needs is open, and it is one thread: what comes next reads the guest's files. */
	if (r == 0)
		r = jail_lock_process(board.confine, e);
	if (r == 0)
		r = run_machine(c, &board, fds, nfds, loop, e);
	if (r < 0)
		control_set_ended(c, VMM_END_ERROR, -r, e->msg);
	control_say_ended(c);
	control_done(c);
	loop_free(loop);
	return c->ended.reason == VMM_END_ERROR ? -EIO : 0;
}

int main(int argc, char **argv)
{
	static struct control control;
	struct kerr e = { 0 };

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		say("kosvm-vmm " KOSVM_VERSION "\n");
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		say(usage);
		return 0;
	}
	/* A pipe whose reader has gone, under a stream or the console, is no reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
	log_init("kosvm-vmm", log_level_from_env(LOG_LEVEL_WARN));
	if (argc != 1) {
		log_error("unknown argument %s: see kosvm-vmm --help", argv[1]);
		return 2;
	}
	keep_heap_small();
	if (control_init(&control, VMM_PROTO_FD, &e) < 0) {
		log_error("%s", e.msg);
		return 2;
	}
	if (serve(&control, &e) < 0) {
		log_error("%s", control.ended.text);
		return 1;
	}
	return 0;
}
