#include <base/kerr.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void one_line(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
	}
}

int kerr_set(struct kerr *e, int code, const char *fmt, ...)
{
	if (e) {
		va_list ap;

		e->code = code;
		va_start(ap, fmt);
		(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
		va_end(ap);
		one_line(e->msg);
	}
	return -code;
}

int kerr_errno(struct kerr *e, int code, const char *fmt, ...)
{
	if (e) {
		va_list ap;
		size_t n;

		e->code = code;
		va_start(ap, fmt);
		(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
		va_end(ap);
		n = strlen(e->msg);
		(void)snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", strerror(code));
		one_line(e->msg);
	}
	return -code;
}

int kerr_wrap(struct kerr *e, const char *fmt, ...)
{
	char tail[sizeof(e->msg)];
	va_list ap;
	size_t n;

	if (!e)
		return -EIO;
	memcpy(tail, e->msg, sizeof(tail));
	va_start(ap, fmt);
	(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	(void)snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", tail);
	one_line(e->msg);
	return -e->code;
}
