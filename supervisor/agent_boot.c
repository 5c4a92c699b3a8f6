/*
 * From "start" to a running VMM: verified images and a locked state disk
 * (in a worker process), then the board, the two guest streams and the
 * process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/units.h>
#include <images/import.h>
#include <images/store.h>

#include "agent.h"
#include "ceiling.h"
#include "identity.h"
#include "panic.h"

#define STATE_DISK         "state.img"
#define STATE_LOCK_TRIES   50 /* of 100 ms: a VMM that is just ending */
#define SLOT_SERIAL_ROOTFS "rootfs"
#define SLOT_SERIAL_STATE  "state"

/* What the worker hands back, in this order. */
enum prep_fd { PREP_KERNEL, PREP_INITRAMFS, PREP_ROOTFS, PREP_STATE, PREP_COUNT };

/* ---- in the worker ---- */

static int lock_disk(int fd, struct kerr *e)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000 * 1000 };

	/* The lock belongs to the open file and goes on with the VMM that gets it. */
	for (int i = 0; i < STATE_LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return kerr_errno(e, errno, "%s: lock", STATE_DISK);
		(void)nanosleep(&pause, NULL);
	}
	return kerr_set(e, EBUSY, "%s: still in use by a VM that is ending: try again", STATE_DISK);
}

static int open_state(const struct agent *a, struct worker_port *port, int *ret_fd, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	uint64_t uid = 0;
	uint64_t gid = 0;
	struct stat st;
	int r;

	fd = openat(a->dirfd, STATE_DISK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		char user[sizeof(a->manifest.user)];
		char *colon;

		worker_progress(port, "making the state disk", -1);
		/* What a start that was cut off left. */
		r = store_clean(a->dirfd, e);
		if (r < 0)
			return r;
		/* A user by name is known in the guest only; kosvm-init gives /state to it. */
		memcpy(user, a->manifest.user, sizeof(user));
		colon = strchr(user, ':');
		if (colon)
			*colon++ = '\0';
		if (units_parse_u64(user, UINT32_MAX, &uid) < 0)
			uid = 0;
		else if (!colon || units_parse_u64(colon, UINT32_MAX, &gid) < 0)
			gid = uid;
		r = state_disk_make(
			a->dirfd, STATE_DISK, a->manifest.state, (uint32_t)uid, (uint32_t)gid, e);
		if (r < 0)
			return r;
		fd = openat(a->dirfd, STATE_DISK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return kerr_errno(e, errno, "%s: open", STATE_DISK);
	if ((uint64_t)st.st_size != a->manifest.state)
		return kerr_set(e, EINVAL, "%s: %lld bytes, the manifest says %llu: it was changed",
			STATE_DISK, (long long)st.st_size, (unsigned long long)a->manifest.state);
	r = lock_disk(fd, e);
	if (r < 0)
		return r;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int prepare(void *arg, struct worker_port *port, json_t **ret_result, int *ret_fds,
	size_t *ret_nfds, struct kerr *e)
{
	const struct agent *a = arg;
	const struct {
		const struct digest *digest;
		enum image_kind kind;
		enum prep_fd slot;
		const char *what;
	} images[] = {
		{ &a->manifest.kernel, IMAGE_KERNEL, PREP_KERNEL, "verifying the kernel" },
		{ &a->manifest.initramfs, IMAGE_INITRAMFS, PREP_INITRAMFS,
			"verifying the initramfs" },
		{ &a->manifest.rootfs, IMAGE_ROOTFS, PREP_ROOTFS, "verifying the root filesystem" },
	};
	uint64_t sizes[3];
	int r;

	for (size_t i = 0; i < array_size(images); i++) {
		worker_progress(port, images[i].what, -1);
		r = store_open_verified(a->sup->images_fd, images[i].digest, images[i].kind,
			&ret_fds[images[i].slot], &sizes[i], e);
		if (r < 0)
			return r;
	}
	*ret_nfds = 3;
	if (a->manifest.state > 0) {
		r = open_state(a, port, &ret_fds[PREP_STATE], e);
		if (r < 0)
			return r;
		*ret_nfds = 4;
	}
	*ret_result = json_pack("{s:I, s:I, s:I}", "kernel", (json_int_t)sizes[0], "initramfs",
		(json_int_t)sizes[1], "rootfs", (json_int_t)sizes[2]);
	return *ret_result ? 0 : kerr_errno(e, ENOMEM, "verification");
}

/* ---- in kosvmd ---- */

static uint64_t size_of(json_t *ok, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(ok, key));
}

static struct board_slot *add_disk(
	struct board *b, int fd, uint64_t size, bool read_only, const char *serial)
{
	struct board_slot *s = board_add_slot(b, BOARD_BLK);

	s->fd = fd;
	s->size = size;
	s->read_only = read_only;
	(void)snprintf(s->serial, sizeof(s->serial), "%s", serial);
	return s;
}

/* fds: kvm, console, listener, end, then the worker's in their order. */
enum board_fd { FD_KVM, FD_CONSOLE, FD_LISTEN, FD_END, FD_PREP };

static int make_board(const struct agent *a, json_t *ok, struct board *b, struct kerr *e)
{
	struct limits limits;

	*b = (struct board){
		.memory = a->manifest.memory,
		.vcpus = a->manifest.vcpus,
		.kvm_fd = FD_KVM,
		.serial_fd = FD_CONSOLE,
		.serial_limit = a->manifest.console_max,
		.kernel_fd = FD_PREP + PREP_KERNEL,
		.kernel_size = size_of(ok, "kernel"),
		.initrd_fd = FD_PREP + PREP_INITRAMFS,
		.initrd_size = size_of(ok, "initramfs"),
		.listen_fd = FD_LISTEN,
		.end_fd = FD_END,
		.confine = a->sup->isolation.confine,
	};
	(void)snprintf(b->cmdline, sizeof(b->cmdline), "%s", BOARD_CMDLINE_DEFAULT);
	limits_of(a, &limits);
	limits_rates(&limits, &b->disk_rate, &b->vsock_rate);
	(void)add_disk(b, FD_PREP + PREP_ROOTFS, size_of(ok, "rootfs") / 512 * 512, true,
		SLOT_SERIAL_ROOTFS);
	if (a->manifest.state > 0)
		(void)add_disk(
			b, FD_PREP + PREP_STATE, a->manifest.state, false, SLOT_SERIAL_STATE);
	board_add_slot(b, BOARD_VSOCK)->cid = a->row.cid;
	(void)board_add_slot(b, BOARD_RNG);
	if (getrandom(b->boot_id, sizeof(b->boot_id), 0) != sizeof(b->boot_id))
		return kerr_errno(e, errno, "random bytes");
	return 0;
}

static int open_kvm(struct kerr *e)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == EACCES || errno == EPERM)
		return kerr_set(e, errno,
			"no permission on /dev/kvm: run kosvmd as root or add its "
			"user to the group kvm (see `kosvm doctor`)");
	if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
		return kerr_set(e, errno,
			"no /dev/kvm: load kvm-intel or kvm-amd, or switch on "
			"virtualisation in the firmware (see `kosvm doctor`)");
	return kerr_errno(e, errno, "/dev/kvm: open");
}

static int check_memory(const struct manifest *m, struct kerr *e)
{
	struct sysinfo si;
	char want[32];
	char have[32];
	uint64_t total;

	if (sysinfo(&si) < 0)
		return kerr_errno(e, errno, "sysinfo");
	total = (uint64_t)si.totalram * si.mem_unit;
	if (m->memory <= total)
		return 0;
	units_format_size(m->memory, want, sizeof(want));
	units_format_size(total, have, sizeof(have));
	return kerr_set(e, ENOMEM,
		"[resources] memory = %s is more than this host has (%s): ask for less", want,
		have);
}

static int open_output(const struct agent *a, const char *name, struct kerr *e)
{
	int fd = openat(a->dirfd, name,
		O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? kerr_errno(e, errno, "%s: open", name) : fd;
}

int agent_open_guest(struct agent *a, bool resumed, struct kerr *e)
{
	struct guest_link_config cfg = {
		.manifest = &a->manifest,
		.ops = &agent_guest_ops,
		.user = a,
		.hostname = a->row.name,
		.extra_env = a->launch.env,
		.tty = a->launch.tty,
		.rows = a->launch.rows,
		.cols = a->launch.cols,
		.open_stdin = a->launch.open_stdin,
		.resumed = resumed,
	};
	int r = agent_log_open(&a->log, a->dirfd, a->manifest.log_max, e);

	if (r < 0)
		return r;
	cfg.log = a->log;
	return guest_link_new(&a->guest, a->sup->loop, &cfg, e);
}

static void close_table(int *fds)
{
	for (int i = FD_KVM; i < FD_PREP; i++)
		close_fd(&fds[i]);
}

/* Everything of a VM but the images. */
static int open_table(struct agent *a, int *fds, struct kerr *e)
{
	int r = open_kvm(e);

	if (r < 0)
		return r;
	fds[FD_KVM] = r;
	r = open_output(a, "console.log", e);
	if (r < 0)
		return r;
	fds[FD_CONSOLE] = r;
	r = vmm_end_create(a->dirfd, &fds[FD_END], e);
	return r < 0 ? r : vmm_listen(a->dirfd, &fds[FD_LISTEN], e);
}

/* From before uids were given, or when they came from another range. */
static int own_uid(struct agent *a, struct kerr *e)
{
	uint32_t had = a->row.host_uid;
	char what[48];
	int r = a->sup->isolation.on[SANDBOX_IDENTITY] ? identity_give(a, e) : 0;

	if (r < 0 || a->row.host_uid == had)
		return r;
	(void)snprintf(what, sizeof(what), "runs as uid %u", a->row.host_uid);
	r = db_agent_update(a->sup->db, &a->row, what, e);
	if (r < 0)
		a->row.host_uid = had;
	return r;
}

static struct vmm_jail jail_of(const struct agent *a)
{
	uint64_t most = 2 * a->manifest.console_max + (1u << 20);

	return (struct vmm_jail){
		.protections = a->sup->isolation.jail,
		.uid = a->row.host_uid,
		.file_size = a->manifest.state > most ? a->manifest.state : most,
		.memory = quotas_address_space(&a->manifest),
		.cgroup_fd = a->cgroup.fd > 0 ? a->cgroup.fd : 0,
	};
}

static int spawn(struct agent *a, json_t *ok, const int *fds, size_t nfds, struct kerr *e)
{
	_cleanup_close_ int messages = -1;
	_cleanup_free_ struct board *board = NULL;
	int table[FD_PREP + PREP_COUNT] = { -1, -1, -1, -1 };
	struct vmm_proc_config cfg;
	int r = panic_check(a, e); /* one may have come while images were read */

	if (r < 0)
		return r;
	r = own_uid(a, e);
	if (r < 0)
		return r;
	messages = open_output(a, "vmm.log", e);
	if (messages < 0)
		return messages;
	r = agent_open_guest(a, false, e);
	if (r < 0)
		return r;
	r = agent_cgroup_make(a, e);
	if (r < 0)
		return r;
	board = malloc(sizeof(*board));
	if (!board)
		return kerr_errno(e, ENOMEM, "board");
	r = open_table(a, table, e);
	if (r == 0)
		r = make_board(a, ok, board, e);
	if (r == 0) {
		memcpy(table + FD_PREP, fds, nfds * sizeof(int));
		cfg = (struct vmm_proc_config){
			.program = a->sup->vmm_program,
			.board = board,
			.fds = table,
			.nfds = FD_PREP + nfds,
			.stderr_fd = messages,
			.jail = jail_of(a),
		};
		r = vmm_proc_start(&a->vmm, a->sup->loop, &cfg, &agent_vmm_ops, a, e);
	}
	close_table(table);
	if (r < 0)
		return r;
	a->remove_when_ended = false; /* from here on its logs tell what happened */
	r = loop_timer_set(a->sup->loop, &a->deadline, a->manifest.start_timeout_ns, 0);
	return r < 0 ? kerr_errno(e, -r, "start deadline") : 0;
}

static void prep_progress(void *user, const char *what, double fraction)
{
	(void)fraction;
	agent_say(user, what);
}

static void prep_done(
	void *user, int result, json_t *ok, int *fds, size_t nfds, const struct kerr *err)
{
	struct agent *a = user;
	struct kerr e = { 0 };
	size_t want = a->manifest.state > 0 ? 4 : 3;

	a->prep = NULL;
	if (result < 0) {
		agent_break(a, "%s", err->msg);
		return;
	}
	if (nfds != want)
		(void)kerr_set(&e, EPROTO, "worker gave %zu files instead of %zu", nfds, want);
	else
		(void)spawn(a, ok, fds, nfds, &e);
	for (size_t i = 0; i < nfds; i++)
		(void)close(fds[i]);
	if (e.code)
		agent_break(a, "%s", e.msg);
}

int agent_boot(struct agent *a, struct kerr *e)
{
	static const struct worker_ops ops = { .progress = prep_progress, .done = prep_done };
	_cleanup_close_ int kvm = -1;
	int keep[2] = { a->sup->images_fd, a->dirfd };
	int r;

	loop_timer_done(&a->removal);
	a->broken = false;
	a->stop_stage = STOP_NONE;
	a->deadline.fn = agent_deadline_passed;
	a->health = (struct health){ .beat = LOOP_TIMER_INIT, .life = LOOP_TIMER_INIT };
	r = isolation_check(&a->sup->isolation, &a->sup->sandbox, e);
	if (r < 0)
		return r;
	r = check_memory(&a->manifest, e); /* the manifest's own mistake first */
	if (r == 0)
		r = ceiling_check_start(a, e);
	if (r < 0)
		return r;
	kvm = open_kvm(e); /* ask before the long part */
	if (kvm < 0)
		return kvm;
	return worker_start(&a->prep, a->sup->loop, prepare, a, keep, array_size(keep), &ops, a, e);
}
