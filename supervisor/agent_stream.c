/* Streams from the host to a port of the guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <base/cleanup.h>

#include "agent.h"
#include "panic.h"

int agent_open_stream(struct agent *a, uint32_t port, void (*done)(void *user, int result, int fd),
	void *user, struct agent_connect **ret, struct kerr *e)
{
	struct agent_connect *c;
	int sv[2];
	int r;

	if (agent_state_live(a->state) && (a->state != AGENT_RUNNING || !a->vmm))
		return kerr_set(e, ENOTCONN, "agent %s is %s: wait until it runs or has ended",
			a->row.name, agent_state_name(a->state));
	if (a->state != AGENT_RUNNING)
		return kerr_set(e, ENOTCONN, "agent %s is %s: `kosvm start %s` starts it",
			a->row.name, agent_state_name(a->state), a->row.name);
	if (strcmp(a->row.paused, "panic") == 0)
		return panic_check(a, e);
	agent_needed(a);
	c = calloc(1, sizeof(*c));
	if (!c || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
		r = kerr_errno(e, c ? errno : ENOMEM, "stream to %s", a->row.name);
		free(c);
		return r;
	}
	c->id = ++a->next_connect;
	c->fd = sv[0];
	c->done = done;
	c->user = user;
	/* O_NONBLOCK is per open file: only the VMM's end gets it. */
	(void)fcntl(sv[1], F_SETFL, O_RDWR | O_NONBLOCK);
	LIST_INSERT_HEAD(&a->connects, c, link);
	r = vmm_proc_connect(a->vmm, c->id, port, sv[1]);
	if (r < 0) {
		LIST_REMOVE(c, link);
		close_fd(&c->fd);
		free(c);
		return kerr_errno(e, -r, "stream to %s", a->row.name);
	}
	*ret = c;
	return 0;
}

void agent_connects_fail(struct agent *a)
{
	struct agent_connect *c;

	while ((c = LIST_FIRST(&a->connects))) {
		LIST_REMOVE(c, link);
		close_fd(&c->fd);
		c->done(c->user, -ECONNRESET, -1);
		free(c);
	}
}

void agent_connected(struct agent *a, uint64_t id, int result)
{
	struct agent_connect *c;

	LIST_FOREACH(c, &a->connects, link)
	{
		if (c->id == id)
			break;
	}
	if (!c)
		return;
	LIST_REMOVE(c, link);
	if (result < 0)
		close_fd(&c->fd);
	c->done(c->user, result, c->fd);
	free(c);
}

void agent_connect_cancel(struct agent_connect *c)
{
	LIST_REMOVE(c, link);
	close_fd(&c->fd);
	free(c);
}
