#include "machine_devices.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <devices/throttle.h>
#include <devices/virtio_blk.h>
#include <devices/virtio_rng.h>
#include <wire/guest_proto.h>

#include "kvm.h"

#define SERIAL_GSI 4

/* Descriptors of a machine with everything in it, and those of a message that arrives. */
#define OWN_FDS     192u
#define MIN_STREAMS 16u
#define MAX_STREAMS 1024u

static int add_serial(
	struct machine_devices *d, const struct machine_devices_config *cfg, struct kerr *e)
{
	int index = cfg->board->serial_fd;
	struct serial_config serial = { .out_fd = -1, .max_bytes = cfg->board->serial_limit };
	int r;

	d->serial_irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->serial_irq < 0)
		return kerr_errno(e, errno, "eventfd");
	serial.irq_fd = d->serial_irq;
	if (index != BOARD_NO_FD)
		serial.out_fd = cfg->fds[index];
	r = serial_new(&d->serial, &serial, e);
	if (r < 0)
		return kerr_wrap(e, "serial console");
	if (index != BOARD_NO_FD)
		cfg->fds[index] = -1;
	return kvm_add_irqfd(cfg->vm_fd, d->serial_irq, SERIAL_GSI, e);
}

static int new_blk(struct machine_slot *slot, const struct machine_devices_config *cfg,
	const struct board_slot *s, struct kerr *e)
{
	struct virtio_blk_config blk = {
		.fd = cfg->fds[s->fd],
		.size = s->size,
		.read_only = s->read_only,
		.throttle = cfg->disks,
		.on_thread = cfg->on_thread,
		.user = cfg->user,
	};
	struct virtio_blk *b;
	int r;

	memcpy(blk.serial, s->serial, strnlen(s->serial, sizeof(blk.serial)));
	r = virtio_blk_new(&b, cfg->mem, &blk, e);
	if (r < 0)
		return r;
	cfg->fds[s->fd] = -1;
	slot->device = b;
	slot->dev = virtio_blk_dev(b);
	return 0;
}

/*
 * Each stream is a descriptor. The guest opens as many as it may, and the
 * next message of kosvmd must still find room for what it carries.
 */
static unsigned max_streams(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= OWN_FDS + MAX_STREAMS)
		return MAX_STREAMS;
	if (files.rlim_cur < OWN_FDS + MIN_STREAMS)
		return MIN_STREAMS;
	return (unsigned)files.rlim_cur - OWN_FDS;
}

static int new_vsock(struct machine_slot *slot, const struct machine_devices_config *cfg,
	const struct board_slot *s, struct kerr *e)
{
	struct virtio_vsock_config vsock = {
		.guest_cid = s->cid,
		.max_conns = max_streams(),
		.rate = cfg->board->vsock_rate,
		.control_port = GUEST_PORT_CONTROL,
		.ops = cfg->vsock_ops,
		.user = cfg->user,
	};
	struct virtio_vsock *v;
	int r = virtio_vsock_new(&v, cfg->mem, cfg->loop, &vsock, e);

	if (r < 0)
		return r;
	slot->device = v;
	slot->dev = virtio_vsock_dev(v);
	return 0;
}

static int new_rng(struct machine_slot *slot, const struct machine_devices_config *cfg,
	const struct board_slot *s, struct kerr *e)
{
	struct virtio_rng *rng;
	int r = virtio_rng_new(&rng, cfg->mem, cfg->loop, e);

	(void)s;
	if (r < 0)
		return r;
	slot->device = rng;
	slot->dev = virtio_rng_dev(rng);
	return 0;
}

static void free_blk(void *device)
{
	virtio_blk_free(device);
}

static void free_vsock(void *device)
{
	virtio_vsock_free(device);
}

static void free_rng(void *device)
{
	virtio_rng_free(device);
}

static void hold_blk(void *device, bool held)
{
	virtio_blk_hold(device, held);
}

static void hold_vsock(void *device, bool held)
{
	virtio_vsock_hold(device, held);
}

static void hold_rng(void *device, bool held)
{
	virtio_rng_hold(device, held);
}

static void blk_stats(const void *device, struct vmm_stats *ret)
{
	struct virtio_blk_stats s;

	virtio_blk_get_stats((struct virtio_blk *)device, &s);
	ret->blk_read_bytes += s.read_bytes;
	ret->blk_write_bytes += s.written_bytes;
	ret->blk_read_ops += s.read_ops;
	ret->blk_write_ops += s.write_ops;
	ret->blk_flushes += s.flushes;
	ret->blk_errors += s.errors;
}

static void vsock_stats(const void *device, struct vmm_stats *ret)
{
	struct virtio_vsock_stats s;

	virtio_vsock_get_stats((struct virtio_vsock *)device, &s);
	ret->vsock_rx_bytes += s.rx_bytes;
	ret->vsock_tx_bytes += s.tx_bytes;
	ret->vsock_open += s.conns_open;
	ret->vsock_total += s.conns_total;
}

static const struct {
	int (*create)(struct machine_slot *slot, const struct machine_devices_config *cfg,
		const struct board_slot *s, struct kerr *e);
	void (*free)(void *device);
	void (*hold)(void *device, bool held);
	void (*stats)(const void *device, struct vmm_stats *ret); /* NULL: nothing to count */
} kinds[] = {
	[BOARD_BLK] = { new_blk, free_blk, hold_blk, blk_stats },
	[BOARD_VSOCK] = { new_vsock, free_vsock, hold_vsock, vsock_stats },
	[BOARD_RNG] = { new_rng, free_rng, hold_rng, NULL },
};

static void window_read(void *user, uint64_t offset, void *buf, uint32_t len)
{
	virtio_mmio_read(user, offset, buf, len);
}

static void window_write(void *user, uint64_t offset, const void *buf, uint32_t len)
{
	virtio_mmio_write(user, offset, buf, len);
}

static int wire_slot(struct virtio_dev *dev, const struct machine_devices_config *cfg,
	const struct board_slot *s, struct bus *mmio, struct kerr *e)
{
	struct bus_window window = {
		.base = s->mmio,
		.len = VIRTIO_MMIO_SIZE,
		.user = dev,
		.read = window_read,
		.write = window_write,
	};
	int r = bus_add(mmio, &window);

	if (r < 0)
		return kerr_errno(e, -r, "register window");
	r = kvm_add_irqfd(cfg->vm_fd, dev->irq, s->gsi, e);
	for (unsigned q = 0; q < dev->queue_count && r == 0; q++)
		r = kvm_add_ioeventfd(
			cfg->vm_fd, dev->notify[q], s->mmio + VIRTIO_MMIO_NOTIFY, q, e);
	return r;
}

static int add_slot(struct machine_devices *d, const struct machine_devices_config *cfg,
	const struct board_slot *s, struct bus *mmio, struct kerr *e)
{
	struct machine_slot *slot = &d->slots[d->count];
	int r = kinds[s->device].create(slot, cfg, s, e);

	if (r == 0) {
		slot->kind = s->device;
		d->count++;
		if (s->device == BOARD_VSOCK)
			d->vsock = slot->device;
		r = wire_slot(slot->dev, cfg, s, mmio, e);
	}
	if (r < 0)
		return kerr_wrap(e, "virtio@%llx", (unsigned long long)s->mmio);
	return 0;
}

int machine_devices_init(struct machine_devices *d, const struct machine_devices_config *cfg,
	struct bus *mmio, struct kerr *e)
{
	struct machine_devices_config with_disks = *cfg;
	int r;

	d->disks = throttle_new(NULL);
	if (!d->disks)
		return kerr_errno(e, ENOMEM, "devices");
	throttle_set(d->disks, &cfg->board->disk_rate);
	with_disks.disks = d->disks;
	r = add_serial(d, cfg, e);
	for (unsigned i = 0; i < cfg->board->slot_count && r == 0; i++)
		r = add_slot(d, &with_disks, &cfg->board->slots[i], mmio, e);
	return r;
}

void machine_devices_limit(
	struct machine_devices *d, const struct rate_limit *disk, const struct rate_limit *vsock)
{
	throttle_set(d->disks, disk);
	for (unsigned i = 0; i < d->count; i++) {
		if (d->slots[i].kind == BOARD_BLK)
			virtio_blk_nudge(d->slots[i].device);
	}
	if (d->vsock)
		virtio_vsock_set_rate(d->vsock, vsock);
}

void machine_devices_hold(struct machine_devices *d, bool held)
{
	for (unsigned i = 0; i < d->count; i++)
		kinds[d->slots[i].kind].hold(d->slots[i].device, held);
}

void machine_devices_stats(const struct machine_devices *d, struct vmm_stats *ret)
{
	for (unsigned i = 0; i < d->count; i++) {
		const struct machine_slot *slot = &d->slots[i];

		if (kinds[slot->kind].stats)
			kinds[slot->kind].stats(slot->device, ret);
	}
}

void machine_devices_done(struct machine_devices *d)
{
	while (d->count > 0) {
		struct machine_slot *slot = &d->slots[--d->count];

		kinds[slot->kind].free(slot->device);
	}
	d->vsock = NULL;
	throttle_free(d->disks);
	d->disks = NULL;
	serial_free(d->serial);
	d->serial = NULL;
	close_fd(&d->serial_irq);
}
