#include "vcpu.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include <linux/kvm.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <jail/lock.h>

#include "kvm.h"

/* A signal frame with all vector registers needs up to 12 KiB of it. */
#define VCPU_STACK ((size_t)64 << 10)

struct vcpu {
	struct vcpu_env *env;
	unsigned index;
	int fd;
	struct kvm_run *run;
	size_t run_len;
	pthread_t thread;
	bool started;
};

void vcpu_env_init(struct vcpu_env *env)
{
	(void)pthread_mutex_init(&env->lock, NULL);
	(void)pthread_cond_init(&env->changed, NULL);
}

void vcpu_env_done(struct vcpu_env *env)
{
	(void)pthread_cond_destroy(&env->changed);
	(void)pthread_mutex_destroy(&env->lock);
}

int vcpu_new(struct vcpu **ret, struct vcpu_env *env, int kvm_fd, int vm_fd, unsigned index,
	struct kerr *e)
{
	struct vcpu *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return kerr_errno(e, ENOMEM, "vCPU %u", index);
	v->env = env;
	v->index = index;
	r = kvm_create_vcpu(kvm_fd, vm_fd, index, &v->fd, &v->run, &v->run_len, e);
	if (r < 0) {
		free(v);
		return r;
	}
	*ret = v;
	return 0;
}

int vcpu_fd(const struct vcpu *v)
{
	return v->fd;
}

/*
 * One IN or OUT, or a block of them from REP INS/OUTS. An access wider
 * than a byte goes to consecutive ports, as on the bus these ports are on.
 */
static bool exit_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint64_t offset = run->io.data_offset;
	uint64_t bytes = (uint64_t)run->io.count * run->io.size;
	uint8_t *data = (uint8_t *)run + offset;

	if (offset > v->run_len || bytes > v->run_len - offset) {
		ending_report(v->env->ending, VMM_END_ERROR,
			"vCPU %u: KVM reports an I/O block outside its own page", v->index);
		return false;
	}
	for (uint64_t i = 0; i < bytes; i++) {
		uint64_t port = (uint16_t)(run->io.port + i % run->io.size);

		if (run->io.direction == KVM_EXIT_IO_IN)
			bus_read(v->env->ports, port, data + i, 1);
		else
			bus_write(v->env->ports, port, data + i, 1);
	}
	return true;
}

static bool exit_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	if (run->mmio.len == 0 || run->mmio.len > sizeof(run->mmio.data))
		return true;
	if (run->mmio.is_write)
		bus_write(v->env->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(v->env->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	return true;
}

static bool exit_system_event(struct vcpu *v)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		ending_report(v->env->ending, VMM_END_POWEROFF, "powered off");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		ending_report(v->env->ending, VMM_END_RESET, "reset");
		break;
	default:
		ending_report(v->env->ending, VMM_END_RESET, "vCPU %u: system event %u", v->index,
			v->run->system_event.type);
	}
	return false;
}

static const char *suberror_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "an instruction it cannot emulate";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "simultaneous exceptions";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "a fault while delivering an event";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "an unexpected exit of the processor";
	default:
		return "of no known kind";
	}
}

/* The bytes KVM could not emulate, where it gives them (since Linux 5.14). */
static void format_bytes(const struct kvm_run *run, char *buf, size_t len)
{
	size_t used = 0;

	buf[0] = '\0';
	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION ||
		run->emulation_failure.ndata < 3 ||
		!(run->emulation_failure.flags &
			KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return;
	used += (size_t)snprintf(buf, len, ", bytes");
	for (size_t i = 0; i < run->emulation_failure.insn_size && i < 15; i++)
		used += (size_t)snprintf(
			buf + used, len - used, " %02x", run->emulation_failure.insn_bytes[i]);
}

static bool exit_error(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct kvm_regs regs = { 0 };
	char bytes[64] = "";

	(void)ioctl(v->fd, KVM_GET_REGS, &regs);
	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		format_bytes(run, bytes, sizeof(bytes));
		ending_report(v->env->ending, VMM_END_ERROR,
			"vCPU %u: KVM internal error, suberror %u (%s), at rip 0x%llx%s", v->index,
			run->internal.suberror, suberror_name(run->internal.suberror),
			(unsigned long long)regs.rip, bytes);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		ending_report(v->env->ending, VMM_END_ERROR,
			"vCPU %u: the processor refused to enter the guest, reason 0x%llx, at rip "
			"0x%llx",
			v->index, (unsigned long long)run->fail_entry.hardware_entry_failure_reason,
			(unsigned long long)regs.rip);
		break;
	case KVM_EXIT_SHUTDOWN:
		ending_report(v->env->ending, VMM_END_RESET, "vCPU %u: triple fault at rip 0x%llx",
			v->index, (unsigned long long)regs.rip);
		break;
	default:
		ending_report(v->env->ending, VMM_END_ERROR,
			"vCPU %u: KVM exit %u is not handled, at rip 0x%llx", v->index,
			run->exit_reason, (unsigned long long)regs.rip);
	}
	return false;
}

/* KVM_RUN came back with an errno. True: enter again. */
static bool run_failed(struct vcpu *v, int code)
{
	/* EAGAIN: a parked processor was woken. */
	if (code == EINTR || code == EAGAIN)
		return true;
	ending_report(
		v->env->ending, VMM_END_ERROR, "vCPU %u: KVM_RUN: %s", v->index, strerror(code));
	return false;
}

/* Enters the guest once; false: this vCPU is through. */
static bool run_once(struct vcpu *v)
{
	if (ioctl(v->fd, KVM_RUN, 0) < 0)
		return run_failed(v, errno);
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		return exit_io(v);
	case KVM_EXIT_MMIO:
		return exit_mmio(v);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SYSTEM_EVENT:
		return exit_system_event(v);
	default:
		return exit_error(v);
	}
}

static void kicked(int signo)
{
	(void)signo;
}

/* Between two entries: waits while it is held. False: this vCPU is through. */
static bool may_enter(struct vcpu *v)
{
	struct vcpu_env *env = v->env;
	bool enter;

	/* Whoever has a wish has set it too. */
	if (!__atomic_load_n(&v->run->immediate_exit, __ATOMIC_SEQ_CST))
		return true;
	(void)pthread_mutex_lock(&env->lock);
	if (env->held && !env->stop) {
		env->busy--;
		(void)pthread_cond_broadcast(&env->changed);
		while (env->held && !env->stop)
			(void)pthread_cond_wait(&env->changed, &env->lock);
		env->busy++;
	}
	enter = !env->stop;
	if (enter)
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	(void)pthread_mutex_unlock(&env->lock);
	return enter;
}

static void through(struct vcpu *v)
{
	(void)pthread_mutex_lock(&v->env->lock);
	v->env->busy--;
	(void)pthread_cond_broadcast(&v->env->changed);
	(void)pthread_mutex_unlock(&v->env->lock);
}

static bool locked(struct vcpu *v)
{
	struct kerr e = { 0 };

	if (jail_lock_thread(v->env->confine, JAIL_THREAD_VCPU, &e) == 0)
		return true;
	ending_report(v->env->ending, VMM_END_ERROR, "vCPU %u: %s", v->index, e.msg);
	return false;
}

/*
 * No kick is lost: immediate_exit is set before the signal is sent. A
 * signal before KVM_RUN is followed by an entry that returns at once; a
 * signal inside it interrupts it.
 */
static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	char name[16];
	sigset_t set;

	(void)snprintf(name, sizeof(name), "vcpu%u", v->index);
	(void)pthread_setname_np(pthread_self(), name);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGRTMIN);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (locked(v)) {
		while (may_enter(v) && run_once(v))
			;
	}
	through(v);
	return NULL;
}

/* The thread starts with every signal blocked; vcpu_main lets the kick in. */
static int create_thread(struct vcpu *v)
{
	pthread_attr_t attr;
	sigset_t all;
	sigset_t old;
	int code;

	(void)sigfillset(&all);
	code = pthread_attr_init(&attr);
	if (code != 0)
		return code;
	code = pthread_attr_setstacksize(&attr, VCPU_STACK);
	if (code == 0) {
		(void)pthread_sigmask(SIG_SETMASK, &all, &old);
		code = pthread_create(&v->thread, &attr, vcpu_main, v);
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	(void)pthread_attr_destroy(&attr);
	return code;
}

int vcpu_start(struct vcpu *v, struct kerr *e)
{
	struct sigaction sa = { .sa_handler = kicked };
	int code;

	if (sigaction(SIGRTMIN, &sa, NULL) < 0)
		return kerr_errno(e, errno, "sigaction");
	(void)pthread_mutex_lock(&v->env->lock);
	v->env->busy++;
	(void)pthread_mutex_unlock(&v->env->lock);
	code = create_thread(v);
	if (code != 0)
		through(v);
	if (code != 0)
		return kerr_errno(e, code, "thread of vCPU %u", v->index);
	v->started = true;
	return 0;
}

/* env->lock held. The thread is there until vcpu_free has joined it. */
static void kick(struct vcpu *const *vcpus, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (!vcpus[i]->started)
			continue;
		__atomic_store_n(&vcpus[i]->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		(void)pthread_kill(vcpus[i]->thread, SIGRTMIN);
	}
}

void vcpus_stop(struct vcpu_env *env, struct vcpu *const *vcpus, unsigned count)
{
	(void)pthread_mutex_lock(&env->lock);
	env->stop = true;
	kick(vcpus, count);
	(void)pthread_cond_broadcast(&env->changed);
	(void)pthread_mutex_unlock(&env->lock);
}

void vcpus_hold(struct vcpu_env *env, struct vcpu *const *vcpus, unsigned count)
{
	(void)pthread_mutex_lock(&env->lock);
	env->held = true;
	kick(vcpus, count);
	while (env->busy > 0)
		(void)pthread_cond_wait(&env->changed, &env->lock);
	(void)pthread_mutex_unlock(&env->lock);
}

void vcpus_go(struct vcpu_env *env, struct vcpu *const *vcpus, unsigned count)
{
	/* The guest's watchdogs are told that time went by without it (KVM API 4.52). */
	for (unsigned i = 0; i < count; i++)
		(void)ioctl(vcpus[i]->fd, KVM_KVMCLOCK_CTRL, 0);
	(void)pthread_mutex_lock(&env->lock);
	env->held = false;
	(void)pthread_cond_broadcast(&env->changed);
	(void)pthread_mutex_unlock(&env->lock);
}

uint64_t vcpu_cpu_ns(const struct vcpu *v)
{
	struct timespec ts;
	clockid_t clock;

	if (!v->started || pthread_getcpuclockid(v->thread, &clock) != 0 ||
		clock_gettime(clock, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

void vcpu_free(struct vcpu *v)
{
	if (!v)
		return;
	if (v->started)
		(void)pthread_join(v->thread, NULL);
	(void)munmap(v->run, v->run_len);
	close_fd(&v->fd);
	free(v);
}
