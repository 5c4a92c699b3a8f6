#include "term.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <wire/guest_proto.h>

static struct termios before;
static volatile sig_atomic_t is_raw;

/* Faults of our own: their handlers run once, then the signal does what it does. */
static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

bool term_there(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* Also from a signal handler: tcsetattr is allowed there. */
void term_restore(void)
{
	int saved = errno;

	if (is_raw) {
		is_raw = 0;
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	}
	errno = saved;
}

static void on_fault(int signo)
{
	term_restore();
	(void)raise(signo);
}

int term_raw(void)
{
	static bool prepared;
	struct termios raw;

	if (!is_raw && tcgetattr(STDIN_FILENO, &before) < 0)
		return -errno;
	if (!prepared) {
		struct sigaction sa = { .sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND };

		prepared = true;
		(void)atexit(term_restore);
		for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
			(void)sigaction(faults[i], &sa, NULL);
	}
	raw = before;
	cfmakeraw(&raw);
	is_raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0) {
		is_raw = 0;
		return -errno;
	}
	return 0;
}

void term_size(uint32_t *ret_rows, uint32_t *ret_cols)
{
	struct winsize w = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_row == 0 || w.ws_col == 0) {
		w.ws_row = 24;
		w.ws_col = 80;
	}
	*ret_rows = w.ws_row < GUEST_WINSIZE_MAX ? w.ws_row : GUEST_WINSIZE_MAX;
	*ret_cols = w.ws_col < GUEST_WINSIZE_MAX ? w.ws_col : GUEST_WINSIZE_MAX;
}
