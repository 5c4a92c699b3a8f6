#include "sup_fixture.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/clock.h>
#include <base/io.h>

#include "tree.h"

#define PATIENCE_NS (30 * CLOCK_NS_PER_S)

struct loop *fx_loop;
int fx_dir = -1;
char fx_path[64];
struct kerr fx_err;
static int fds_before;

void fx_setup(void)
{
	fds_before = fx_open_fds();
	fx_err = (struct kerr){ 0 };
	(void)snprintf(fx_path, sizeof(fx_path), "/tmp/kosvm-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fx_path));
	fx_dir = open(fx_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fx_dir, 0);
	ck_assert_int_eq(loop_new(&fx_loop, &fx_err), 0);
}

void fx_teardown(void)
{
	loop_free(fx_loop);
	(void)close(fx_dir);
	ck_assert_int_eq(tree_remove(AT_FDCWD, fx_path, &fx_err), 0);
	ck_assert_int_eq(fx_open_fds(), fds_before);
}

void fx_until(const bool *flag)
{
	uint64_t end = clock_mono_ns() + PATIENCE_NS;

	while (!*flag) {
		ck_assert_msg(clock_mono_ns() < end, "it never happened");
		ck_assert_int_eq(loop_step(fx_loop, 200, &fx_err), 0);
	}
}

void fx_run_ms(int ms)
{
	uint64_t end = clock_mono_ns() + (uint64_t)ms * CLOCK_NS_PER_MS;

	while (clock_mono_ns() < end)
		ck_assert_int_eq(loop_step(fx_loop, 10, &fx_err), 0);
}

int fx_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

void fx_unkillable(int pidfd)
{
	pid_t pid = fork();
	int fd;

	if (pid == 0)
		_exit(0);
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(dup3(fd, pidfd, O_CLOEXEC), pidfd);
	(void)close(fd);
}

char *fx_read(const char *name)
{
	int fd = openat(fx_dir, name, O_RDONLY | O_CLOEXEC);
	char *text;
	size_t len;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io_read_all(fd, 1 << 24, name, &text, &len, &fx_err), 0);
	(void)close(fd);
	return text;
}

void fx_board(struct board *b, const char *cmdline)
{
	*b = (struct board){
		.memory = 64 << 20,
		.vcpus = 1,
		.kvm_fd = 0,
		.serial_fd = 1,
		.serial_limit = 1 << 20,
		.kernel_fd = 2,
		.kernel_size = 1,
		.initrd_fd = 3,
		.initrd_size = 1,
		.listen_fd = BOARD_NO_FD,
		.end_fd = BOARD_NO_FD,
	};
	(void)snprintf(b->cmdline, sizeof(b->cmdline), "%s", cmdline);
}
