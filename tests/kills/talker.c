/*
 * The agent that tests/kills runs in real guests. It follows the words behind
 * its name, as tests/support/stand_in_agent.c does:
 *   run             nothing, until it is told to end
 *   chatter MS      a numbered line each MS milliseconds, some to standard error
 *   burst N         N numbered lines at once
 *   exit CODE MS    ends by itself MS after its start
 *   signal N MS     the same by a signal
 *   stubborn        does not end by SIGTERM
 * A line is "TAG out N …" or "TAG err N …": TAG is this life's, N counts from 1
 * without a gap. The last line of standard output is "TAG end N". /tmp/said has
 * "TAG N N": the lines that were written to each.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <base/clock.h>

static uint32_t tag;
static unsigned lines[2];
static int said = -1;

/* One write a line; a pipe that is full holds it up. */
static void put(bool err, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(err ? STDERR_FILENO : STDOUT_FILENO, text, len);

		if (n < 0)
			_exit(1);
		text += n;
		len -= (size_t)n;
	}
}

/* A few of each ten are long. */
static void write_line(const char *word)
{
	unsigned total = lines[0] + lines[1];
	bool err = !*word && total % 7 == 6;
	char text[160];
	int n;

	if (!*word)
		word = err ? "err" : "out";
	lines[err]++;
	n = snprintf(text, sizeof(text), "%08x %s %u %.*s\n", tag, word, lines[err],
		(int)(total % 64),
		"----------------------------------------------------------------");
	put(err, text, (size_t)n);
	n = snprintf(text, sizeof(text), "%08x %10u %10u\n", tag, lines[0], lines[1]);
	if (pwrite(said, text, (size_t)n, 0) != n)
		_exit(1);
}

static _Noreturn void end(int code, int signo)
{
	write_line("end");
	if (signo) {
		sigset_t all;

		(void)sigfillset(&all);
		(void)sigprocmask(SIG_UNBLOCK, &all, NULL);
		(void)raise(signo);
	}
	_exit(code);
}

/* True: SIGTERM came. */
static bool rest(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / CLOCK_NS_PER_S), (long)(ns % CLOCK_NS_PER_S) };
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	return sigtimedwait(&set, NULL, &t) == SIGTERM;
}

static unsigned long number(char **argv, int *i)
{
	return argv[*i + 1] ? strtoul(argv[++*i], NULL, 10) : 0;
}

int main(int argc, char **argv)
{
	uint64_t begun = clock_mono_ns(), pace = 0, end_at = UINT64_MAX, next = begun;
	int code = 0, signo = 0;
	bool stubborn = false;
	struct timespec now;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	tag = (uint32_t)now.tv_nsec ^ ((uint32_t)now.tv_sec << 12);
	said = open("/tmp/said", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "chatter") == 0) {
			pace = number(argv, &i) * CLOCK_NS_PER_MS;
		} else if (strcmp(argv[i], "burst") == 0) {
			for (unsigned long n = number(argv, &i); n > 0; n--)
				write_line("");
		} else if (strcmp(argv[i], "exit") == 0 || strcmp(argv[i], "signal") == 0) {
			int *how = argv[i][0] == 'e' ? &code : &signo;

			*how = (int)number(argv, &i);
			end_at = begun + number(argv, &i) * CLOCK_NS_PER_MS;
		} else if (strcmp(argv[i], "stubborn") == 0) {
			stubborn = true;
		}
	}
	for (;;) {
		uint64_t t = clock_mono_ns(), due = end_at;

		if (t >= end_at)
			end(code, signo);
		if (pace && t >= next) {
			write_line("");
			next += pace;
		}
		due = pace && next < due ? next : due;
		if (due == UINT64_MAX)
			due = t + 3600 * CLOCK_NS_PER_S;
		if (rest(due > t ? due - t : 0) && !stubborn)
			end(0, SIGTERM);
	}
}
