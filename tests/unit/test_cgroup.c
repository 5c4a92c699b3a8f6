/* Cgroups as far as this machine has them; tests/integration/quotas.sh is where all controllers are
 * there. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <jail/cgroup.h>
#include <jail/spawn.h>

static struct cgroup_base base;
static struct kerr e;

/* Any cgroup2 at all, with or without controllers. */
static bool find(void)
{
	static const char *const places[] = { "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };

	base = (struct cgroup_base){ .fd = -1, .parent = -1 };
	(void)snprintf(base.name, sizeof(base.name), "kosvm-test-%d", (int)getpid());
	for (size_t i = 0; i < array_size(places) && base.fd < 0; i++) {
		_cleanup_close_ int top = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (top < 0 || faccessat(top, "cgroup.procs", F_OK, 0) < 0 ||
			mkdirat(top, base.name, 0755) < 0)
			continue;
		base.fd = openat(top, base.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		base.parent = dup(top);
	}
	return base.fd >= 0;
}

static void teardown(void)
{
	if (base.parent >= 0)
		(void)unlinkat(base.parent, base.name, AT_REMOVEDIR);
	close_fd(&base.fd);
	close_fd(&base.parent);
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static void names_of(void *user, const char *name)
{
	(void)strcat(user, name);
	(void)strcat(user, " ");
}

START_TEST(made_taken_watched_removed)
{
	struct cgroup_limits none = { 0 };
	bool there = true;
	char names[64] = "";
	int status;
	int fd = -1;
	int again = -1;
	pid_t pid;

	if (!find())
		return; /* no cgroup2, or not ours to make: nothing here to test */
	ck_assert_msg(cgroup_make(&base, "7", &none, &fd, &e) == 0, "%s", e.msg);
	pid = sleeper();
	ck_assert_int_eq(cgroup_has(fd, pid, &there), 0);
	ck_assert(!there);
	ck_assert_int_eq(cgroup_take(fd, pid), 0);
	ck_assert_int_eq(cgroup_has(fd, pid, &there), 0);
	ck_assert(there);
	ck_assert_int_eq(cgroup_has(fd, getpid(), &there), 0);
	ck_assert(!there);
	ck_assert_int_eq(cgroup_each(&base, names_of, names), 0);
	ck_assert_str_eq(names, "7 ");
	/* Made anew, whoever was in the old one is gone. */
	ck_assert_msg(cgroup_make(&base, "7", &none, &again, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_assert_int_eq(cgroup_has(fd, pid, &there), -ENODEV);
	ck_assert_int_eq(cgroup_take(fd, getpid()), -ENOENT);
	ck_assert_int_eq(cgroup_remove(&base, "7"), 0);
	ck_assert_int_eq(cgroup_remove(&base, "7"), 0); /* not there is fine */
	ck_assert_int_eq(cgroup_open(&base, "7", &fd), -ENOENT);
	/* All of it removed underneath. */
	ck_assert_int_eq(unlinkat(base.parent, base.name, AT_REMOVEDIR), 0);
	ck_assert_int_eq(cgroup_make(&base, "7", &none, &fd, &e), -ESTALE);
	(void)close(fd);
	(void)close(again);
}
END_TEST

START_TEST(born_in_it)
{
	_cleanup_close_ int program = open("/usr/bin/yes", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct cgroup_limits none = { 0 };
	bool there = false;
	int fd = -1;
	int pidfd = -1;
	pid_t pid;
	struct jail_config cfg = {
		.name = "yes", .program_fd = program, .socket_fd = null, .stderr_fd = null
	};

	if (!find())
		return;
	ck_assert_msg(cgroup_make(&base, "8", &none, &fd, &e) == 0, "%s", e.msg);
	cfg.cgroup_fd = fd;
	ck_assert_msg(jail_spawn(&cfg, &pid, &pidfd, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(cgroup_has(fd, pid, &there), 0);
	ck_assert(there);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(cgroup_remove(&base, "8"), 0);
	/* One that is gone is an error, and no child is left. */
	ck_assert_int_lt(jail_spawn(&cfg, &pid, &pidfd, &e), 0);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	(void)close(fd);
	(void)close(pidfd);
}
END_TEST

static const struct {
	const char *root, *own, *why;
} hopeless[] = {
	{ "/nowhere", "/", "/nowhere: No such file or directory" },
	{ "/proc/self", "/", "" }, /* nothing can be made there */
};

START_TEST(no_base)
{
	const struct cgroup_place place = { hopeless[_i].root, hopeless[_i].own };

	cgroup_base_open(&base, &place, "id", 0);
	ck_assert_int_eq(base.fd, -1);
	for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
		ck_assert(!base.has[c]);
		ck_assert_ptr_nonnull(strstr(base.why[c], hopeless[_i].why));
		ck_assert_int_gt(strlen(base.why[c]), 10);
	}
	cgroup_base_close(&base);
}
END_TEST

/* A directory like that of a hierarchy without controllers. */
START_TEST(no_controllers)
{
	char dir[] = "/tmp/kosvm-cgroup-XXXXXX";
	struct cgroup_place place = { mkdtemp(dir), "/" };
	struct stat st;
	char path[64];

	ck_assert_ptr_nonnull(place.root);
	if (geteuid() != 0)
		return;
	cgroup_base_open(&base, &place, "id", 0);
	ck_assert_int_eq(base.fd, -1);
	ck_assert_ptr_nonnull(strstr(base.why[CGROUP_CPU], "the controller cpu"));
	ck_assert_ptr_nonnull(strstr(base.why[CGROUP_CPU], "cgroup v1"));
	/* Nothing half-made stays. */
	(void)snprintf(path, sizeof(path), "%s/kosvm", dir);
	ck_assert_int_eq(stat(path, &st), -1);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cgroup");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, made_taken_watched_removed);
	tcase_add_test(t, born_in_it);
	tcase_add_loop_test(t, no_base, 0, (int)array_size(hopeless));
	tcase_add_test(t, no_controllers);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
