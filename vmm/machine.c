#include "machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <jail/lock.h>

#include "bus.h"
#include "ending.h"
#include "kvm.h"
#include "machine_devices.h"
#include "memory.h"
#include "vcpu.h"
#include "x86_64/boot.h"
#include "x86_64/cpu.h"
#include "x86_64/ports.h"

struct machine {
	struct loop *loop;
	const struct machine_ops *ops;
	void *user;
	int vm_fd;
	struct gmem mem;
	struct bus ports;
	struct bus mmio;
	struct machine_devices devices;
	struct ending ending;
	struct loop_fd ending_watch;
	struct vcpu_env env;
	uint32_t confine; /* BOARD_CONFINE_* */
	bool held;
	unsigned vcpu_count;
	struct vcpu *vcpus[BOARD_MAX_VCPUS];
};

static void on_ending(struct loop_fd *w, uint32_t events)
{
	struct machine *m = container_of(w, struct machine, ending_watch);
	const char *text;
	enum vmm_end reason = ending_get(&m->ending, &text);

	(void)events;
	loop_fd_del(w);
	m->ops->ended(m->user, reason, text);
}

static void on_guest_connect(
	void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port)
{
	struct machine *m = user;

	m->ops->guest_connect(m->user, id, dst_cid, dst_port, src_port);
}

static void on_connect_done(void *user, uint64_t id, int result)
{
	struct machine *m = user;

	m->ops->connect_done(m->user, id, result);
}

static const struct virtio_vsock_ops vsock_ops = {
	.guest_connect = on_guest_connect,
	.connect_done = on_connect_done,
};

static int load_guest(struct machine *m, const struct board *b, const int *fds,
	struct boot_entry *entry, struct kerr *e)
{
	int initrd = b->initrd_fd == BOARD_NO_FD ? -1 : fds[b->initrd_fd];
	int r = boot_load_kernel(&m->mem, fds[b->kernel_fd], b->kernel_size, entry, e);

	if (r < 0)
		return r;
	return boot_write_tables(&m->mem, b, entry, initrd, e);
}

/* A block device's thread, first of all. */
static int on_thread(void *user)
{
	struct machine *m = user;
	struct kerr e = { 0 };
	int r = jail_lock_thread(m->confine, JAIL_THREAD_BLOCK, &e);

	if (r < 0)
		ending_report(&m->ending, VMM_END_ERROR, "block device: %s", e.msg);
	return r;
}

static int add_devices(struct machine *m, const struct board *b, int *fds, struct kerr *e)
{
	const struct machine_devices_config cfg = {
		.vm_fd = m->vm_fd,
		.loop = m->loop,
		.mem = &m->mem,
		.board = b,
		.fds = fds,
		.on_thread = on_thread,
		.vsock_ops = &vsock_ops,
		.user = m,
	};
	int r = machine_devices_init(&m->devices, &cfg, &m->mmio, e);

	return r < 0 ? r : ports_add(&m->ports, m->devices.serial, &m->ending, e);
}

static int add_vcpus(struct machine *m, const struct board *b, int kvm_fd,
	const struct boot_entry *entry, struct kerr *e)
{
	m->env.ports = &m->ports;
	m->env.mmio = &m->mmio;
	m->env.ending = &m->ending;
	m->env.confine = m->confine;
	for (unsigned i = 0; i < b->vcpus; i++) {
		int r = vcpu_new(&m->vcpus[i], &m->env, kvm_fd, m->vm_fd, i, e);

		if (r < 0)
			return r;
		m->vcpu_count++;
		r = cpu_setup(kvm_fd, vcpu_fd(m->vcpus[i]), i, b->vcpus, entry, e);
		if (r < 0)
			return kerr_wrap(e, "vCPU %u", i);
	}
	return 0;
}

/* Memory is set before the irqchip is made: creation is faster that way round. */
static int build(struct machine *m, const struct board *b, int *fds, struct kerr *e)
{
	int kvm_fd = fds[b->kvm_fd];
	struct boot_entry entry;
	int r = ending_init(&m->ending, e);

	if (r == 0) {
		m->ending_watch.fn = on_ending;
		r = loop_fd_add(m->loop, &m->ending_watch, m->ending.event, EPOLLIN);
	}
	if (r == 0)
		r = kvm_check(kvm_fd, e);
	if (r == 0)
		r = memory_map(&m->mem, b->memory, e);
	if (r == 0)
		r = load_guest(m, b, fds, &entry, e);
	if (r == 0)
		r = kvm_create_vm(kvm_fd, &m->vm_fd, e);
	if (r == 0)
		r = kvm_set_memory(m->vm_fd, &m->mem, e);
	if (r == 0)
		r = kvm_create_irqchip(m->vm_fd, e);
	if (r == 0)
		r = add_devices(m, b, fds, e);
	if (r == 0)
		r = add_vcpus(m, b, kvm_fd, &entry, e);
	return r;
}

int machine_new(struct machine **ret, struct loop *loop, const struct board *b, int *fds,
	size_t nfds, const struct machine_ops *ops, void *user, struct kerr *e)
{
	struct machine *m = calloc(1, sizeof(*m));
	int r = -ENOMEM;

	if (m) {
		m->loop = loop;
		m->ops = ops;
		m->user = user;
		m->vm_fd = -1;
		m->confine = b->confine;
		m->ending.event = -1;
		m->ending_watch.fd = -1;
		m->devices.serial_irq = -1;
		vcpu_env_init(&m->env);
		r = build(m, b, fds, e);
	} else {
		(void)kerr_errno(e, ENOMEM, "machine");
	}
	/* What no device took over has served its purpose: /dev/kvm, kernel, initramfs. */
	for (size_t i = 0; i < nfds; i++)
		close_fd(&fds[i]);
	if (r < 0) {
		machine_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

int machine_start(struct machine *m, struct kerr *e)
{
	for (unsigned i = 0; i < m->vcpu_count; i++) {
		int r = vcpu_start(m->vcpus[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* vCPUs first, devices last; the other way round on the way back. */
void machine_hold(struct machine *m, bool held)
{
	if (held == m->held)
		return;
	m->held = held;
	if (held)
		vcpus_hold(&m->env, m->vcpus, m->vcpu_count);
	machine_devices_hold(&m->devices, held);
	if (!held)
		vcpus_go(&m->env, m->vcpus, m->vcpu_count);
}

bool machine_held(const struct machine *m)
{
	return m->held;
}

void machine_stats(const struct machine *m, struct vmm_stats *ret)
{
	*ret = (struct vmm_stats){ 0 };
	for (unsigned i = 0; i < m->vcpu_count; i++)
		ret->vcpu_ns += vcpu_cpu_ns(m->vcpus[i]);
	machine_devices_stats(&m->devices, ret);
}

void machine_limit(struct machine *m, const struct rate_limit *disk, const struct rate_limit *vsock)
{
	machine_devices_limit(&m->devices, disk, vsock);
}

static void stop_vcpus(struct machine *m)
{
	vcpus_stop(&m->env, m->vcpus, m->vcpu_count);
	while (m->vcpu_count > 0)
		vcpu_free(m->vcpus[--m->vcpu_count]);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	stop_vcpus(m);
	machine_devices_done(&m->devices);
	loop_fd_del(&m->ending_watch);
	ending_done(&m->ending);
	close_fd(&m->vm_fd);
	memory_unmap(&m->mem);
	vcpu_env_done(&m->env);
	free(m);
}

struct virtio_vsock *machine_vsock(struct machine *m)
{
	return m->devices.vsock;
}

size_t machine_console_tail(struct machine *m, char *buf, size_t len)
{
	return serial_tail(m->devices.serial, buf, len);
}
