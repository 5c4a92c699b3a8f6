#include "copy.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <base/cleanup.h>

int copy_request_decode(struct copy_request *q, enum guest_frame_type type, const uint8_t *payload,
	size_t len, struct kerr *e)
{
	struct guest_value v;
	uint32_t n = 0;
	size_t pos = 0;
	int r;

	while ((r = guest_field_next(payload, len, &pos, &v)) > 0) {
		if (v.field == GUEST_F_PATH)
			r = q->path ? -EPROTO : guest_value_text(&v, &q->path);
		else if (v.field == GUEST_F_OWNERS)
			r = guest_value_u32(&v, &n);
		if (r < 0)
			break;
	}
	if (r < 0)
		return kerr_set(e, EPROTO, "the request for a copy is malformed");
	if (!q->path || q->path[0] != '/' || strlen(q->path) >= 4096)
		return kerr_set(e, EINVAL, "a copy needs an absolute path of the guest");
	q->in = type == GUEST_COPY_IN;
	q->owners = n != 0;
	return 0;
}

void copy_request_done(struct copy_request *q)
{
	free(q->path);
	q->path = NULL;
}

/* Takes away what no copy is about. */
static int shut_off(const struct copy_request *q, struct kerr *e)
{
	static const char *const away[] = { "/proc", "/sys", "/dev" };

	if (q->root) {
		if (chroot(q->root) < 0 || chdir("/") < 0)
			return kerr_errno(e, errno, "%s", q->root);
		return 0;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return kerr_errno(e, errno, "copy: own mounts");
	for (size_t i = 0; i < array_size(away); i++) {
		if (umount2(away[i], MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
			return kerr_errno(e, errno, "copy: %s", away[i]);
	}
	return 0;
}

static int drop_capabilities(struct kerr *e)
{
	const uint32_t keep = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH |
		1u << CAP_FOWNER | 1u << CAP_FSETID;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct data[2] = {
		{ .effective = keep, .permitted = keep },
		{ 0 },
	};

	if (geteuid() != 0)
		return 0;
	for (int cap = 0; cap <= 63; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return kerr_errno(e, errno, "copy: capabilities");
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return kerr_errno(e, errno, "copy: capabilities");
	return 0;
}

int copy_main(const void *arg)
{
	const struct copy_request *q = arg;
	struct kerr e = { 0 };
	int r = shut_off(q, &e);

	if (r == 0)
		r = drop_capabilities(&e);
	if (r == 0)
		r = q->in ? copy_in(q, STDIN_FILENO, &e) : copy_out(q, STDOUT_FILENO, &e);
	if (r < 0)
		(void)!write(STDERR_FILENO, e.msg, strlen(e.msg));
	return r < 0;
}
