/*
 * jail-start RUNS PROGRAM: the time from before the VMM's process is cloned until
 * PROGRAM (tests/support/attacker, which is static as kosvm-vmm is) was executed, has put
 * the lock on itself if it is asked to, and says so by ending. Three kinds in
 * turn: jail_spawn without any protection (clone and exec), with all of them,
 * and with the lock behind exec as well. Prints "result KIND MICROSECONDS".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <jail/spawn.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

#include "attacker.h"

static const struct {
	const char *name;
	uint32_t protections, confine;
} kinds[] = {
	{ "plain", 0, 0 },
	{ "jail", JAIL_ALL, 0 },
	{ "jail-lock", JAIL_ALL, BOARD_CONFINE_ALL },
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double once(const char *path, uint32_t protections, uint32_t confine)
{
	struct attack order = { .deed = "read the environment", .confine = confine };
	_cleanup_close_ int program = open(path, O_RDONLY | O_CLOEXEC);
	struct jail_config cfg = { .protections = protections,
		.uid = 1879048192,
		.file_size = 1 << 30,
		.name = "kosvm-vmm",
		.program_fd = program,
		.stderr_fd = 2 };
	struct kerr e = { 0 };
	int pidfd;
	int status;
	int sv[2];
	uint64_t start;
	uint64_t end;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		fail("socketpair");
	cfg.socket_fd = sv[1];
	if (send(sv[0], &order, sizeof(order), 0) != sizeof(order))
		fail("send");
	start = clock_mono_ns();
	if (jail_spawn(&cfg, &pid, &pidfd, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		exit(1);
	}
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid");
	end = clock_mono_ns();
	/* Its environment is empty: that is what this deed says. */
	if (!WIFEXITED(status) || WEXITSTATUS(status) != ENOENT) {
		(void)fprintf(stderr, "%s: status 0x%x\n", path, status);
		exit(1);
	}
	(void)close(pidfd);
	(void)close(sv[0]);
	(void)close(sv[1]);
	return (double)(end - start) / 1000;
}

int main(int argc, char **argv)
{
	long runs = argc == 3 ? strtol(argv[1], NULL, 10) : 0;

	if (runs < 1) {
		(void)fputs("usage: jail-start RUNS PROGRAM\n", stderr);
		return 2;
	}
	/* Once before: the files are in memory then. */
	for (long i = -1; i < runs; i++) {
		for (size_t k = 0; k < array_size(kinds); k++) {
			double us = once(argv[2], kinds[k].protections, kinds[k].confine);

			if (i >= 0)
				(void)printf("result %s %.1f\n", kinds[k].name, us);
		}
	}
	return 0;
}
