#include "ending.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <base/cleanup.h>

int ending_init(struct ending *end, struct kerr *e)
{
	end->reported = false;
	end->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (end->event < 0)
		return kerr_errno(e, errno, "eventfd");
	(void)pthread_mutex_init(&end->lock, NULL);
	return 0;
}

void ending_done(struct ending *end)
{
	if (end->event < 0)
		return;
	close_fd(&end->event);
	(void)pthread_mutex_destroy(&end->lock);
}

void ending_report(struct ending *end, enum vmm_end reason, const char *fmt, ...)
{
	bool first;

	(void)pthread_mutex_lock(&end->lock);
	first = !end->reported;
	if (first) {
		va_list ap;

		end->reported = true;
		end->reason = reason;
		va_start(ap, fmt);
		(void)vsnprintf(end->text, sizeof(end->text), fmt, ap);
		va_end(ap);
	}
	(void)pthread_mutex_unlock(&end->lock);
	if (first)
		(void)eventfd_write(end->event, 1);
}

enum vmm_end ending_get(struct ending *end, const char **ret_text)
{
	enum vmm_end reason;

	(void)pthread_mutex_lock(&end->lock);
	reason = end->reason;
	*ret_text = end->text;
	(void)pthread_mutex_unlock(&end->lock);
	return reason;
}
