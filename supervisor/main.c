#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/log.h>
#include <base/units.h>

#include "agent.h"
#include "ceiling.h"
#include "ending.h"
#include "panic.h"
#include "sup.h"

/* Set by --sandbox. */
static const char *sandbox_file;

/* Set by --ready-fd: one byte is written when the socket is there. */
static int ready_fd = -1;

static const char usage[] =
	"usage: kosvmd [--ready-fd N] [--sandbox FILE]\n"
	"\n"
	"The supervisor of kosvm: verifies, starts and watches agents. It stays in the\n"
	"foreground; `kosvm` starts it by itself when it is not there. See kosvmd(8).\n"
	"\n"
	"  --ready-fd N   write one byte to descriptor N when requests are served\n"
	"  --sandbox FILE the host's ceilings; default: KOSVM_SANDBOX, else " SANDBOX_FILE "\n"
	"                 if it is there\n"
	"  --version      print the version\n"
	"  --help         print this text\n"
	"\n"
	"environment: KOSVM_RUN (socket), KOSVM_STATE (everything kept),\n"
	"             KOSVM_SANDBOX (the host's ceilings),\n"
	"             KOSVM_LOG (error, warn, info, debug),\n"
	"             NOTIFY_SOCKET, WATCHDOG_USEC (as systemd sets them)\n";

/* Makes the directory and its parents; 0700 for what is new. */
static int make_dirs(const char *path, struct kerr *e)
{
	char buf[300];

	(void)snprintf(buf, sizeof(buf), "%s", path);
	for (char *p = buf + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(buf, 0700) < 0 && errno != EEXIST)
			return kerr_errno(e, errno, "%s: mkdir", buf);
		*p = c;
		if (c == '\0')
			return 0;
	}
}

static int open_sub(int dirfd, const char *name, int *ret, struct kerr *e)
{
	if (mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
		return kerr_errno(e, errno, "%s: mkdir", name);
	*ret = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret < 0 ? kerr_errno(e, errno, "%s: open", name) : 0;
}

/* One kosvmd a state directory and a run directory: the locks live as long as the process. */
static int lock_dir(const char *dir, struct kerr *e)
{
	char path[320];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/kosvmd.lock", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return kerr_errno(e, errno, "%s: open", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int code = errno;

		(void)close(fd);
		return code == EWOULDBLOCK ? kerr_set(e, EBUSY, "%s: " API_RUNS_ALREADY, path)
					   : kerr_errno(e, code, "%s: lock", path);
	}
	return 0;
}

static int open_state(struct sup *s, struct kerr *e)
{
	_cleanup_close_ int dirfd = -1;
	char path[320];
	int r = make_dirs(s->paths.state_dir, e);

	if (r == 0)
		r = make_dirs(s->paths.run_dir, e);
	if (r == 0)
		r = lock_dir(s->paths.state_dir, e);
	if (r == 0)
		r = lock_dir(s->paths.run_dir, e);
	if (r < 0)
		return r;
	dirfd = open(s->paths.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return kerr_errno(e, errno, "%s: open", s->paths.state_dir);
	r = open_sub(dirfd, "images", &s->images_fd, e);
	if (r == 0)
		r = open_sub(dirfd, "keys", &s->keys_fd, e);
	if (r == 0)
		r = open_sub(dirfd, "agents", &s->agents_fd, e);
	if (r < 0)
		return r;
	leftovers_sweep(&s->leftovers, s->loop, s->images_fd);
	(void)snprintf(path, sizeof(path), "%s/kosvmd.db", s->paths.state_dir);
	return db_open(&s->db, path, e);
}

/* Programs of ours: beside this one, or in ../libexec/kosvm of the same tree. */
static int find_program(const char *name, char *ret, size_t len, struct kerr *e)
{
	static const char *const places[] = { "/../libexec/kosvm/", "/" };
	char self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return kerr_errno(e, errno, "/proc/self/exe");
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < array_size(places); i++) {
		(void)snprintf(ret, len, "%s%s%s", self, places[i], name);
		if (access(ret, X_OK) == 0)
			return 0;
	}
	return kerr_set(e, ENOENT, "%s: not found in %s/../libexec/kosvm: install kosvm completely",
		name, self);
}

static int serve(struct sup *s, struct kerr *e)
{
	struct ending en;
	int r = ending_init(&en, s, e);

	if (r < 0)
		return r;
	r = panic_load(s, e);
	if (r == 0)
		r = agents_load(s, e);
	if (r == 0)
		r = api_listen(s, e);
	if (r == 0) {
		log_info("serving on %s, state in %s", s->paths.socket, s->paths.state_dir);
		if (ready_fd >= 0) {
			(void)!write(ready_fd, "1", 1);
			close_fd(&ready_fd);
		}
		r = notify_ready(&s->notify, s->loop, e);
	}
	if (r == 0)
		r = loop_run(s->loop, e);
	api_done(s);
	ending_done(&en);
	panic_done(s);
	return r;
}

/* An agent takes up to ten descriptors; the usual soft limit of 1024 is for select(2). */
static void raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static int run(struct kerr *e)
{
	struct sup s = { .images_fd = -1,
		.keys_fd = -1,
		.agents_fd = -1,
		.leftovers = LEFTOVERS_INIT,
		.started_ns = clock_real_ns(),
		.notify = NOTIFY_INIT };
	int r;

	LIST_INIT(&s.agents);
	LIST_INIT(&s.panics);
	r = minisign_init(e);
	if (r == 0)
		r = notify_init(&s.notify, e);
	if (r == 0)
		r = api_paths_get(&s.paths, e);
	if (r == 0)
		r = ceiling_load(&s.sandbox, sandbox_file, e);
	if (r == 0)
		isolation_probe(&s.isolation, &s.sandbox);
	if (r == 0)
		r = find_program("kosvm-vmm", s.vmm_program, sizeof(s.vmm_program), e);
	if (r == 0)
		r = find_program("kosvm-init", s.init_program, sizeof(s.init_program), e);
	if (r == 0)
		r = loop_new(&s.loop, e);
	if (r == 0)
		r = open_state(&s, e);
	if (r == 0) {
		quotas_open(&s.quotas, s.agents_fd);
		r = serve(&s, e);
		quotas_close(&s.quotas);
	}
	leftovers_done(&s.leftovers);
	notify_done(&s.notify);
	db_close(s.db);
	loop_free(s.loop);
	close_fd(&s.images_fd);
	close_fd(&s.keys_fd);
	close_fd(&s.agents_fd);
	return r;
}

/* Whoever started us with one of these closed would find a database in its place. */
static int fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR); /* without O_CLOEXEC, as the others are */
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	(void)close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ready-fd", required_argument, NULL, 'r' },
		{ "sandbox", required_argument, NULL, 's' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct kerr err = { 0 };
	uint64_t n;
	int c;

	if (fill_stdio() < 0)
		return 1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			if (units_parse_u64(optarg, 1023, &n) < 0) {
				(void)fprintf(stderr, "kosvmd: --ready-fd %s: expected a number\n",
					optarg);
				return 2;
			}
			ready_fd = (int)n;
			(void)fcntl(ready_fd, F_SETFD, FD_CLOEXEC);
			break;
		case 's':
			sandbox_file = optarg;
			break;
		case 'v':
			(void)puts("kosvmd " KOSVM_VERSION);
			return 0;
		case 'h':
			(void)fputs(usage, stdout);
			return 0;
		default:
			(void)fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "kosvmd: unexpected argument %s\n", argv[optind]);
		return 2;
	}
	log_init("kosvmd", log_level_from_env(LOG_LEVEL_INFO));
	(void)umask(0077);
	(void)signal(SIGPIPE, SIG_IGN);
	raise_nofile();
	if (run(&err) < 0) {
		/* The one who started it learns why from the pipe, a person from stderr. */
		if (ready_fd >= 0)
			(void)io_write_full(ready_fd, err.msg, strlen(err.msg));
		log_error("%s", err.msg);
		return 1;
	}
	return 0;
}
