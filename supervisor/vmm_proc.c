#include "vmm_proc_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#define BATCH 64 /* messages handled before other watchers get their turn */

#define ERRNO_MAX 4095

#define PATIENCE_NS (10 * CLOCK_NS_PER_S)

struct vmm_proc *vmm_proc_new(struct loop *loop, const struct vmm_proc_ops *ops, void *user)
{
	struct vmm_proc *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->ops = ops;
	p->user = user;
	p->w.fd = -1;
	p->pidw.w.fd = -1;
	p->linger.w.fd = -1;
	p->killed.w.fd = -1;
	p->patience.w.fd = -1;
	p->retry.w.fd = -1;
	p->sock = -1;
	p->pidfd = -1;
	p->dirfd = -1;
	p->patience_ns = PATIENCE_NS;
	p->next_request = 1;
	STAILQ_INIT(&p->requests);
	return p;
}

void vmm_text_clean(char *s)
{
	for (; *s; s++) {
		if (*s < 0x20 || *s > 0x7e)
			*s = '?';
	}
}

void vmm_proc_condemn(struct vmm_proc *p, const char *fmt, ...)
{
	va_list ap;

	loop_fd_del(&p->w);
	loop_timer_done(&p->retry);
	if (!p->condemned) {
		p->condemned = true;
		p->reason = VMM_END_ERROR;
		va_start(ap, fmt);
		(void)vsnprintf(p->text, sizeof(p->text), fmt, ap);
		va_end(ap);
	}
	vmm_proc_kill(p); /* process_ended follows */
}

static void take_end(struct vmm_proc *p, const struct vmm_msg_ended *m)
{
	p->reason = (enum vmm_end)m->reason;
	(void)snprintf(p->text, sizeof(p->text), "%.*s", (int)sizeof(m->text), m->text);
	vmm_text_clean(p->text);
}

static void patience_passed(struct loop_timer *t)
{
	struct vmm_proc *p = container_of(t, struct vmm_proc, patience);
	const char *what = vmm_request_waiting(p);
	unsigned long long s = p->patience_ns / CLOCK_NS_PER_S;

	if (what)
		vmm_proc_condemn(p, "VMM did not answer %s within %llu s", what, s);
	else if (p->attach_error)
		vmm_proc_condemn(p, "VMM could not be attached to within %llu s: %s", s,
			strerror(p->attach_error));
	else
		vmm_proc_condemn(p, "VMM did not answer ATTACH within %llu s", s);
}

void vmm_proc_wait_answer(struct vmm_proc *p, bool on)
{
	p->patience.fn = patience_passed;
	if (!on && !p->patience.w.loop)
		return;
	if (loop_timer_set(p->loop, &p->patience, on ? p->patience_ns : 0, 0) < 0 && on)
		vmm_proc_condemn(p, "no timer for what the VMM has to answer");
}

void vmm_proc_set_patience(struct vmm_proc *p, uint64_t ns)
{
	p->patience_ns = ns ? ns : PATIENCE_NS;
	if (!p->attached || vmm_request_waiting(p))
		vmm_proc_wait_answer(p, true);
}

/* What may come, once it is attached; before that a VMM has one thing to say. */
static int handle(struct vmm_proc *p, const struct vmm_msg *m)
{
	if (!p->attached)
		return m->type == VMM_MSG_ATTACHED ? vmm_adopt_attached(p, &m->u.attached)
						   : -EPROTO;
	switch (m->type) {
	case VMM_MSG_RUNNING:
		if (p->running)
			return -EPROTO;
		p->running = true;
		p->ops->running(p->user);
		return 0;
	case VMM_MSG_GUEST_CONNECT:
		p->ops->guest_connect(p->user, m->u.guest_connect.id, m->u.guest_connect.dst_cid,
			m->u.guest_connect.dst_port, m->u.guest_connect.src_port);
		return 0;
	case VMM_MSG_CONNECTED:
		if (m->u.connected.result < -ERRNO_MAX)
			return -EPROTO;
		p->ops->connected(p->user, m->u.connected.id, m->u.connected.result);
		return 0;
	case VMM_MSG_REPLY:
		if (m->u.reply.result < -ERRNO_MAX)
			return -EPROTO;
		return vmm_request_reply(p, &m->u.reply);
	case VMM_MSG_ENDED:
		take_end(p, &m->u.ended);
		vmm_proc_linger(p);
		return 0;
	default:
		return -EPROTO;
	}
}

/* End of stream, or none to speak of. */
static void hung_up(struct vmm_proc *p, int error)
{
	if (p->attached) {
		loop_fd_del(&p->w); /* the pidfd tells the rest */
		vmm_proc_linger(p);
	} else {
		vmm_adopt_again(p, error);
	}
}

/* Reads what is there; the watch is gone when the socket is of no more use. */
void vmm_proc_drain(struct vmm_proc *p, int most)
{
	struct vmm_msg *m = malloc(sizeof(*m));

	while (m && most-- > 0 && p->w.loop) {
		int r = vmm_proto_recv(p->sock, m);

		if (r == -EAGAIN)
			break;
		if (r == 0 || r == -ECONNRESET) {
			hung_up(p, ECONNRESET);
			break;
		}
		if (r == 1) {
			/* A VMM has no descriptors to give. */
			for (size_t i = 0; i < m->nfds; i++)
				(void)close(m->fds[i]);
			r = handle(p, m);
		}
		if (r < 0)
			vmm_proc_condemn(p, "VMM broke the protocol");
	}
	free(m);
}

static void sock_ready(struct loop_fd *w, uint32_t events)
{
	struct vmm_proc *p = container_of(w, struct vmm_proc, w);

	if (events & EPOLLOUT)
		vmm_request_pump(p);
	if (p->w.loop)
		vmm_proc_drain(p, BATCH);
}

int vmm_proc_take_socket(struct vmm_proc *p, int fd)
{
	int r;

	vmm_proc_drop_socket(p);
	p->w.fn = sock_ready;
	r = loop_fd_add(p->loop, &p->w, fd, EPOLLIN);
	if (r < 0)
		(void)close(fd);
	else
		p->sock = fd;
	return r;
}

void vmm_proc_drop_socket(struct vmm_proc *p)
{
	loop_fd_del(&p->w);
	close_fd(&p->sock);
}

/* r: of a message that was sent. One that is not taken must not be waited for without end. */
static int check_taken(struct vmm_proc *p, int r)
{
	if (r == -EAGAIN && !vmm_request_waiting(p))
		(void)vmm_proc_request(p, VMM_MSG_STATS, NULL, NULL);
	return r;
}

static int send_with_fd(
	struct vmm_proc *p, enum vmm_msg_type type, const void *payload, size_t len, int fd)
{
	int r = p->attached ? vmm_proto_send(p->sock, type, payload, len, &fd, 1) : -ENOTCONN;

	(void)close(fd);
	return check_taken(p, r);
}

int vmm_proc_connect(struct vmm_proc *p, uint64_t id, uint32_t port, int fd)
{
	struct vmm_msg_connect m = { .id = id, .src_cid = 2, .port = port };

	return send_with_fd(p, VMM_MSG_CONNECT, &m, sizeof(m), fd);
}

int vmm_proc_accept(struct vmm_proc *p, uint64_t id, int fd)
{
	struct vmm_msg_id m = { .id = id };

	return send_with_fd(p, VMM_MSG_ACCEPT, &m, sizeof(m), fd);
}

int vmm_proc_refuse(struct vmm_proc *p, uint64_t id)
{
	struct vmm_msg_id m = { .id = id };

	if (!p->attached)
		return -ENOTCONN;
	return check_taken(p, vmm_proto_send(p->sock, VMM_MSG_REFUSE, &m, sizeof(m), NULL, 0));
}

int vmm_proc_quit(struct vmm_proc *p)
{
	if (!p->attached)
		return -ENOTCONN;
	return vmm_proto_send(p->sock, VMM_MSG_QUIT, NULL, 0, NULL, 0);
}

pid_t vmm_proc_pid(const struct vmm_proc *p)
{
	return p->pidfd >= 0 ? p->id.pid : 0;
}

void vmm_proc_identity(const struct vmm_proc *p, struct vmm_identity *ret)
{
	*ret = p->id;
}
