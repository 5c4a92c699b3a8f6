#include <devices/virtio.h>

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include <base/cleanup.h>

/* Register layout: virtio 1.2, 4.2.2. Reserved and write-only registers read 0. */
#define MMIO_MAGIC         0x74726976u /* "virt" */
#define MMIO_VERSION       2u
#define MMIO_VENDOR        0x564d534bu /* "KSMV" */
#define MMIO_CONFIG_OFFSET VIRTIO_MMIO_CONFIG

#define FEATURE(bit) (UINT64_C(1) << (bit))

/*
 * What must have been set before, by an earlier write or (`same` write)
 * by this one, for a status bit to be taken (2.1, 3.1.1). A bit out of order
 * is dropped, which the driver sees when it reads the status back.
 */
static const struct status_rule {
	uint32_t bit;
	uint32_t before;
	uint32_t same;
} status_rules[] = {
	{ .bit = VIRTIO_CONFIG_S_ACKNOWLEDGE },
	{ .bit = VIRTIO_CONFIG_S_DRIVER, .same = VIRTIO_CONFIG_S_ACKNOWLEDGE },
	{ .bit = VIRTIO_CONFIG_S_FEATURES_OK, .before = VIRTIO_CONFIG_S_DRIVER },
	{ .bit = VIRTIO_CONFIG_S_DRIVER_OK, .before = VIRTIO_CONFIG_S_FEATURES_OK },
	{ .bit = VIRTIO_CONFIG_S_FAILED },
};

int virtio_dev_init(struct virtio_dev *dev, const struct gmem *mem, struct kerr *e)
{
	dev->mem = mem;
	dev->offered |= FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
		FEATURE(VIRTIO_RING_F_EVENT_IDX);
	dev->fail_log = (struct log_limit){ .burst = 3 };
	dev->irq = -1;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		dev->notify[i] = -1;
		virtq_init(&dev->queues[i], mem);
	}
	(void)pthread_mutex_init(&dev->lock, NULL);
	if (!dev->queue_count || dev->queue_count > VIRTIO_MAX_QUEUES)
		return kerr_set(e, EINVAL, "virtio device %u: %u queues, expected 1 to %u",
			dev->device_id, dev->queue_count, VIRTIO_MAX_QUEUES);

	dev->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dev->irq < 0)
		return kerr_errno(e, errno, "virtio device %u: eventfd", dev->device_id);
	for (unsigned i = 0; i < dev->queue_count; i++) {
		dev->notify[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->notify[i] < 0)
			return kerr_errno(e, errno, "virtio device %u: eventfd", dev->device_id);
	}
	return 0;
}

/* dev->lock held. */
static void dev_reset(struct virtio_dev *dev)
{
	if (dev->activated)
		dev->ops->reset(dev);
	dev->activated = false;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		virtq_reset(&dev->queues[i]);
		dev->setup[i] = (struct virtio_queue_setup){ 0 };
	}
	dev->features = 0;
	dev->driver_features = 0;
	dev->driver_features_bad = false;
	dev->device_features_sel = 0;
	dev->driver_features_sel = 0;
	dev->queue_sel = 0;
	atomic_store(&dev->interrupt_status, 0);
	atomic_store(&dev->status, 0);
}

void virtio_dev_done(struct virtio_dev *dev)
{
	if (!dev->mem) /* never initialised */
		return;
	(void)pthread_mutex_lock(&dev->lock);
	dev_reset(dev);
	(void)pthread_mutex_unlock(&dev->lock);
	(void)pthread_mutex_destroy(&dev->lock);
	close_fd(&dev->irq);
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		close_fd(&dev->notify[i]);
	dev->mem = NULL;
}

/* An eventfd whose counter is full has been signalled already. */
static void eventfd_signal(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n;
}

static void raise_irq(struct virtio_dev *dev, uint32_t why)
{
	atomic_fetch_or(&dev->interrupt_status, why);
	eventfd_signal(dev->irq);
}

void virtio_dev_signal_used(struct virtio_dev *dev, struct virtq *q)
{
	if (virtq_should_interrupt(q))
		raise_irq(dev, VIRTIO_MMIO_INT_VRING);
}

void virtio_dev_signal_config(struct virtio_dev *dev)
{
	atomic_fetch_add(&dev->config_generation, 1);
	if (atomic_load(&dev->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		raise_irq(dev, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_dev_fail(struct virtio_dev *dev, const char *why)
{
	uint32_t old = atomic_fetch_or(&dev->status, VIRTIO_CONFIG_S_NEEDS_RESET);

	if (old & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	if (log_limit_ok(&dev->fail_log))
		log_debug("virtio device %u needs a reset: %s", dev->device_id, why);
	/* 2.1.2: after DRIVER_OK the driver is told by a configuration change. */
	virtio_dev_signal_config(dev);
}

static void select_half(gpa_t *addr, bool high, uint32_t value)
{
	if (high)
		*addr = (*addr & UINT32_MAX) | (gpa_t)value << 32;
	else
		*addr = (*addr & ~(gpa_t)UINT32_MAX) | value;
}

static void write_driver_features(struct virtio_dev *dev, uint32_t value)
{
	uint32_t status = atomic_load(&dev->status);

	/* 3.1.1: between DRIVER and FEATURES_OK only. */
	if (!(status & VIRTIO_CONFIG_S_DRIVER) || (status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	if (dev->driver_features_sel > 1) {
		/* We offer nothing up there: accepting a bit of it is a fault we remember. */
		if (value)
			dev->driver_features_bad = true;
		return;
	}
	select_half(&dev->driver_features, dev->driver_features_sel == 1, value);
}

static bool features_acceptable(const struct virtio_dev *dev)
{
	return !dev->driver_features_bad && !(dev->driver_features & ~dev->offered) &&
		(dev->driver_features & FEATURE(VIRTIO_F_VERSION_1));
}

static void activate(struct virtio_dev *dev)
{
	int r = dev->ops->activate(dev);

	if (r < 0)
		virtio_dev_fail(dev, "it could not be activated");
	else
		dev->activated = true;
}

static void write_status(struct virtio_dev *dev, uint32_t value)
{
	uint32_t old = atomic_load(&dev->status);
	uint32_t added = 0;

	if (!value) {
		dev_reset(dev);
		return;
	}
	/* Bits are never cleared but by a reset (2.1.1); NEEDS_RESET is ours alone. */
	for (unsigned i = 0; i < array_size(status_rules); i++) {
		const struct status_rule *rule = &status_rules[i];

		if (!(value & rule->bit) || (old & rule->bit))
			continue;
		if ((old & rule->before) != rule->before ||
			((old | added) & rule->same) != rule->same)
			continue;
		if (rule->bit == VIRTIO_CONFIG_S_FEATURES_OK) {
			/* 2.2.2, 6.1: the driver reads back that it was refused. */
			if (!features_acceptable(dev))
				continue;
			dev->features = dev->driver_features;
		}
		added |= rule->bit;
	}
	/* The serving thread may add NEEDS_RESET at any moment. */
	atomic_fetch_or(&dev->status, added);
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		activate(dev);
}

/*
 * The selected queue if its set-up may still change: after FEATURES_OK,
 * before DRIVER_OK (3.1.1), NULL otherwise. Without VIRTIO_F_RING_RESET,
 * which is not offered, a running queue ends by device reset only.
 */
static struct virtio_queue_setup *changeable_setup(struct virtio_dev *dev)
{
	uint32_t status = atomic_load(&dev->status);

	if (dev->queue_sel >= dev->queue_count)
		return NULL;
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK) || (status & VIRTIO_CONFIG_S_DRIVER_OK))
		return NULL;
	return &dev->setup[dev->queue_sel];
}

static void write_queue_ready(struct virtio_dev *dev, uint32_t value)
{
	struct virtio_queue_setup *s = changeable_setup(dev);
	struct virtq *q;

	if (!s)
		return;
	q = &dev->queues[dev->queue_sel];
	if (!value) {
		virtq_reset(q);
		return;
	}
	if (s->num > VIRTQ_MAX_SIZE)
		return;
	/* A refusal is seen as QueueReady 0; a ready queue comes out as it was, with the same
	 * setup. */
	(void)virtq_enable(q, (uint16_t)s->num, s->desc, s->driver, s->device,
		dev->features & FEATURE(VIRTIO_RING_F_EVENT_IDX),
		dev->features & FEATURE(VIRTIO_RING_F_INDIRECT_DESC));
}

static void write_queue_setup(struct virtio_dev *dev, uint32_t offset, uint32_t value)
{
	struct virtio_queue_setup *s = changeable_setup(dev);

	/* 4.2.2.2: not while the queue is ready. */
	if (!s || dev->queues[dev->queue_sel].ready)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		s->num = value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		select_half(&s->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		select_half(&s->driver, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		select_half(&s->device, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	}
}

static uint32_t read_register(struct virtio_dev *dev, uint32_t offset)
{
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return dev->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		if (dev->device_features_sel > 1)
			return 0;
		return (uint32_t)(dev->offered >> (32 * dev->device_features_sel));
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return dev->queue_sel < dev->queue_count ? VIRTQ_MAX_SIZE : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return dev->queue_sel < dev->queue_count && dev->queues[dev->queue_sel].ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return atomic_load(&dev->interrupt_status);
	case VIRTIO_MMIO_STATUS:
		return atomic_load(&dev->status);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* no region of any id exists */
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return atomic_load(&dev->config_generation);
	default:
		return 0;
	}
}

static void write_register(struct virtio_dev *dev, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		dev->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_driver_features(dev, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		dev->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		dev->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		write_queue_ready(dev, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (value < dev->queue_count)
			eventfd_signal(dev->notify[value]);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		atomic_fetch_and(&dev->interrupt_status, ~value);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(dev, value);
		break;
	default:
		write_queue_setup(dev, offset, value);
		break;
	}
}

/* True for a whole access to the device's configuration space (4.2.2.2: width 1, 2, 4, 8). */
static bool config_access(uint64_t offset, uint32_t len)
{
	if (offset < MMIO_CONFIG_OFFSET || offset >= VIRTIO_MMIO_SIZE)
		return false;
	if (len != 1 && len != 2 && len != 4 && len != 8)
		return false;
	return len <= VIRTIO_MMIO_SIZE - offset;
}

/* 4.2.2.2: registers are 32 bits wide; a misaligned offset names none of them. */
static bool register_access(uint64_t offset, uint32_t len)
{
	return offset < MMIO_CONFIG_OFFSET && len == 4;
}

void virtio_mmio_read(struct virtio_dev *dev, uint64_t offset, void *buf, uint32_t len)
{
	memset(buf, 0, len);
	(void)pthread_mutex_lock(&dev->lock);
	if (config_access(offset, len)) {
		dev->ops->config_read(dev, (uint32_t)offset - MMIO_CONFIG_OFFSET, buf, len);
	} else if (register_access(offset, len)) {
		uint32_t value = htole32(read_register(dev, (uint32_t)offset));

		memcpy(buf, &value, sizeof(value));
	}
	(void)pthread_mutex_unlock(&dev->lock);
}

void virtio_mmio_write(struct virtio_dev *dev, uint64_t offset, const void *buf, uint32_t len)
{
	(void)pthread_mutex_lock(&dev->lock);
	if (config_access(offset, len)) {
		dev->ops->config_write(dev, (uint32_t)offset - MMIO_CONFIG_OFFSET, buf, len);
	} else if (register_access(offset, len)) {
		uint32_t value;

		memcpy(&value, buf, sizeof(value));
		write_register(dev, (uint32_t)offset, le32toh(value));
	}
	(void)pthread_mutex_unlock(&dev->lock);
}
