#pragma once

#include <pthread.h>
#include <stdbool.h>

#include <base/kerr.h>
#include <wire/vmm_proto.h>

/*
 * How the machine ended, said once by whichever thread saw it first and
 * read by the loop's thread. Embedded in the machine.
 */
struct ending {
	pthread_mutex_t lock;
	int event; /* eventfd, readable from the first report on; owned */
	bool reported;
	enum vmm_end reason;
	char text[sizeof(((struct vmm_msg_ended *)0)->text)];
};

int ending_init(struct ending *end, struct kerr *e);
void ending_done(struct ending *end);

/* Any thread. The first report counts, later ones are dropped. */
void ending_report(struct ending *end, enum vmm_end reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Loop thread, after the event: the reason; the text stays as it is from then on. */
enum vmm_end ending_get(struct ending *end, const char **ret_text);
