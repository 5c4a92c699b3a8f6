#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <base/cleanup.h>

#include "mock_ring.h"

#define ACK         VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER      VIRTIO_CONFIG_S_DRIVER
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define DRIVER_OK   VIRTIO_CONFIG_S_DRIVER_OK
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define FAILED      VIRTIO_CONFIG_S_FAILED
#define BIT64(n)    (UINT64_C(1) << (n))
#define ALL         (~UINT64_C(0))
#define QUEUE_RESET 0x0c0 /* not in the kernel's header */

/* A device that records what the transport does with it. */
struct probe {
	struct virtio_dev dev;
	unsigned activations, resets;
	int activate_result;
	bool queue_ready_at_reset;
	uint8_t config[8];
};

static struct probe p;
static struct mock_mem mem;
static struct mock_ring ring;

static int probe_activate(struct virtio_dev *dev)
{
	ck_assert_ptr_eq(dev, &p.dev);
	p.activations++;
	return p.activate_result;
}

static void probe_reset(struct virtio_dev *dev)
{
	p.resets++;
	p.queue_ready_at_reset = dev->queues[0].ready;
}

static void probe_config_read(struct virtio_dev *dev, uint32_t offset, void *buf, uint32_t len)
{
	(void)dev;
	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = offset + i < 8 ? p.config[offset + i] : 0xee;
}

static void probe_config_write(
	struct virtio_dev *dev, uint32_t offset, const void *buf, uint32_t len)
{
	(void)dev;
	for (uint32_t i = 0; i < len && offset + i < 8; i++)
		p.config[offset + i] = ((const uint8_t *)buf)[i];
}

static const struct virtio_dev_ops probe_ops = {
	.activate = probe_activate,
	.reset = probe_reset,
	.config_read = probe_config_read,
	.config_write = probe_config_write,
};

static void setup(void)
{
	mock_mem_init(&mem, 1 << 20);
	mock_ring_init(&ring, &mem, 16);
	p = (struct probe){
		.dev = { .ops = &probe_ops, .device_id = 42, .offered = 0x5, .queue_count = 2 },
		.config = { 1, 2, 3, 4, 5, 6, 7, 8 },
	};
	ck_assert_int_eq(virtio_dev_init(&p.dev, &mem.gmem, NULL), 0);
}

static void teardown(void)
{
	virtio_dev_done(&p.dev);
	mock_mem_done(&mem);
}

static uint32_t rd(uint32_t offset)
{
	return mock_reg_read(&p.dev, offset);
}

static void wr(uint32_t offset, uint32_t value)
{
	mock_reg_write(&p.dev, offset, value);
}

static uint32_t set_status(uint32_t value)
{
	wr(VIRTIO_MMIO_STATUS, value);
	return rd(VIRTIO_MMIO_STATUS);
}

static void accept_features(uint64_t bits)
{
	for (uint32_t half = 0; half < 2; half++) {
		wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		wr(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(bits >> (32 * half)));
	}
}

static void bring_up(void)
{
	ck_assert(mock_driver_negotiate(&p.dev, ALL));
	ck_assert(mock_driver_queue(&p.dev, 0, &ring));
	ck_assert(mock_driver_ok(&p.dev));
}

START_TEST(identity)
{
	ck_assert_uint_eq(rd(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_VERSION), 2);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_ID), 42);
	ck_assert_uint_ne(rd(VIRTIO_MMIO_VENDOR_ID), 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0);
}
END_TEST

START_TEST(init_refuses_bad_queue_counts)
{
	struct virtio_dev d = { .ops = &probe_ops, .queue_count = VIRTIO_MAX_QUEUES + 1 };
	struct kerr e = { 0 };

	ck_assert_int_eq(virtio_dev_init(&d, &mem.gmem, &e), -EINVAL);
	ck_assert_int_eq(e.code, EINVAL);
	virtio_dev_done(&d);
	d = (struct virtio_dev){ .ops = &probe_ops };
	ck_assert_int_eq(virtio_dev_init(&d, &mem.gmem, NULL), -EINVAL);
	virtio_dev_done(&d);
	d = (struct virtio_dev){ 0 };
	virtio_dev_done(&d);
}
END_TEST

START_TEST(feature_windows)
{
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES),
		0x5 | 1u << VIRTIO_RING_F_INDIRECT_DESC | 1u << VIRTIO_RING_F_EVENT_IDX);
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES), 1); /* VERSION_1 */
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0xffffffff);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES), 0);
}
END_TEST

START_TEST(negotiation)
{
	ck_assert(mock_driver_negotiate(&p.dev, 0x1));
	ck_assert_uint_eq(p.dev.features, 0x1 | BIT64(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(p.activations, 0);
}
END_TEST

START_TEST(features_not_offered_are_refused)
{
	(void)set_status(ACK | DRIVER);
	accept_features(0x2 | BIT64(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(set_status(ACK | DRIVER | FEATURES_OK), ACK | DRIVER);
	/* The driver may think again. */
	accept_features(0x4 | BIT64(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(set_status(ACK | DRIVER | FEATURES_OK), ACK | DRIVER | FEATURES_OK);
}
END_TEST

START_TEST(high_features_not_offered_are_refused)
{
	(void)set_status(ACK | DRIVER);
	accept_features(BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_RING_RESET));
	ck_assert_uint_eq(set_status(ACK | DRIVER | FEATURES_OK), ACK | DRIVER);
}
END_TEST

START_TEST(features_beyond_64_are_refused)
{
	(void)set_status(ACK | DRIVER);
	accept_features(BIT64(VIRTIO_F_VERSION_1));
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, 0);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 3);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, 1);
	ck_assert_uint_eq(set_status(ACK | DRIVER | FEATURES_OK), ACK | DRIVER);
	ck_assert(mock_driver_negotiate(&p.dev, ALL));
}
END_TEST

START_TEST(legacy_driver_is_refused)
{
	(void)set_status(ACK | DRIVER);
	accept_features(0x5);
	ck_assert_uint_eq(set_status(ACK | DRIVER | FEATURES_OK), ACK | DRIVER);
}
END_TEST

START_TEST(features_are_fixed_after_features_ok)
{
	ck_assert(mock_driver_negotiate(&p.dev, 0x1));
	accept_features(0x5 | BIT64(VIRTIO_F_VERSION_1));
	(void)set_status(ACK | DRIVER | FEATURES_OK);
	ck_assert_uint_eq(p.dev.features, 0x1 | BIT64(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(p.dev.driver_features, 0x1 | BIT64(VIRTIO_F_VERSION_1));
}
END_TEST

START_TEST(features_need_a_driver)
{
	accept_features(BIT64(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(p.dev.driver_features, 0);
}
END_TEST

START_TEST(status_out_of_order_is_dropped)
{
	ck_assert_uint_eq(set_status(DRIVER), 0);
	ck_assert_uint_eq(set_status(FEATURES_OK), 0);
	ck_assert_uint_eq(set_status(DRIVER_OK), 0);
	ck_assert_uint_eq(set_status(ACK), ACK);
	ck_assert_uint_eq(set_status(ACK | FEATURES_OK), ACK);
	ck_assert_uint_eq(set_status(ACK | DRIVER | DRIVER_OK), ACK | DRIVER);
	accept_features(BIT64(VIRTIO_F_VERSION_1));
	/* Both at once: the driver could not have read FEATURES_OK back (3.1.1). */
	ck_assert_uint_eq(
		set_status(ACK | DRIVER | FEATURES_OK | DRIVER_OK), ACK | DRIVER | FEATURES_OK);
	ck_assert_uint_eq(p.activations, 0);
}
END_TEST

START_TEST(status_bits_are_not_cleared)
{
	ck_assert_uint_eq(set_status(ACK | DRIVER), ACK | DRIVER);
	ck_assert_uint_eq(set_status(ACK), ACK | DRIVER);
	ck_assert_uint_eq(set_status(FAILED), ACK | DRIVER | FAILED);
	ck_assert_uint_eq(set_status(0), 0);
}
END_TEST

START_TEST(driver_cannot_set_needs_reset_or_reserved_bits)
{
	ck_assert_uint_eq(set_status(NEEDS_RESET | 0x20 | 0xffffff00), 0);
}
END_TEST

START_TEST(activation_happens_once)
{
	bring_up();
	ck_assert_uint_eq(p.activations, 1);
	(void)set_status(0xf);
	ck_assert_uint_eq(p.activations, 1);
	ck_assert(p.dev.queues[0].ready);
	ck_assert(!p.dev.queues[1].ready);
	ck_assert(p.dev.queues[0].event_idx);
	ck_assert(p.dev.queues[0].indirect);
}
END_TEST

START_TEST(ring_features_follow_negotiation)
{
	ck_assert(mock_driver_negotiate(&p.dev, 0));
	ck_assert(mock_driver_queue(&p.dev, 0, &ring));
	ck_assert(!p.dev.queues[0].event_idx);
	ck_assert(!p.dev.queues[0].indirect);
}
END_TEST

START_TEST(failed_activation_needs_reset)
{
	p.activate_result = -EIO;
	ck_assert(mock_driver_negotiate(&p.dev, ALL));
	ck_assert(!mock_driver_ok(&p.dev));
	ck_assert_uint_ne(rd(VIRTIO_MMIO_STATUS) & NEEDS_RESET, 0);
	ck_assert_uint_eq(set_status(0), 0);
	ck_assert_uint_eq(p.resets, 0); /* there was nothing to stop */
}
END_TEST

START_TEST(reset_forgets_everything)
{
	bring_up();
	virtio_dev_signal_config(&p.dev);
	mock_driver_reset(&p.dev);
	ck_assert_uint_eq(p.resets, 1);
	ck_assert(p.queue_ready_at_reset); /* stopped before its queues went */
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert_uint_eq(p.dev.features, 0);
	ck_assert_uint_eq(p.dev.setup[0].num, 0);
	mock_driver_reset(&p.dev);
	ck_assert_uint_eq(p.resets, 1);
	mock_ring_clear(&ring);
	bring_up();
	ck_assert_uint_eq(p.activations, 2);
}
END_TEST

START_TEST(queue_select_out_of_range)
{
	ck_assert(mock_driver_negotiate(&p.dev, ALL));
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQ_MAX_SIZE);
	wr(VIRTIO_MMIO_QUEUE_SEL, 2);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	ck_assert(!mock_driver_queue(&p.dev, 2, &ring));
	ck_assert(!mock_driver_queue(&p.dev, 0xffffffff, &ring));
	ck_assert(!p.dev.queues[2].ready);
	ck_assert_uint_eq(p.dev.setup[2].num, 0);
}
END_TEST

START_TEST(queue_set_up_too_early)
{
	(void)set_status(ACK | DRIVER);
	accept_features(BIT64(VIRTIO_F_VERSION_1));
	ck_assert(!mock_driver_queue(&p.dev, 0, &ring));
	ck_assert_uint_eq(p.dev.setup[0].num, 0);
}
END_TEST

START_TEST(queue_set_up_too_late)
{
	ck_assert(mock_driver_negotiate(&p.dev, ALL));
	ck_assert(mock_driver_ok(&p.dev));
	ck_assert(!mock_driver_queue(&p.dev, 0, &ring));
}
END_TEST

START_TEST(ready_queue_does_not_change)
{
	struct mock_ring other;

	mock_ring_init(&other, &mem, 32);
	ck_assert(mock_driver_negotiate(&p.dev, ALL));
	ck_assert(mock_driver_queue(&p.dev, 0, &ring));
	ck_assert(mock_driver_queue(&p.dev, 0, &other)); /* reads 1, and is the old one */
	ck_assert_uint_eq(p.dev.queues[0].size, 16);
	ck_assert_uint_eq(p.dev.queues[0].desc, ring.desc_gpa);
	ck_assert_uint_eq(p.dev.setup[0].num, 16);
	/* Taken back before DRIVER_OK, it may. */
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert(mock_driver_queue(&p.dev, 0, &other));
	ck_assert_uint_eq(p.dev.queues[0].size, 32);
}
END_TEST

START_TEST(running_queue_stays)
{
	bring_up();
	wr(VIRTIO_MMIO_QUEUE_SEL, 0);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 1);
	wr(QUEUE_RESET, 1);
	ck_assert_uint_eq(rd(QUEUE_RESET), 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 1);
}
END_TEST

START_TEST(bad_queues_do_not_become_ready)
{
	struct mock_ring bad = ring;

	ck_assert(mock_driver_negotiate(&p.dev, ALL));
	bad.size = 0;
	ck_assert(!mock_driver_queue(&p.dev, 0, &bad));
	bad.size = 512;
	ck_assert(!mock_driver_queue(&p.dev, 0, &bad));
	bad = ring;
	bad.desc_gpa |= UINT64_C(1) << 40;
	ck_assert(!mock_driver_queue(&p.dev, 0, &bad));
	bad = ring;
	bad.avail_gpa = 2;
	ck_assert(!mock_driver_queue(&p.dev, 0, &bad));
	bad = ring;
	bad.used_gpa++;
	ck_assert(!mock_driver_queue(&p.dev, 0, &bad));
	/* A number that would be 16 if it were cut to 16 bits. */
	ck_assert(mock_driver_queue(&p.dev, 1, &ring));
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	wr(VIRTIO_MMIO_QUEUE_NUM, 0x10010);
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert(mock_driver_queue(&p.dev, 0, &ring));
}
END_TEST

static bool drained(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count);
}

START_TEST(notify_writes_the_queue_eventfd)
{
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	ck_assert(!drained(p.dev.notify[0]));
	ck_assert(drained(p.dev.notify[1]));
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 2);
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 0xffffffff);
	ck_assert(!drained(p.dev.notify[0]));
	ck_assert(!drained(p.dev.notify[1]));
}
END_TEST

START_TEST(used_interrupt)
{
	struct mock_seg seg = { mock_alloc(&mem, 16, 16), 16, true };
	struct virtq *q = &p.dev.queues[0];
	struct virtq_chain c;

	bring_up();
	virtio_dev_signal_used(&p.dev, q);
	ck_assert(!drained(p.dev.irq));
	mock_ring_add(&ring, &seg, 1);
	ck_assert_int_eq(virtq_pop(q, &c), 1);
	virtq_push(q, c.head, 0);
	virtio_dev_signal_used(&p.dev, q);
	ck_assert(drained(p.dev.irq));
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}
END_TEST

START_TEST(config_interrupt_and_generation)
{
	uint32_t generation = rd(VIRTIO_MMIO_CONFIG_GENERATION);

	virtio_dev_signal_config(&p.dev);
	ck_assert(!drained(p.dev.irq)); /* nobody drives it */
	ck_assert_uint_eq(rd(VIRTIO_MMIO_CONFIG_GENERATION), generation + 1);
	bring_up();
	virtio_dev_signal_config(&p.dev);
	ck_assert(drained(p.dev.irq));
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_CONFIG_GENERATION), generation + 2);
}
END_TEST

START_TEST(failing_tells_the_driver_once)
{
	bring_up();
	virtio_dev_fail(&p.dev, "test");
	ck_assert(drained(p.dev.irq));
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0xf | NEEDS_RESET);
	virtio_dev_fail(&p.dev, "test");
	ck_assert(!drained(p.dev.irq));
	ck_assert_uint_eq(set_status(0xf), 0xf | NEEDS_RESET);
	ck_assert_uint_eq(set_status(0), 0);
}
END_TEST

START_TEST(shared_memory_has_no_regions)
{
	wr(VIRTIO_MMIO_SHM_SEL, 0);
	for (uint32_t reg = VIRTIO_MMIO_SHM_LEN_LOW; reg <= VIRTIO_MMIO_SHM_BASE_HIGH; reg += 4)
		ck_assert_uint_eq(rd(reg), 0xffffffff);
}
END_TEST

START_TEST(write_only_and_unknown_registers_read_zero)
{
	static const uint32_t regs[] = { 0x018, 0x01c, VIRTIO_MMIO_DRIVER_FEATURES,
		VIRTIO_MMIO_QUEUE_NUM, 0x04c, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_MMIO_INTERRUPT_ACK,
		VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_USED_HIGH, 0x0f8 };

	for (uint32_t reg = 0; reg < 0x100; reg += 4)
		wr(reg, 0xffffffff);
	for (size_t i = 0; i < array_size(regs); i++)
		ck_assert_uint_eq(rd(regs[i]), 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
}
END_TEST

START_TEST(registers_are_32_bits_wide)
{
	static const uint32_t widths[] = { 0, 1, 2, 3, 8 };
	uint8_t buf[8];

	for (size_t i = 0; i < array_size(widths); i++) {
		memset(buf, 0xaa, sizeof(buf));
		virtio_mmio_read(&p.dev, VIRTIO_MMIO_MAGIC_VALUE, buf, widths[i]);
		for (uint32_t k = 0; k < sizeof(buf); k++)
			ck_assert_uint_eq(buf[k], k < widths[i] ? 0 : 0xaa);
		memset(buf, 0x1, sizeof(buf));
		virtio_mmio_write(&p.dev, VIRTIO_MMIO_STATUS, buf, widths[i]);
		ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0);
	}
	for (uint64_t off = 1; off < 4; off++) {
		virtio_mmio_read(&p.dev, off, buf, 4);
		ck_assert_mem_eq(buf, "\0\0\0", 4);
		virtio_mmio_write(&p.dev, VIRTIO_MMIO_STATUS + off, "\1\1\1\1", 4);
		ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0);
	}
}
END_TEST

START_TEST(config_space_widths)
{
	static const uint32_t widths[] = { 1, 2, 4, 8 };
	uint8_t buf[8];

	for (size_t i = 0; i < array_size(widths); i++) {
		memset(buf, 0xaa, sizeof(buf));
		virtio_mmio_read(&p.dev, VIRTIO_MMIO_CONFIG, buf, widths[i]);
		ck_assert_mem_eq(buf, p.config, widths[i]);
		if (widths[i] < 8)
			ck_assert_uint_eq(buf[widths[i]], 0xaa);
	}
	virtio_mmio_read(&p.dev, VIRTIO_MMIO_CONFIG + 6, buf, 4);
	ck_assert_mem_eq(buf, "\7\10\xee\xee", 4);
	virtio_mmio_read(&p.dev, VIRTIO_MMIO_CONFIG, buf, 3);
	ck_assert_mem_eq(buf, "\0\0\0", 3);
	virtio_mmio_write(&p.dev, VIRTIO_MMIO_CONFIG + 2, "zz", 2);
	ck_assert_mem_eq(p.config, "\1\2zz\5", 5);
	virtio_mmio_write(&p.dev, VIRTIO_MMIO_CONFIG, "yyy", 3);
	ck_assert_mem_eq(p.config, "\1\2zz\5", 5);
}
END_TEST

START_TEST(accesses_beyond_the_window)
{
	static const uint64_t offsets[] = { VIRTIO_MMIO_SIZE - 4, VIRTIO_MMIO_SIZE,
		VIRTIO_MMIO_SIZE + 4, UINT32_MAX, UINT64_C(1) << 32,
		(UINT64_C(1) << 32) + VIRTIO_MMIO_CONFIG, UINT64_MAX - 3 };

	for (size_t i = 0; i < array_size(offsets); i++) {
		uint64_t value = ALL;

		virtio_mmio_read(&p.dev, offsets[i], &value, 8);
		ck_assert_uint_eq(value, 0);
		virtio_mmio_write(&p.dev, offsets[i], &value, 8);
	}
	ck_assert_uint_eq(p.config[0], 1);
}
END_TEST

START_TEST(done_stops_a_running_device)
{
	bring_up();
	virtio_dev_done(&p.dev);
	ck_assert_uint_eq(p.resets, 1);
	ck_assert_int_eq(p.dev.irq, -1);
	virtio_dev_done(&p.dev);
	ck_assert_uint_eq(p.resets, 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { identity, init_refuses_bad_queue_counts, feature_windows,
		negotiation, features_not_offered_are_refused,
		high_features_not_offered_are_refused, features_beyond_64_are_refused,
		legacy_driver_is_refused, features_are_fixed_after_features_ok,
		features_need_a_driver, status_out_of_order_is_dropped, status_bits_are_not_cleared,
		driver_cannot_set_needs_reset_or_reserved_bits, activation_happens_once,
		ring_features_follow_negotiation, failed_activation_needs_reset,
		reset_forgets_everything, queue_select_out_of_range, queue_set_up_too_early,
		queue_set_up_too_late, ready_queue_does_not_change, running_queue_stays,
		bad_queues_do_not_become_ready, notify_writes_the_queue_eventfd, used_interrupt,
		config_interrupt_and_generation, failing_tells_the_driver_once,
		shared_memory_has_no_regions, write_only_and_unknown_registers_read_zero,
		registers_are_32_bits_wide, config_space_widths, accesses_beyond_the_window,
		done_stops_a_running_device };
	Suite *s = suite_create("virtio_mmio");
	TCase *t = tcase_create("virtio_mmio");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	for (size_t i = 0; i < array_size(tests); i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
