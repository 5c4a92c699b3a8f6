#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <sodium.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "files.h"

#define PASSWORD_MAX 1024

static volatile sig_atomic_t caught;

static void on_signal(int signo)
{
	caught = signo;
}

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };

/* Signals end a read, so that the terminal gets its echo back before they are obeyed. */
static void signals_hold(struct sigaction old[static array_size(ending)])
{
	struct sigaction sa = { .sa_handler = on_signal };

	caught = 0;
	for (size_t i = 0; i < array_size(ending); i++)
		(void)sigaction(ending[i], &sa, &old[i]);
}

static void signals_release(const struct sigaction old[static array_size(ending)])
{
	for (size_t i = 0; i < array_size(ending); i++)
		(void)sigaction(ending[i], &old[i], NULL);
	if (caught)
		(void)raise(caught);
}

static int read_word(int fd, char *buf, size_t len)
{
	size_t n = 0;
	char c;

	for (;;) {
		ssize_t got = read(fd, &c, 1);

		if (got < 0 && errno == EINTR && !caught)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0 || c == '\n')
			break;
		if (n + 1 >= len)
			return -E2BIG;
		buf[n++] = c;
	}
	buf[n] = '\0';
	return 0;
}

/* One word from fd; no echo when it is a terminal. */
static int ask_once(int fd, const char *prompt, char *buf, size_t len, struct kerr *e)
{
	struct sigaction signals[array_size(ending)];
	struct termios old;
	bool terminal = tcgetattr(fd, &old) == 0;
	int r;

	if (terminal) {
		struct termios quiet = old;

		signals_hold(signals);
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)fprintf(stderr, "%s", prompt);
		(void)tcsetattr(fd, TCSAFLUSH, &quiet);
	}
	r = read_word(fd, buf, len);
	if (terminal) {
		(void)tcsetattr(fd, TCSAFLUSH, &old);
		(void)fputc('\n', stderr);
		signals_release(signals);
	}
	return r < 0 ? kerr_errno(e, -r, "password") : 0;
}

int secret_ask(const char *prompt, bool confirm, char *buf, size_t len, struct kerr *e)
{
	_cleanup_close_ int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	int fd = !isatty(STDIN_FILENO) || tty < 0 ? STDIN_FILENO : tty;
	char again[PASSWORD_MAX];
	int r = ask_once(fd, prompt, buf, len, e);

	if (r < 0 || !confirm || !isatty(fd))
		return r;
	r = ask_once(fd, "The same once more: ", again, sizeof(again), e);
	if (r == 0 && strcmp(buf, again) != 0)
		r = kerr_set(e, EINVAL, "the two passwords differ");
	sodium_memzero(again, sizeof(again));
	return r;
}

int secret_key_load(const char *file, struct minisign_sec *ret, struct kerr *e)
{
	_cleanup_close_ int fd = cli_open(file, O_RDONLY, e);
	char password[PASSWORD_MAX];
	bool encrypted = false;
	char *text = NULL;
	size_t len = 0;
	int r;

	if (fd < 0)
		return fd;
	r = io_read_all(fd, MINISIGN_FILE_MAX, file, &text, &len, e);
	if (r < 0)
		return r;
	r = minisign_sec_decode(file, text, len, NULL, ret, &encrypted, e);
	if (r == -EACCES && encrypted) {
		r = secret_ask("Password of the key: ", false, password, sizeof(password), e);
		if (r == 0)
			r = minisign_sec_decode(file, text, len, password, ret, &encrypted, e);
		sodium_memzero(password, sizeof(password));
	}
	sodium_memzero(text, len);
	free(text);
	return r;
}
