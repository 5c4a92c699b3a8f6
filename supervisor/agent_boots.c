/*
 * The record of each VM, by which the next kosvmd finds it again, or learns
 * what became of it. The row is written when the process is there and before
 * it is given a machine: a VM without a row never ran.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/log.h>

#include "agent.h"
#include "panic.h"
#include "proc_usage.h"

_Static_assert(DB_BOOT_ID_LEN == BOARD_BOOT_ID_LEN, "one id");

static int host_boot_id(char out[static 40])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, 39);

	if (n < 0)
		return -errno;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return 0;
}

int agent_boot_record(struct agent *a, const struct vmm_identity *id, struct kerr *e)
{
	struct db_boot b = {
		.agent = a->row.id,
		.generation = a->row.generation,
		.pid = id->pid,
		.pid_start = id->start_time,
		.started_ns = clock_real_ns(),
	};
	int r = host_boot_id(b.host_boot_id);

	if (r < 0)
		return kerr_errno(e, -r, "boot id of the machine");
	memcpy(b.boot_id, id->boot_id, sizeof(b.boot_id));
	r = db_boot_add(a->sup->db, &b, e);
	if (r == 0)
		a->row.provisional = false;
	return r;
}

enum vmm_end agent_last_word(const struct agent *a, char *text, size_t len)
{
	_cleanup_close_ int fd = openat(a->dirfd, VMM_END_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct vmm_msg_ended m;

	text[0] = '\0';
	if (fd < 0 || vmm_end_read(fd, &m) < 0)
		return 0;
	(void)snprintf(text, len, "%s", m.text);
	return (enum vmm_end)m.reason;
}

/* ---- the next kosvmd ---- */

static const char *how(enum vmm_end word, const char *text)
{
	if (*text)
		return text;
	return word == VMM_END_RESET       ? "reset by the guest"
		: word == VMM_END_POWEROFF ? "power-off by the guest"
		: word == VMM_END_QUIT     ? "it was told to"
					   : "it did not say why; it was killed, perhaps";
}

/* Its VM is not there any more. May free a. */
static void gone_meanwhile(struct agent *a, const struct db_boot *b, bool rebooted)
{
	char text[sizeof(((struct vmm_msg_ended *)0)->text)];
	char reason[sizeof(a->reason)];
	enum vmm_end word = agent_last_word(a, text, sizeof(text));
	uint64_t now = clock_real_ns();

	/* At most: nobody saw when it ended. Only across a reboot the calendar is all there is. */
	if (a->state == AGENT_RUNNING && (!rebooted || now > a->row.started_ns)) {
		a->health.since_ns = clock_mono_ns();
		a->health.ran_before_ns =
			rebooted ? now - a->row.started_ns : proc_age_ns(b->pid_start);
	}
	if (agent_cgroup_oom(a, reason, sizeof(reason))) {
		agent_ended(a, AGENT_EV_OOM, reason);
		return;
	}
	if (a->state == AGENT_STOPPING) {
		/* It was to end, and why is known already. */
		enum agent_event ev = a->last_event == AGENT_EV_HUNG       ? AGENT_EV_BROKEN
			: word == VMM_END_POWEROFF || word == VMM_END_QUIT ? AGENT_EV_ENDED
			: word == VMM_END_ERROR                            ? AGENT_EV_BROKEN
									   : AGENT_EV_LOST;

		(void)snprintf(reason, sizeof(reason), "%s",
			ev == AGENT_EV_BROKEN && *text ? text : a->reason);
		agent_ended(a, ev, reason);
		return;
	}
	/* A VM that was still there when the machine went down had no time for a last word. */
	if (rebooted && word == 0)
		(void)snprintf(reason, sizeof(reason), "the machine went down while it ran");
	else
		(void)snprintf(reason, sizeof(reason), "the VM ended %s: %s",
			rebooted ? "before the machine went down" : "while kosvmd was away",
			how(word, text));
	agent_ended(a, AGENT_EV_LOST, reason);
}

static int adopt(struct agent *a, const struct db_boot *b, struct kerr *e)
{
	struct vmm_identity id = { .pid = b->pid, .start_time = b->pid_start };
	int r;

	memcpy(id.boot_id, b->boot_id, sizeof(id.boot_id));
	r = agent_open_guest(a, a->state != AGENT_STARTING, e);
	if (r < 0)
		return r;
	r = vmm_proc_adopt(&a->vmm, a->sup->loop, a->dirfd, &id, &agent_vmm_ops, a, e);
	if (r < 0)
		return r;
	a->adopted = true;
	agent_cgroup_adopt(a);
	a->deadline.fn = agent_deadline_passed;
	a->health.ran_before_ns = proc_age_ns(b->pid_start);
	if (a->state == AGENT_STOPPING && a->last_event == AGENT_EV_HUNG) {
		a->broken = true;
		vmm_proc_kill(a->vmm);
	}
	return 0;
}

static void kill_process(const struct db_boot *b)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, b->pid, 0);
	struct proc_usage u;

	/* Looked at after the pidfd was taken: it is that process, or none. */
	if (fd >= 0 && proc_usage_read(b->pid, &u) == 0 && u.start_time == b->pid_start)
		(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
}

void agent_recover(struct agent *a)
{
	struct db_boot b = { 0 };
	struct kerr err = { 0 };
	char machine[40];
	int r = db_boot_get(a->sup->db, a->row.id, a->row.generation, &b, &err);

	if (r == -ENOENT) {
		a->remove_when_ended = a->row.provisional;
		agent_ended(a, a->state == AGENT_STOPPING ? AGENT_EV_ENDED : AGENT_EV_LOST,
			a->state == AGENT_STOPPING ? a->reason
						   : "kosvmd ended while it was starting");
		return;
	}
	if (r == 0)
		r = host_boot_id(machine);
	if (r == 0 && strcmp(machine, b.host_boot_id) != 0) {
		gone_meanwhile(a, &b, true);
		return;
	}
	if (r == 0)
		r = adopt(a, &b, &err);
	if (r == 0) {
		log_info("agent %s: found again (%s, process %d)", a->row.name,
			agent_state_name(a->state), (int)b.pid);
		return;
	}
	if (r != -ESRCH) {
		/* It cannot be watched, so it may not run. */
		log_error("agent %s: %s: its VM is ended", a->row.name, err.msg);
		kill_process(&b);
	}
	gone_meanwhile(a, &b, false);
}

static void resume_stopping(struct agent *a)
{
	a->stop_stage = STOP_ASKED;
	/* Frozen, it cannot be asked; else it is when the guest has dialled again. */
	agent_ask_to_end(a, 0);
}

/* Its VMM answers: it goes on from where the record says that it was. */
void agent_attached(struct agent *a, bool paused)
{
	uint64_t ran = a->health.ran_before_ns;
	uint64_t limit = a->manifest.start_timeout_ns;

	a->frozen = paused;
	/* What was recorded and not told, or a ceiling of another sandbox.ini. */
	if (limits_any(a))
		(void)agent_limits_tell(a, NULL, NULL);
	if (a->state == AGENT_STARTING)
		(void)loop_timer_set(a->sup->loop, &a->deadline,
			ran + CLOCK_NS_PER_S < limit ? limit - ran : CLOCK_NS_PER_S, 0);
	if (a->state == AGENT_RUNNING) {
		agent_health_start(a, ran);
		agent_idle_start(a);
	}
	agent_health_hold(a, *a->row.paused != '\0');
	/* What was recorded and not done, or done and not recorded. */
	if (panic_check(a, NULL) < 0)
		panic_apply(a);
	else if (strcmp(a->row.paused, "panic") == 0 || (paused && !*a->row.paused))
		agent_unpause(a);
	else if (*a->row.paused && !paused)
		(void)agent_freeze(a);
	if (a->state == AGENT_STOPPING && !a->broken && a->stop_stage != STOP_KILLED)
		resume_stopping(a);
}

void agent_recover_unreadable(struct agent *a)
{
	struct db_boot b;
	bool live = agent_state_live(a->state);
	char machine[40];

	if (db_boot_get(a->sup->db, a->row.id, a->row.generation, &b, NULL) == 0 && !b.ended_ns &&
		host_boot_id(machine) == 0 && strcmp(machine, b.host_boot_id) == 0)
		kill_process(&b);
	/* In the database it stays what it was: another kosvmd may be able to read it. */
	if (live)
		log_error("agent %s: its VM is ended", a->row.name);
	a->row.restart_at_ns = 0;
	a->state = AGENT_FAILED;
}
