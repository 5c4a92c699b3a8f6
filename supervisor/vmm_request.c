/*
 * PAUSE, RESUME, STATS and LIMITS: a queue of requests, of which the first is with
 * the VMM and has a deadline.
 */
#include <errno.h>
#include <stdlib.h>

#include <base/cleanup.h>

#include "vmm_proc_impl.h"

/* Who only asks for figures leaves room: a VMM that cannot be told to pause or go on is killed. */
#define STATS_MOST    64
#define REQUESTS_MOST 128

static const char *const names[] = {
	[VMM_MSG_PAUSE] = "PAUSE",
	[VMM_MSG_RESUME] = "RESUME",
	[VMM_MSG_STATS] = "STATS",
	[VMM_MSG_LIMITS] = "LIMITS",
};

const char *vmm_request_waiting(const struct vmm_proc *p)
{
	const struct vmm_request *q = STAILQ_FIRST(&p->requests);

	return q ? names[q->type] : NULL;
}

/* The first one, or 0 when there is nothing to send. */
static int send_first(struct vmm_proc *p)
{
	struct vmm_request *q = STAILQ_FIRST(&p->requests);
	int r;

	if (!q || q->sent)
		return 0;
	/* The id is all there is of the others. */
	r = vmm_proto_send(p->sock, q->type, &q->msg,
		q->type == VMM_MSG_LIMITS ? sizeof(q->msg) : sizeof(struct vmm_msg_id), NULL, 0);
	q->sent = r == 0;
	return r;
}

void vmm_request_pump(struct vmm_proc *p)
{
	int r;

	if (!p->w.loop)
		return; /* it will not answer any more; the end of the process fails them all */
	r = send_first(p);
	/* A broken socket is the reader's to find. */
	(void)loop_fd_mod(&p->w, r == -EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int enqueue(struct vmm_proc *p, enum vmm_msg_type type, const struct vmm_msg_limits *msg,
	vmm_done_fn *done, void *user)
{
	struct vmm_request *q;

	if (!p->attached || !p->w.loop || p->linger.w.loop)
		return -ENOTCONN;
	if (p->request_count >= (type == VMM_MSG_STATS ? STATS_MOST : REQUESTS_MOST))
		return -EBUSY;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->type = type;
	q->msg = *msg;
	q->msg.id = p->next_request++;
	q->done = done;
	q->user = user;
	STAILQ_INSERT_TAIL(&p->requests, q, link);
	if (p->request_count++ == 0) {
		vmm_proc_wait_answer(p, true);
		vmm_request_pump(p);
	}
	return 0;
}

int vmm_proc_request(struct vmm_proc *p, enum vmm_msg_type type, vmm_done_fn *done, void *user)
{
	static const struct vmm_msg_limits none;

	if (type >= array_size(names) || !names[type] || type == VMM_MSG_LIMITS)
		return -EINVAL;
	return enqueue(p, type, &none, done, user);
}

int vmm_proc_limits(struct vmm_proc *p, const struct rate_limit *disk,
	const struct rate_limit *vsock, vmm_done_fn *done, void *user)
{
	const struct vmm_msg_limits msg = { .disk = *disk, .vsock = *vsock };

	return enqueue(p, VMM_MSG_LIMITS, &msg, done, user);
}

void vmm_proc_request_forget(struct vmm_proc *p, const void *user)
{
	struct vmm_request *q;

	STAILQ_FOREACH(q, &p->requests, link)
	{
		if (q->user == user)
			q->done = NULL;
	}
}

static void finish_first(struct vmm_proc *p, int result, const struct vmm_reply *r)
{
	struct vmm_request *q = STAILQ_FIRST(&p->requests);

	STAILQ_REMOVE_HEAD(&p->requests, link);
	p->request_count--;
	if (p->w.loop && p->request_count > 0) {
		vmm_proc_wait_answer(p, true);
		vmm_request_pump(p);
	} else {
		vmm_proc_wait_answer(p, false);
	}
	if (q->done)
		q->done(q->user, result, r);
	free(q);
}

int vmm_request_reply(struct vmm_proc *p, const struct vmm_reply *r)
{
	const struct vmm_request *q = STAILQ_FIRST(&p->requests);

	if (!q || !q->sent || q->msg.id != r->id)
		return -EPROTO;
	finish_first(p, r->result, r);
	return 0;
}

void vmm_request_fail_all(struct vmm_proc *p, int result)
{
	while (!STAILQ_EMPTY(&p->requests))
		finish_first(p, result, NULL);
}
