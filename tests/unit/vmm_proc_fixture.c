#include "vmm_proc_fixture.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct vp vp;

static void on_running(void *user)
{
	(void)user;
	ck_assert(!vp.running);
	vp.running = true;
}

static void on_guest_connect(
	void *user, uint64_t id, uint64_t cid, uint32_t port, uint32_t src_port)
{
	(void)user;
	(void)cid;
	(void)port;
	(void)src_port;
	vp.asked = true;
	vp.requests++;
	(void)vmm_proc_refuse(vp.p, id);
}

static void on_connected(void *user, uint64_t id, int r)
{
	(void)user;
	(void)id;
	vp.result = r;
	vp.connected = true;
}

static void on_gone(void *user, enum vmm_end reason, const char *t)
{
	(void)user;
	ck_assert(!vp.gone);
	vp.gone = true;
	vp.reason = reason;
	(void)snprintf(vp.text, sizeof(vp.text), "%s", t);
	/* From inside, as the owner does. */
	vmm_proc_free(vp.p);
	vp.p = NULL;
}

static void on_attached(void *user, bool running, bool paused)
{
	(void)user;
	ck_assert(!vp.attached);
	vp.attached = true;
	vp.attached_running = running;
	vp.paused = paused;
}

static int on_forked(void *user, const struct vmm_identity *id, struct kerr *e)
{
	(void)user;
	ck_assert(!vp.running);
	vp.forked = *id;
	return vp.deny ? kerr_set(e, ENOSPC, "no room to write it down") : 0;
}

const struct vmm_proc_ops vp_ops = {
	.running = on_running,
	.guest_connect = on_guest_connect,
	.connected = on_connected,
	.gone = on_gone,
	.attached = on_attached,
	.forked = on_forked,
};

void vp_reset(void)
{
	vp = (struct vp){ .p = NULL };
}

int vp_start_program(const char *program, const char *orders, bool detachable)
{
	int fds[6];
	size_t nfds = 4;
	struct board *b = malloc(sizeof(*b));
	struct vmm_proc_config cfg = { .program = program, .board = b, .fds = fds };
	bool deny = vp.deny;
	int r;

	vp_reset();
	vp.deny = deny;
	for (size_t i = 0; i < 4; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fx_board(b, orders);
	if (detachable) {
		memset(b->boot_id, 0xb1, sizeof(b->boot_id));
		b->listen_fd = 4;
		b->end_fd = 5;
		ck_assert_int_eq(vmm_listen(fx_dir, &fds[4], &fx_err), 0);
		ck_assert_int_eq(vmm_end_create(fx_dir, &fds[5], &fx_err), 0);
		nfds = 6;
	}
	cfg.nfds = nfds;
	/* One that a failed test leaves behind holds nothing of ours open. */
	cfg.stderr_fd = fds[0];
	r = vmm_proc_start(&vp.p, fx_loop, &cfg, &vp_ops, NULL, &fx_err);
	for (size_t i = 0; i < nfds; i++)
		(void)close(fds[i]);
	free(b);
	return r;
}

void vp_start(const char *orders)
{
	ck_assert_int_eq(vp_start_program(FAKE_VMM, orders, false), 0);
	ck_assert_int_gt(vmm_proc_pid(vp.p), 0);
}

void vp_start_detachable(const char *orders)
{
	ck_assert_int_eq(vp_start_program(FAKE_VMM, orders, true), 0);
	fx_until(&vp.running);
}

void vp_done(void *user, int result, const struct vmm_reply *reply)
{
	(void)user;
	vp.replied = true;
	vp.replies++;
	vp.result = result;
	vp.reply = reply ? *reply : (struct vmm_reply){ 0 };
	ck_assert(!reply || reply->result == result);
}

bool vp_alive(pid_t pid)
{
	char path[40], buf[512] = "";
	int fd;
	ssize_t n;
	const char *state;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	(void)close(fd);
	state = n > 0 ? strrchr(buf, ')') : NULL;
	return state && state[2] != 'Z' && state[2] != 'X';
}
