/* How the VM of an agent ends, and what it and its guest say before. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "agent.h"

/* What the guest gets on top of its grace to sync, unmount and power off. */
#define STOP_MARGIN_NS (15 * CLOCK_NS_PER_S)
#define QUIT_NS        (10 * CLOCK_NS_PER_S)

/* ---- the end of a VM ---- */

void agent_release(struct agent *a)
{
	loop_timer_done(&a->deadline);
	agent_health_stop(a);
	agent_idle_stop(a);
	agent_cgroup_release(a);
	worker_cancel(a->prep, NULL, NULL);
	a->prep = NULL;
	vmm_proc_free(a->vmm);
	a->vmm = NULL;
	guest_link_free(a->guest);
	a->guest = NULL;
	agent_log_close(a->log);
	a->log = NULL;
	agent_connects_fail(a);
	a->frozen = false;
	a->adopted = false;
}

static void remove_now(struct agent *a)
{
	struct kerr err = { 0 };

	a->remove_when_ended = false;
	if (agent_remove(a, &err) < 0) {
		log_error("agent %s: %s", a->row.name, err.msg);
		agent_tell_removed(a, &err);
	}
}

static void lingered(struct loop_timer *t)
{
	loop_timer_done(t);
	remove_now(container_of(t, struct agent, removal));
}

/* Whoever started it may still ask for its log and its code. */
static bool linger(struct agent *a)
{
	a->removal.fn = lingered;
	return a->launch.linger_ns &&
		loop_timer_set(a->sup->loop, &a->removal, a->launch.linger_ns, 0) == 0;
}

void agent_ended(struct agent *a, enum agent_event ev, const char *reason)
{
	const bool ran = a->health.since_ns; /* else nobody has heard of it */
	char text[sizeof(a->reason)];

	agent_release(a);
	agent_cgroup_remove(a);
	(void)snprintf(text, sizeof(text), "%s", reason);
	agent_policy_decide(a, ev, text, sizeof(text));
	agent_moved_for_real(a, ev, text);
	if (a->dirfd >= 0)
		(void)unlinkat(a->dirfd, VMM_SOCKET_NAME, 0);
	if (!a->remove_when_ended && (!a->launch.remove || a->row.restart_at_ns)) {
		agent_policy_arm(a);
		return;
	}
	if (a->remove_when_ended || !ran || !linger(a))
		remove_now(a);
}

/* The last lines of the boot console, for a person who asks why. */
static void add_console_tail(struct agent *a)
{
	_cleanup_close_ int fd = openat(a->dirfd, "console.log", O_RDONLY | O_CLOEXEC);
	char buf[600];
	size_t n = strlen(a->reason);
	off_t size;
	ssize_t got;
	ssize_t start;
	int lines = 0;

	size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (size <= 0)
		return;
	got = pread(
		fd, buf, sizeof(buf), size > (off_t)sizeof(buf) ? size - (off_t)sizeof(buf) : 0);
	while (got > 0 && (buf[got - 1] == '\n' || buf[got - 1] == '\r'))
		got--;
	for (start = got; start > 0 && lines < 4; start--) {
		if (buf[start - 1] == '\n' && ++lines == 4)
			break;
	}
	if (got <= 0)
		return;
	if (n + 64 > sizeof(a->reason))
		return;
	n += (size_t)snprintf(a->reason + n, sizeof(a->reason) - n, "; last console lines: ");
	for (ssize_t i = start; i < got && n + 4 < sizeof(a->reason); i++) {
		unsigned char c = (unsigned char)buf[i];

		if (c == '\n') {
			memcpy(a->reason + n, " | ", 3);
			n += 3;
		} else if (c >= 0x20 && c < 0x7f) {
			a->reason[n++] = (char)c;
		}
	}
	a->reason[n] = '\0';
}

static void vmm_gone(void *user, enum vmm_end reason, const char *text)
{
	struct agent *a = user;
	char word[sizeof(((struct vmm_msg_ended *)0)->text)];
	bool orderly;
	bool oom;

	/* Of one that was taken over nobody gets a status, and its last message may be lost. */
	if (reason == 0) {
		enum vmm_end end = agent_last_word(a, word, sizeof(word));

		if (end != 0) {
			reason = end;
			text = word;
		}
	}
	if (vmm_proc_given_up(a->vmm)) {
		a->broken = true;
		(void)snprintf(a->reason, sizeof(a->reason), "%s", text);
	}
	orderly = reason == VMM_END_POWEROFF || reason == VMM_END_QUIT;
	guest_link_drain(a->guest);
	if (!a->broken && a->state == AGENT_STOPPING) {
		if (!orderly && a->stop_stage != STOP_KILLED && reason != VMM_END_RESET) {
			a->broken = true;
			(void)snprintf(a->reason, sizeof(a->reason), "%s", text);
		}
	} else if (!a->broken) {
		a->broken = true;
		(void)snprintf(a->reason, sizeof(a->reason), "%s: %s",
			a->state == AGENT_STARTING ? "the VM ended before the agent was ready"
						   : "the VM ended by itself",
			*text                                ? text
				: reason == VMM_END_RESET    ? "reset by the guest"
				: reason == VMM_END_POWEROFF ? "power-off by the guest"
							     : "it did not say why");
		add_console_tail(a);
	}
	/* Its own words count no more: it had none. */
	oom = agent_cgroup_oom(a, a->reason, sizeof(a->reason));
	agent_ended(a,
		oom                 ? AGENT_EV_OOM
			: a->broken ? AGENT_EV_BROKEN
				    : AGENT_EV_ENDED,
		a->reason);
}

void agent_break(struct agent *a, const char *fmt, ...)
{
	va_list ap;

	if (a->broken)
		return;
	a->broken = true;
	va_start(ap, fmt);
	(void)vsnprintf(a->reason, sizeof(a->reason), fmt, ap);
	va_end(ap);
	if (a->vmm) {
		if (a->state == AGENT_STARTING)
			add_console_tail(a);
		vmm_proc_kill(a->vmm); /* vmm_gone follows */
		return;
	}
	agent_ended(a, AGENT_EV_BROKEN, a->reason);
}

/* ---- deadlines ---- */

void agent_deadline_passed(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, deadline);

	if (a->state == AGENT_STARTING) {
		agent_break(a, "not ready within %llu s (start-timeout in the manifest)",
			(unsigned long long)(a->manifest.start_timeout_ns / CLOCK_NS_PER_S));
		return;
	}
	if (!a->vmm)
		return;
	if (a->stop_stage == STOP_ASKED && vmm_proc_quit(a->vmm) == 0) {
		a->stop_stage = STOP_QUIT;
		(void)snprintf(a->reason, sizeof(a->reason),
			"the guest did not end within its deadline; its VM was stopped");
		(void)loop_timer_set(a->sup->loop, t, QUIT_NS, 0);
		return;
	}
	a->stop_stage = STOP_KILLED;
	(void)snprintf(
		a->reason, sizeof(a->reason), "the VM did not end within its deadline; killed");
	vmm_proc_kill(a->vmm);
}

void agent_ask_to_end(struct agent *a, uint64_t grace_ns)
{
	uint64_t grace = grace_ns ? grace_ns : a->manifest.stop_timeout_ns;
	bool frozen = strcmp(a->row.paused, "panic") == 0;
	int r = -ENOTCONN;

	if (!frozen) {
		agent_needed(a);
		r = a->guest ? guest_link_shutdown(a->guest, grace) : -ENOTCONN;
	}
	/* One that was ready dials again when its stream is lost, and is asked then. */
	if (r == 0 || (!frozen && (a->adopted || a->health.since_ns))) {
		a->stop_stage = STOP_ASKED;
		a->stop_grace_ns = grace;
		(void)loop_timer_set(a->sup->loop, &a->deadline, grace + STOP_MARGIN_NS, 0);
		return;
	}
	/* Nobody in the guest to ask. */
	a->stop_stage = STOP_QUIT;
	if (vmm_proc_quit(a->vmm) < 0)
		vmm_proc_kill(a->vmm);
	(void)loop_timer_set(a->sup->loop, &a->deadline, QUIT_NS, 0);
}

/* ---- what the VMM and the guest say ---- */

static void vmm_running(void *user)
{
	agent_say(user, "the guest boots");
}

static void vmm_guest_connect(
	void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port)
{
	struct agent *a = user;
	int fd = -1;

	/*
	 * Default deny: a guest reaches its own two services and nothing else.
	 * An answer that does not get through is none: our end of the stream
	 * reads its end, the guest dials again, and a VMM that takes no answers
	 * is found out by vmm_proc.
	 */
	if (dst_cid == GUEST_CID_HOST && guest_link_accept(a->guest, dst_port, src_port, &fd) == 0)
		(void)vmm_proc_accept(a->vmm, id, fd);
	else
		(void)vmm_proc_refuse(a->vmm, id);
}

static void vmm_connected(void *user, uint64_t id, int result)
{
	agent_connected(user, id, result);
}

static int vmm_forked(void *user, const struct vmm_identity *id, struct kerr *e)
{
	return agent_boot_record(user, id, e);
}

static void vmm_attached(void *user, bool running, bool paused)
{
	(void)running;
	agent_attached(user, paused);
}

const struct vmm_proc_ops agent_vmm_ops = {
	.running = vmm_running,
	.guest_connect = vmm_guest_connect,
	.connected = vmm_connected,
	.gone = vmm_gone,
	.attached = vmm_attached,
	.forked = vmm_forked,
};

static void guest_ready(void *user)
{
	struct agent *a = user;
	struct kerr err = { 0 };

	if (a->state != AGENT_STARTING || a->broken)
		return;
	(void)loop_timer_set(a->sup->loop, &a->deadline, 0, 0);
	if (agent_move(a, AGENT_EV_READY, "", &err) < 0) {
		agent_break(a, "%s", err.msg);
		return;
	}
	agent_health_start(a, 0);
	agent_idle_start(a);
}

static void guest_beat(void *user)
{
	agent_health_beat(user);
}

/* It dialled again, and may not have heard that it is to end. */
static void guest_linked(void *user, bool up)
{
	struct agent *a = user;

	if (!up)
		return;
	agent_health_beat(a);
	if (a->state == AGENT_STOPPING && !a->broken && a->stop_stage == STOP_ASKED)
		(void)guest_link_shutdown(a->guest, a->stop_grace_ns);
}

static void guest_exited(void *user, int code, int signal)
{
	struct agent *a = user;
	char why[96];

	a->row.exit_code = code >= 0 ? code : 128 + signal;
	a->row.exit_signal = signal;
	if (a->state != AGENT_RUNNING || a->broken)
		return;
	if (code >= 0)
		(void)snprintf(why, sizeof(why), "the agent ended with code %d", code);
	else
		(void)snprintf(why, sizeof(why), "the agent was ended by signal %d", signal);
	agent_moved_for_real(a, AGENT_EV_EXITED, why);
	if (a->vmm)
		agent_ask_to_end(a, 0);
}

static void guest_fault(void *user, const char *text)
{
	struct agent *a = user;

	if (a->state == AGENT_STARTING || a->state == AGENT_RUNNING)
		agent_break(a, "%s", text);
}

const struct guest_link_ops agent_guest_ops = {
	.ready = guest_ready,
	.exited = guest_exited,
	.fault = guest_fault,
	.beat = guest_beat,
	.linked = guest_linked,
};
