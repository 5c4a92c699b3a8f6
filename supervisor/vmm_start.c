/* A new kosvm-vmm: born in its jail, and BOOT once its owner knows of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <jail/spawn.h>

#include "vmm_proc_impl.h"

static int fork_vmm(struct vmm_proc *p, const struct vmm_proc_config *cfg, int program,
	int child_end, struct kerr *e)
{
	const struct jail_config jail = {
		.protections = cfg->jail.protections,
		.uid = cfg->jail.uid,
		.file_size = cfg->jail.file_size,
		.memory = cfg->jail.memory,
		.cgroup_fd = cfg->jail.cgroup_fd,
		.name = "kosvm-vmm",
		.program_fd = program,
		.socket_fd = child_end,
		.stderr_fd = cfg->stderr_fd,
	};
	/* Nobody else reaps it: the pid is its own until we do. */
	int r = jail_spawn(&jail, &p->id.pid, &p->pidfd, e);

	if (r < 0)
		return kerr_wrap(e, "VMM");
	memcpy(p->id.boot_id, cfg->board->boot_id, sizeof(p->id.boot_id));
	r = vmm_start_time(p->id.pid, &p->id.start_time);
	return r < 0 ? kerr_errno(e, -r, "VMM: /proc/%d/stat", (int)p->id.pid) : 0;
}

static int send_boot(struct vmm_proc *p, const struct vmm_proc_config *cfg, const uint8_t *fdt,
	size_t len, struct kerr *e)
{
	int r = vmm_proto_send(p->sock, VMM_MSG_BOOT, fdt, len, cfg->fds, cfg->nfds);

	p->attached = true;
	/* A program that ended at once: the pidfd tells how. */
	if (r == -EPIPE || r == -ECONNRESET)
		return 0;
	return r < 0 ? kerr_errno(e, -r, "send the board to the VMM") : 0;
}

static int make_sockets(struct vmm_proc *p, int *ret_child_end, struct kerr *e)
{
	int sv[2];
	int r;

	/* The VMM's end blocks: it waits for BOOT there. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return kerr_errno(e, errno, "VMM: socketpair");
	*ret_child_end = sv[1];
	r = io_set_nonblock(sv[0], 1);
	if (r < 0)
		(void)close(sv[0]);
	else
		r = vmm_proc_take_socket(p, sv[0]);
	return r < 0 ? kerr_errno(e, -r, "VMM: control socket") : 0;
}

int vmm_proc_start(struct vmm_proc **ret, struct loop *loop, const struct vmm_proc_config *cfg,
	const struct vmm_proc_ops *ops, void *user, struct kerr *e)
{
	_cleanup_close_ int program = open(cfg->program, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint8_t *fdt = NULL;
	_cleanup_close_ int child_end = -1;
	struct vmm_proc *p;
	int len;
	int r;

	if (program < 0)
		return kerr_errno(e, errno, "%s: open", cfg->program);
	fdt = malloc(BOARD_FDT_MAX);
	p = vmm_proc_new(loop, ops, user);
	if (!fdt || !p) {
		free(p);
		return kerr_errno(e, ENOMEM, "VMM");
	}
	len = board_encode(cfg->board, fdt, BOARD_FDT_MAX, e);
	r = len < 0 ? len : make_sockets(p, &child_end, e);
	if (r == 0)
		r = fork_vmm(p, cfg, program, child_end, e);
	/* Ours would keep the socket open when the VMM has closed its own. */
	close_fd(&child_end);
	if (r == 0 && ops->forked)
		r = ops->forked(user, &p->id, e);
	if (r == 0)
		r = send_boot(p, cfg, fdt, (size_t)len, e);
	if (r == 0)
		r = vmm_proc_watch(p, e);
	if (r < 0) {
		vmm_proc_free(p);
		return r;
	}
	*ret = p;
	return 0;
}
