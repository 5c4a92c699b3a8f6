/* A kosvm-vmm of an earlier kosvmd: is it still that process, and does it answer? */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "vmm_proc_impl.h"

#define RETRY_NS (100 * CLOCK_NS_PER_MS)

/* proc(5): the second field is a name in parentheses, in which anything may stand. */
#define START_TIME_FIELD 22

int vmm_start_time(pid_t pid, uint64_t *ret)
{
	char path[40];
	char buf[1024];
	_cleanup_close_ int fd = -1;
	unsigned long long v;
	char *at;
	char *end;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	at = strrchr(buf, ')');
	/* One blank before each field from the third on. */
	for (int field = 2; at && field < START_TIME_FIELD; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -EPROTO;
	errno = 0;
	v = strtoull(at + 1, &end, 10);
	if (errno != 0 || end == at + 1 || *end != ' ')
		return -EPROTO;
	*ret = v;
	return 0;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/*
 * A descriptor of that very process. The order matters: who has the
 * recorded start time now was there before it was recorded, so it is also who
 * the pidfd, opened before the look, was opened on.
 */
static int find_process(const struct vmm_identity *id, int *ret_pidfd, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	uint64_t start = 0;
	int r;

	if (id->pid <= 1)
		return kerr_set(e, ESRCH, "VMM: %d is not the pid of one", (int)id->pid);
	fd = (int)syscall(SYS_pidfd_open, id->pid, 0);
	r = fd < 0 ? -errno : vmm_start_time(id->pid, &start);
	if (r < 0 && r != -ESRCH)
		return kerr_errno(e, -r, "VMM: process %d", (int)id->pid);
	if (r < 0 || start != id->start_time || has_ended(fd))
		return kerr_set(e, ESRCH, "VMM: process %d is gone", (int)id->pid);
	*ret_pidfd = steal_fd(&fd);
	return 0;
}

static int connect_vmm(int dirfd, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (fd < 0)
		return -errno;
	/* The directory's own path may be longer than an address. */
	(void)snprintf(
		sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/" VMM_SOCKET_NAME, dirfd);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static void attach(struct vmm_proc *p)
{
	struct vmm_msg_attach m;
	int fd = -1;
	int r = connect_vmm(p->dirfd, &fd);

	if (r == 0)
		r = vmm_proc_take_socket(p, fd);
	if (r == 0) {
		memcpy(m.boot_id, p->id.boot_id, sizeof(m.boot_id));
		r = vmm_proto_send(p->sock, VMM_MSG_ATTACH, &m, sizeof(m), NULL, 0);
	}
	if (r < 0)
		vmm_adopt_again(p, -r);
}

static void retry(struct loop_timer *t)
{
	attach(container_of(t, struct vmm_proc, retry));
}

/*
 * It may still be building its machine, or not have noticed that its old
 * kosvmd is gone: until the deadline it is asked again.
 */
void vmm_adopt_again(struct vmm_proc *p, int error)
{
	vmm_proc_drop_socket(p);
	p->attach_error = error;
	p->retry.fn = retry;
	if (loop_timer_set(p->loop, &p->retry, RETRY_NS, 0) < 0)
		vmm_proc_condemn(p, "no timer to attach to the VMM");
}

int vmm_adopt_attached(struct vmm_proc *p, const struct vmm_msg_attached *m)
{
	p->attached = true;
	p->running = m->flags & VMM_F_RUNNING;
	vmm_proc_wait_answer(p, false);
	loop_timer_done(&p->retry);
	close_fd(&p->dirfd);
	if (p->ops->attached)
		p->ops->attached(p->user, p->running, m->flags & VMM_F_PAUSED);
	return 0;
}

int vmm_proc_adopt(struct vmm_proc **ret, struct loop *loop, int dirfd,
	const struct vmm_identity *id, const struct vmm_proc_ops *ops, void *user, struct kerr *e)
{
	_cleanup_close_ int pidfd = -1;
	struct vmm_proc *p;
	int r = find_process(id, &pidfd, e);

	if (r < 0)
		return r;
	p = vmm_proc_new(loop, ops, user);
	if (!p)
		return kerr_errno(e, ENOMEM, "VMM");
	p->id = *id;
	p->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	r = p->dirfd < 0 ? kerr_errno(e, errno, "VMM: its directory") : 0;
	p->pidfd = steal_fd(&pidfd);
	if (r == 0)
		r = vmm_proc_watch(p, e);
	if (r < 0) {
		vmm_proc_detach(p);
		return r;
	}
	vmm_proc_wait_answer(p, true);
	attach(p);
	*ret = p;
	return 0;
}
