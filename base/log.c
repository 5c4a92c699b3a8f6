#include <base/log.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/clock.h>

static const char *log_name = "kosvm";
static enum log_level log_max = LOG_LEVEL_WARN;

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void log_init(const char *name, enum log_level max)
{
	log_name = name;
	log_max = max;
}

enum log_level log_level_from_env(enum log_level fallback)
{
	const char *v = getenv("KOSVM_LOG");

	for (int i = LOG_LEVEL_ERROR; v && i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(v, level_names[i]) == 0)
			return (enum log_level)i;
	}
	return fallback;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[768];
	va_list ap;
	int n;
	int m;

	if (level > log_max)
		return;
	n = snprintf(line, 64, "%.32s[%s]: ", log_name, level_names[level]);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n = (int)strlen(line);
	for (int i = 0; i < n; i++) {
		if ((unsigned char)line[i] < 0x20)
			line[i] = ' ';
	}
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)n);
}

bool log_limit_ok(struct log_limit *l)
{
	uint64_t now = clock_mono_ns();

	if (l->window_start_ns == 0 || now - l->window_start_ns > 10 * CLOCK_NS_PER_S) {
		l->window_start_ns = now;
		l->used = 0;
	}
	if (l->used >= l->burst)
		return false;
	l->used++;
	return true;
}
