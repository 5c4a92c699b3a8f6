/* Two vCPUs of a hostile guest at one device: registers, kicks and ring memory in any order. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <devices/virtio_blk.h>
#include <devices/virtio_rng.h>
#include <devices/virtio_vsock.h>

#include "mock_ring.h"

#define DISK   (UINT64_C(64) << 10)
#define RUN_NS (CLOCK_NS_PER_S / 2)

static struct mock_mem mem;
static struct mock_ring rings[3];
static struct virtio_dev *dev;
static struct loop *loop;
static _Atomic bool stop;
static _Atomic unsigned ups;

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Atomic, as the stores of a guest are: what is raced for is the device's own memory. */
static void scribble(const struct mock_ring *r, uint32_t *seed)
{
	uint32_t addr = MOCK_BASE + next(seed) % 4096 * 16;
	struct vring_desc *d = &r->desc[next(seed) % r->size];

	__atomic_store_n(&d->addr, addr, __ATOMIC_RELAXED);
	__atomic_store_n(&d->len, next(seed) % 2048, __ATOMIC_RELAXED);
	__atomic_store_n(&d->flags, (uint16_t)(next(seed) & 7), __ATOMIC_RELAXED);
	__atomic_store_n(&d->next, (uint16_t)(next(seed) % r->size), __ATOMIC_RELAXED);
	(void)__atomic_fetch_add(&r->avail->idx, (uint16_t)(next(seed) % 3), __ATOMIC_RELEASE);
}

static void bring_up(void)
{
	if (!mock_driver_negotiate(dev, ~UINT64_C(0)))
		return;
	for (uint32_t i = 0; i < dev->queue_count; i++)
		(void)mock_driver_queue(dev, i, &rings[i]);
	if (mock_driver_ok(dev))
		ups++;
}

static void *vcpu(void *arg)
{
	uint32_t seed = *(const uint32_t *)arg;

	while (!stop) {
		uint32_t what = next(&seed) % 64;

		if (what == 0)
			bring_up();
		else if (what == 1)
			mock_reg_write(dev, VIRTIO_MMIO_STATUS, next(&seed) & 15);
		else if (what < 8)
			mock_reg_write(dev, next(&seed) % 0x110, next(&seed));
		else if (what < 16)
			(void)mock_reg_read(dev, next(&seed) % 0x110);
		else if (what < 32)
			mock_driver_kick(dev, next(&seed) % dev->queue_count);
		else
			scribble(&rings[next(&seed) % dev->queue_count], &seed);
	}
	return NULL;
}

static void refuse(void *user, uint64_t id, uint64_t cid, uint32_t dst_port, uint32_t src_port)
{
	(void)cid;
	(void)dst_port;
	(void)src_port;
	virtio_vsock_refuse(*(struct virtio_vsock **)user, id);
}

static void done(void *user, uint64_t id, int result)
{
	(void)user;
	(void)id;
	(void)result;
}

/* The loop must come round again and again, whatever the two do. */
static unsigned race(void)
{
	const uint32_t seeds[] = { 1 + (uint32_t)getpid(), 77 };
	uint64_t end = clock_mono_ns() + RUN_NS;
	unsigned turns = 0;
	pthread_t t[2];

	stop = false;
	ups = 0;
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, vcpu, (void *)&seeds[i]), 0);
	while (clock_mono_ns() < end) {
		ck_assert_int_eq(loop_step(loop, 1, NULL), 0);
		turns++;
	}
	stop = true;
	for (unsigned i = 0; i < 2; i++)
		(void)pthread_join(t[i], NULL);
	ck_assert_uint_gt(ups, 0);
	mock_driver_reset(dev);
	ck_assert_int_eq(loop_step(loop, 1, NULL), 0);
	return turns;
}

static void setup(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	mock_mem_init(&mem, 1 << 20);
	for (unsigned i = 0; i < 3; i++)
		mock_ring_init(&rings[i], &mem, 64);
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
}

static void teardown(void)
{
	loop_free(loop);
	mock_mem_done(&mem);
}

START_TEST(block_device)
{
	struct virtio_blk_config cfg = { .size = DISK, .fd = memfd_create("disk", MFD_CLOEXEC) };
	struct virtio_blk *blk;

	ck_assert_int_eq(ftruncate(cfg.fd, DISK), 0);
	ck_assert_int_eq(virtio_blk_new(&blk, &mem.gmem, &cfg, NULL), 0);
	dev = virtio_blk_dev(blk);
	(void)race();
	virtio_blk_free(blk);
}
END_TEST

START_TEST(entropy_device)
{
	struct virtio_rng *rng;

	ck_assert_int_eq(virtio_rng_new(&rng, &mem.gmem, loop, NULL), 0);
	dev = virtio_rng_dev(rng);
	ck_assert_uint_gt(race(), 10);
	virtio_rng_free(rng);
}
END_TEST

START_TEST(socket_device)
{
	static const struct virtio_vsock_ops ops = { .guest_connect = refuse,
		.connect_done = done };
	struct virtio_vsock *v;
	struct virtio_vsock_config cfg = { .guest_cid = 3, .ops = &ops, .user = &v };

	ck_assert_int_eq(virtio_vsock_new(&v, &mem.gmem, loop, &cfg, NULL), 0);
	dev = virtio_vsock_dev(v);
	ck_assert_uint_gt(race(), 10);
	virtio_vsock_free(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("two_vcpus");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, block_device);
	tcase_add_test(t, entropy_device);
	tcase_add_test(t, socket_device);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
