#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <devices/virtq.h>

#include "mock_ring.h"

#define RING 8
#define NEXT VRING_DESC_F_NEXT
#define WR   VRING_DESC_F_WRITE
#define IND  VRING_DESC_F_INDIRECT

static struct mock_mem mem;
static struct mock_ring ring;
static struct virtq q;
static struct virtq_chain c;
static gpa_t data;

static void setup_with(uint16_t size, bool event_idx, bool indirect)
{
	mock_mem_init(&mem, 1 << 20);
	mock_ring_init(&ring, &mem, size);
	data = mock_alloc(&mem, 4096, 4096);
	virtq_init(&q, &mem.gmem);
	ck_assert_int_eq(virtq_enable(&q, size, ring.desc_gpa, ring.avail_gpa, ring.used_gpa,
				 event_idx, indirect),
		0);
}

static void setup(void)
{
	setup_with(RING, false, true);
}

static void setup_event_idx(void)
{
	setup_with(RING, true, true);
}

static void teardown(void)
{
	mock_mem_done(&mem);
}

static void expect_broken(void)
{
	ck_assert_int_eq(virtq_pop(&q, &c), -EPROTO);
	ck_assert(q.broken);
	/* Once broken, always broken, whatever the driver repairs. */
	mock_ring_clear(&ring);
	ck_assert_int_eq(virtq_pop(&q, &c), -EPROTO);
	ck_assert(!virtq_enable_notify(&q));
	virtq_push(&q, 0, 0);
	ck_assert(!virtq_should_interrupt(&q));
	ck_assert_uint_eq(ring.used->idx, 0);
}

static int enable(uint16_t size, gpa_t desc, gpa_t avail, gpa_t used)
{
	return virtq_enable(&q, size, desc, avail, used, false, false);
}

START_TEST(enable_checks_size)
{
	static const uint16_t bad[] = { 0, 3, 6, 255, 257, 512, 32768, 65535 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		virtq_reset(&q);
		ck_assert_int_eq(
			enable(bad[i], ring.desc_gpa, ring.avail_gpa, ring.used_gpa), -EINVAL);
		ck_assert(!q.ready);
	}
	for (uint16_t size = 1; size <= VIRTQ_MAX_SIZE; size = (uint16_t)(size * 2))
		ck_assert_int_eq(enable(size, MOCK_BASE, MOCK_BASE, MOCK_BASE), 0);
}
END_TEST

START_TEST(enable_checks_alignment)
{
	for (gpa_t off = 1; off < 16; off++) {
		virtq_reset(&q);
		ck_assert_int_eq(
			enable(RING, MOCK_BASE + off, ring.avail_gpa, ring.used_gpa), -EINVAL);
	}
	ck_assert_int_eq(enable(RING, ring.desc_gpa, MOCK_BASE + 1, ring.used_gpa), -EINVAL);
	ck_assert_int_eq(enable(RING, ring.desc_gpa, MOCK_BASE + 2, ring.used_gpa), 0);
	for (gpa_t off = 1; off < 4; off++)
		ck_assert_int_eq(
			enable(RING, ring.desc_gpa, ring.avail_gpa, MOCK_BASE + off), -EINVAL);
}
END_TEST

/* Each area exactly at the end of memory is fine, one step further is not. */
START_TEST(enable_checks_extents)
{
	const gpa_t end = MOCK_BASE + mem.len;
	const gpa_t d = ring.desc_gpa, a = ring.avail_gpa, u = ring.used_gpa;

	ck_assert_int_eq(enable(RING, end - 16 * RING, a, u), 0);
	ck_assert_int_eq(enable(RING, end - 16 * RING + 16, a, u), -EINVAL);
	ck_assert_int_eq(enable(RING, d, end - (6 + 2 * RING), u), 0);
	ck_assert_int_eq(enable(RING, d, end - (6 + 2 * RING) + 2, u), -EINVAL);
	ck_assert_int_eq(enable(RING, d, a, end - (8 + 8 * RING)), 0);
	ck_assert_int_eq(enable(RING, d, a, end - (4 + 8 * RING)), -EINVAL);
	ck_assert_int_eq(enable(RING, 0, a, u), -EINVAL);
	ck_assert_int_eq(enable(RING, d, 0, u), -EINVAL);
	ck_assert_int_eq(enable(RING, d, a, 0), -EINVAL);
	ck_assert_int_eq(enable(RING, ~(gpa_t)15, a, u), -EINVAL);
	ck_assert_int_eq(enable(RING, d, ~(gpa_t)1, u), -EINVAL);
	ck_assert_int_eq(enable(RING, d, a, ~(gpa_t)3), -EINVAL);
}
END_TEST

START_TEST(not_ready_does_nothing)
{
	virtq_reset(&q);
	ck_assert_int_eq(virtq_pop(&q, &c), 0);
	ck_assert(!virtq_enable_notify(&q));
	ck_assert(!virtq_should_interrupt(&q));
	virtq_disable_notify(&q);
	virtq_push(&q, 0, 0);
	ck_assert_uint_eq(ring.used->idx, 0);
}
END_TEST

START_TEST(pop_gives_segments_in_order)
{
	const struct mock_seg segs[] = { { data, 16, false }, { data + 64, 100, false },
		{ data + 512, 512, true }, { data + 2048, 1, true } };
	uint16_t head = mock_ring_add(&ring, segs, 4);
	uint32_t id, len;

	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.head, head);
	ck_assert_uint_eq(c.out_count, 2);
	ck_assert_uint_eq(c.in_count, 2);
	ck_assert_uint_eq(c.out_bytes, 116);
	ck_assert_uint_eq(c.in_bytes, 513);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_ptr_eq(c.iov[i].iov_base, mock_ptr(&mem, segs[i].addr, 1));
		ck_assert_uint_eq(c.iov[i].iov_len, segs[i].len);
	}
	ck_assert_int_eq(virtq_pop(&q, &c), 0);
	ck_assert(!mock_ring_used(&ring, &id, &len));
	virtq_push(&q, head, 77);
	ck_assert(mock_ring_used(&ring, &id, &len));
	ck_assert_uint_eq(id, head);
	ck_assert_uint_eq(len, 77);
}
END_TEST

START_TEST(indices_wrap)
{
	const struct mock_seg seg = { data, 16, false };

	/* Past 65535, several times round the ring. */
	for (unsigned i = 0; i < 66000; i++) {
		uint16_t head = mock_ring_add(&ring, &seg, 1);
		uint32_t id, len;

		ck_assert_int_eq(virtq_pop(&q, &c), 1);
		ck_assert_uint_eq(c.head, head);
		virtq_push(&q, c.head, i);
		ck_assert(mock_ring_used(&ring, &id, &len));
		ck_assert_uint_eq(id, head);
		ck_assert_uint_eq(len, i);
	}
}
END_TEST

START_TEST(full_ring_is_fine)
{
	const struct mock_seg seg = { data, 16, true };

	for (unsigned i = 0; i < RING; i++)
		mock_ring_add(&ring, &seg, 1);
	for (unsigned i = 0; i < RING; i++) {
		ck_assert_int_eq(virtq_pop(&q, &c), 1);
		ck_assert_uint_eq(c.head, i);
	}
	ck_assert_int_eq(virtq_pop(&q, &c), 0);
}
END_TEST

START_TEST(unpop_gives_it_again)
{
	const struct mock_seg seg = { data, 16, true };
	uint16_t head = mock_ring_add(&ring, &seg, 1);

	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	virtq_unpop(&q);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.head, head);
	ck_assert_int_eq(virtq_pop(&q, &c), 0);
}
END_TEST

START_TEST(longest_chain)
{
	struct mock_seg segs[RING];

	for (unsigned i = 0; i < RING; i++)
		segs[i] = (struct mock_seg){ data + i, 1, false };
	mock_ring_add(&ring, segs, RING);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.out_count, RING);
}
END_TEST

START_TEST(avail_distance_too_far)
{
	mock_ring_desc(&ring, 0, data, 16, 0, 0);
	ring.avail->idx = RING + 1;
	expect_broken();
}
END_TEST

START_TEST(avail_index_went_back)
{
	const struct mock_seg seg = { data, 16, false };

	mock_ring_add(&ring, &seg, 1);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ring.avail->idx = 0;
	ck_assert_int_eq(virtq_pop(&q, &c), -EPROTO);
}
END_TEST

START_TEST(head_out_of_range)
{
	mock_ring_publish(&ring, RING);
	expect_broken();
}
END_TEST

START_TEST(head_far_out_of_range)
{
	mock_ring_publish(&ring, 0xffff);
	expect_broken();
}
END_TEST

START_TEST(next_out_of_range)
{
	mock_ring_desc(&ring, 0, data, 16, NEXT, RING);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(loop_of_one)
{
	mock_ring_desc(&ring, 0, data, 1, NEXT, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(loop_of_two_empty_segments)
{
	mock_ring_desc(&ring, 0, data, 0, NEXT, 1);
	mock_ring_desc(&ring, 1, data, 0, NEXT, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(writable_before_readable)
{
	mock_ring_desc(&ring, 0, data, 16, WR | NEXT, 1);
	mock_ring_desc(&ring, 1, data, 16, 0, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(segment_outside_memory)
{
	mock_ring_desc(&ring, 0, 0, 16, 0, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(segment_over_the_end)
{
	mock_ring_desc(&ring, 0, MOCK_BASE + mem.len - 15, 16, WR, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(segment_wraps_around)
{
	mock_ring_desc(&ring, 0, UINT64_MAX - 7, 16, 0, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(segment_spans_regions)
{
	static uint8_t second[4096];
	gpa_t end = MOCK_BASE + mem.len;

	ck_assert_int_eq(gmem_add(&mem.gmem, end, second, sizeof(second)), 0);
	mock_ring_desc(&ring, 0, end - 8, 8, NEXT, 1);
	mock_ring_desc(&ring, 1, end, 8, 0, 0);
	mock_ring_publish(&ring, 0);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	mock_ring_desc(&ring, 0, end - 8, 16, 0, 0);
	mock_ring_publish(&ring, 0);
	ck_assert_int_eq(virtq_pop(&q, &c), -EPROTO);
	ck_assert(q.broken);
}
END_TEST

/* A reservation of address space only: nothing of it is touched. */
START_TEST(total_bytes_overflow)
{
	struct gmem big = { 0 };
	static uint8_t fake[1];

	big.regions[0] = mem.gmem.regions[0];
	big.regions[1] = (struct gmem_region){ UINT64_C(1) << 32, UINT64_C(1) << 33, fake };
	big.count = 2;
	q.mem = &big;
	mock_ring_desc(&ring, 0, UINT64_C(1) << 32, 0x80000000, NEXT, 1);
	mock_ring_desc(&ring, 1, UINT64_C(1) << 32, 0x7fffffff, WR, 0);
	mock_ring_publish(&ring, 0);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.out_bytes, 0x80000000);
	ck_assert_uint_eq(c.in_bytes, 0x7fffffff);
	mock_ring_desc(&ring, 1, UINT64_C(1) << 32, 0x80000000, WR, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(empty_segments_are_left_out)
{
	mock_ring_desc(&ring, 0, 0, 0, NEXT, 1); /* of no bytes, outside memory */
	mock_ring_desc(&ring, 1, data, 16, NEXT, 2);
	mock_ring_desc(&ring, 2, data, 0, WR | NEXT, 3);
	mock_ring_desc(&ring, 3, data + 16, 4, WR, 0);
	mock_ring_publish(&ring, 0);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.out_count, 1);
	ck_assert_uint_eq(c.in_count, 1);
	ck_assert_uint_eq(c.iov[1].iov_len, 4);
}
END_TEST

START_TEST(descriptor_is_copied_once)
{
	const struct mock_seg seg = { data, 16, false };

	mock_ring_add(&ring, &seg, 1);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	mock_ring_desc(&ring, 0, 0, 0xffffffff, WR, 0);
	ck_assert_ptr_eq(c.iov[0].iov_base, mock_ptr(&mem, data, 16));
	ck_assert_uint_eq(c.iov[0].iov_len, 16);
	ck_assert_uint_eq(c.in_count, 0);
}
END_TEST

START_TEST(indirect_table)
{
	const struct mock_seg segs[] = { { data, 16, false }, { data + 64, 32, true } };
	uint16_t head = mock_ring_add_indirect(&ring, segs, 2);

	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.head, head);
	ck_assert_uint_eq(c.out_bytes, 16);
	ck_assert_uint_eq(c.in_bytes, 32);
}
END_TEST

/* 2.7.5.3.2: direct descriptors, then one indirect; its WRITE flag is ignored. */
START_TEST(indirect_ends_a_direct_chain)
{
	struct vring_desc table[] = { { data + 16, 8, NEXT, 1 }, { data + 32, 4, WR, 0 } };
	gpa_t t = mock_put(&mem, table, sizeof(table));

	mock_ring_desc(&ring, 0, data, 16, NEXT, 1);
	mock_ring_desc(&ring, 1, t, sizeof(table), IND | WR, 0);
	mock_ring_publish(&ring, 0);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.out_count, 2);
	ck_assert_uint_eq(c.in_count, 1);
}
END_TEST

START_TEST(indirect_table_at_any_alignment)
{
	struct vring_desc table[] = { { data, 8, 0, 0 } };
	gpa_t t = mock_alloc(&mem, sizeof(table) + 1, 16) + 1;

	memcpy(mock_ptr(&mem, t, sizeof(table)), table, sizeof(table));
	mock_ring_desc(&ring, 0, t, sizeof(table), IND, 0);
	mock_ring_publish(&ring, 0);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.out_bytes, 8);
}
END_TEST

static void publish_indirect(const struct vring_desc *table, unsigned count, uint32_t len)
{
	gpa_t t = mock_put(&mem, table, count * sizeof(*table));

	mock_ring_desc(&ring, 0, t, len, IND, 0);
	mock_ring_publish(&ring, 0);
}

START_TEST(indirect_not_negotiated)
{
	const struct vring_desc table[] = { { data, 8, 0, 0 } };

	q.indirect = false;
	publish_indirect(table, 1, 16);
	expect_broken();
}
END_TEST

START_TEST(indirect_of_no_length)
{
	const struct vring_desc table[] = { { data, 8, 0, 0 } };

	publish_indirect(table, 1, 0);
	expect_broken();
}
END_TEST

START_TEST(indirect_of_odd_length)
{
	const struct vring_desc table[] = { { data, 8, 0, 0 }, { data, 8, 0, 0 } };

	publish_indirect(table, 2, 17);
	expect_broken();
}
END_TEST

START_TEST(indirect_with_next)
{
	const struct vring_desc table[] = { { data, 8, 0, 0 } };
	gpa_t t = mock_put(&mem, table, sizeof(table));

	mock_ring_desc(&ring, 0, t, sizeof(table), IND | NEXT, 1);
	mock_ring_desc(&ring, 1, data, 8, 0, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(indirect_nested)
{
	const struct vring_desc inner[] = { { data, 8, 0, 0 } };
	gpa_t t = mock_put(&mem, inner, sizeof(inner));
	const struct vring_desc table[] = { { t, 16, IND, 0 } };

	publish_indirect(table, 1, 16);
	expect_broken();
}
END_TEST

START_TEST(indirect_nested_later)
{
	const struct vring_desc inner[] = { { data, 8, 0, 0 } };
	gpa_t t = mock_put(&mem, inner, sizeof(inner));
	const struct vring_desc table[] = { { data, 8, NEXT, 1 }, { t, 16, IND, 0 } };

	publish_indirect(table, 2, 32);
	expect_broken();
}
END_TEST

START_TEST(indirect_next_out_of_table)
{
	/* The third entry is there and well-formed, but not in the table. */
	const struct vring_desc table[] = { { data, 8, NEXT, 2 }, { data, 8, 0, 0 },
		{ data, 8, 0, 0 } };

	publish_indirect(table, 3, 32);
	expect_broken();
}
END_TEST

START_TEST(indirect_loop)
{
	const struct vring_desc table[] = { { data, 1, NEXT, 1 }, { data, 1, NEXT, 0 } };

	publish_indirect(table, 2, 32);
	expect_broken();
}
END_TEST

START_TEST(indirect_longer_than_the_queue)
{
	struct mock_seg segs[RING + 1];

	for (unsigned i = 0; i < RING + 1; i++)
		segs[i] = (struct mock_seg){ data, 1, true };
	mock_ring_add_indirect(&ring, segs, RING);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	mock_ring_add_indirect(&ring, segs, RING + 1);
	ck_assert_int_eq(virtq_pop(&q, &c), -EPROTO);
	ck_assert(q.broken);
}
END_TEST

START_TEST(indirect_table_outside_memory)
{
	mock_ring_desc(&ring, 0, MOCK_BASE + mem.len - 16, 32, IND, 0);
	mock_ring_publish(&ring, 0);
	expect_broken();
}
END_TEST

START_TEST(indirect_writable_before_readable)
{
	const struct vring_desc table[] = { { data, 8, WR | NEXT, 1 }, { data, 8, 0, 0 } };

	publish_indirect(table, 2, 32);
	expect_broken();
}
END_TEST

START_TEST(more_segments_than_a_chain_holds)
{
	struct mock_seg segs[VIRTQ_MAX_SEGS + 1];
	struct mock_ring large;

	mock_ring_init(&large, &mem, 256);
	ck_assert_int_eq(virtq_enable(&q, 256, large.desc_gpa, large.avail_gpa, large.used_gpa,
				 false, false),
		0);
	for (unsigned i = 0; i < VIRTQ_MAX_SEGS + 1; i++)
		segs[i] = (struct mock_seg){ data, 1, false };
	mock_ring_add(&large, segs, VIRTQ_MAX_SEGS);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert_uint_eq(c.out_count, VIRTQ_MAX_SEGS);
	mock_ring_add(&large, segs, VIRTQ_MAX_SEGS + 1);
	ck_assert_int_eq(virtq_pop(&q, &c), -EPROTO);
}
END_TEST

START_TEST(notify_by_flags)
{
	const struct mock_seg seg = { data, 16, false };

	virtq_disable_notify(&q);
	ck_assert_uint_eq(ring.used->flags, VRING_USED_F_NO_NOTIFY);
	mock_ring_add(&ring, &seg, 1);
	ck_assert(!mock_ring_should_kick(&ring, false));
	/* It came while notifications were off: the device must look again. */
	ck_assert(virtq_enable_notify(&q));
	ck_assert_uint_eq(ring.used->flags, 0);
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert(!virtq_enable_notify(&q));
	mock_ring_add(&ring, &seg, 1);
	ck_assert(mock_ring_should_kick(&ring, false));
}
END_TEST

START_TEST(interrupt_by_flags)
{
	const struct mock_seg seg = { data, 16, false };

	ck_assert(!virtq_should_interrupt(&q));
	for (unsigned i = 0; i < 4; i++) {
		mock_ring_add(&ring, &seg, 1);
		ring.avail->flags = i % 2 ? VRING_AVAIL_F_NO_INTERRUPT : 0;
		ck_assert_int_eq(virtq_pop(&q, &c), 1);
		virtq_push(&q, c.head, 0);
		ck_assert_int_eq(virtq_should_interrupt(&q), i % 2 == 0);
		/* Nothing new: nothing to say. */
		ck_assert(!virtq_should_interrupt(&q));
	}
}
END_TEST

START_TEST(notify_by_event_index)
{
	const struct mock_seg seg = { data, 16, false };

	ck_assert(!virtq_enable_notify(&q));
	mock_ring_add(&ring, &seg, 1);
	ck_assert(mock_ring_should_kick(&ring, true));
	virtq_disable_notify(&q);
	ck_assert_uint_eq(ring.used->flags, 0); /* 2.7.10: flags stay 0 */
	mock_ring_add(&ring, &seg, 1);
	ck_assert(!mock_ring_should_kick(&ring, true));
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert(virtq_enable_notify(&q));
	ck_assert_int_eq(virtq_pop(&q, &c), 1);
	ck_assert(!virtq_enable_notify(&q));
	ck_assert_uint_eq(mock_ring_avail_event(&ring), 2);
	mock_ring_add(&ring, &seg, 1);
	ck_assert(mock_ring_should_kick(&ring, true));
}
END_TEST

static void take_and_return(unsigned count)
{
	const struct mock_seg seg = { data, 16, false };

	for (unsigned i = 0; i < count; i++) {
		mock_ring_add(&ring, &seg, 1);
		ck_assert_int_eq(virtq_pop(&q, &c), 1);
		virtq_push(&q, c.head, 0);
	}
}

START_TEST(interrupt_by_event_index)
{
	/* used_event 0: the first return is told. */
	take_and_return(1);
	ck_assert(virtq_should_interrupt(&q));
	ck_assert(!virtq_should_interrupt(&q));
	/* Wants to hear of index 4 (the fifth return): not before. */
	mock_ring_set_used_event(&ring, 4);
	take_and_return(3);
	ck_assert(!virtq_should_interrupt(&q));
	take_and_return(1);
	ck_assert(virtq_should_interrupt(&q));
	/* Passed within a batch. */
	mock_ring_set_used_event(&ring, 6);
	take_and_return(3);
	ck_assert(virtq_should_interrupt(&q));
	/* Not asked for again: silence. */
	take_and_return(3);
	ck_assert(!virtq_should_interrupt(&q));
}
END_TEST

START_TEST(interrupt_after_a_whole_round_of_the_index)
{
	mock_ring_set_used_event(&ring, 100);
	take_and_return(1);
	ck_assert(!virtq_should_interrupt(&q));
	/* 65536 returns without asking: the index is where it was. */
	for (unsigned i = 0; i < 65536; i++)
		take_and_return(1);
	ck_assert(virtq_should_interrupt(&q));
	ck_assert(!virtq_should_interrupt(&q));
}
END_TEST

START_TEST(iov_scatter_and_gather)
{
	char a[4] = "abc", b[4] = "def", buf[8] = { 0 };
	const struct iovec iov[] = { { a, 3 }, { NULL, 0 }, { b, 3 } };

	ck_assert_uint_eq(virtq_iov_read(iov, 3, 0, buf, 8), 6);
	ck_assert_str_eq(buf, "abcdef");
	ck_assert_uint_eq(virtq_iov_read(iov, 3, 2, buf, 2), 2);
	ck_assert_mem_eq(buf, "cd", 2);
	ck_assert_uint_eq(virtq_iov_read(iov, 3, 6, buf, 2), 0);
	ck_assert_uint_eq(virtq_iov_read(iov, 3, SIZE_MAX, buf, 2), 0);
	ck_assert_uint_eq(virtq_iov_write(iov, 3, 2, "XYZ", 3), 3);
	ck_assert_str_eq(a, "abX");
	ck_assert_str_eq(b, "YZf");
	ck_assert_uint_eq(virtq_iov_write(iov, 3, 5, "12", 2), 1);
	ck_assert_str_eq(b, "YZ1");
}
END_TEST

int main(void)
{
	const TTest *const by_flags[] = { enable_checks_size, enable_checks_alignment,
		enable_checks_extents, not_ready_does_nothing, pop_gives_segments_in_order,
		indices_wrap, full_ring_is_fine, unpop_gives_it_again, longest_chain,
		avail_distance_too_far, avail_index_went_back, head_out_of_range,
		head_far_out_of_range, next_out_of_range, loop_of_one, loop_of_two_empty_segments,
		writable_before_readable, segment_outside_memory, segment_over_the_end,
		segment_wraps_around, segment_spans_regions, total_bytes_overflow,
		empty_segments_are_left_out, descriptor_is_copied_once, indirect_table,
		indirect_ends_a_direct_chain, indirect_table_at_any_alignment,
		indirect_not_negotiated, indirect_of_no_length, indirect_of_odd_length,
		indirect_with_next, indirect_nested, indirect_nested_later,
		indirect_next_out_of_table, indirect_loop, indirect_longer_than_the_queue,
		indirect_table_outside_memory, indirect_writable_before_readable,
		more_segments_than_a_chain_holds, notify_by_flags, interrupt_by_flags,
		iov_scatter_and_gather };

	const TTest *const by_event_index[] = { notify_by_event_index, interrupt_by_event_index,
		interrupt_after_a_whole_round_of_the_index };
	Suite *s = suite_create("virtq");
	TCase *flags = tcase_create("flags"), *event = tcase_create("event index");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(flags, setup, teardown);
	for (size_t i = 0; i < sizeof(by_flags) / sizeof(by_flags[0]); i++)
		tcase_add_test(flags, by_flags[i]);
	tcase_add_checked_fixture(event, setup_event_idx, teardown);
	for (size_t i = 0; i < sizeof(by_event_index) / sizeof(by_event_index[0]); i++)
		tcase_add_test(event, by_event_index[i]);
	tcase_set_timeout(flags, 30);
	tcase_set_timeout(event, 30);
	suite_add_tcase(s, flags);
	suite_add_tcase(s, event);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
