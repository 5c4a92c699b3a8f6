#include "virtio.h"

#define WINDOW     0x1000
#define SCRATCH    65536
#define REG_STATUS 0x070

/*
 * A driver that means harm: random accesses of every width to every
 * register of every slot, and devices that were brought up properly but
 * find garbage in their rings. Whatever happens to the device, the guest
 * must come out of it at the end, switched off by itself.
 */
static uint64_t state;
static uint8_t scratch[SCRATCH] __attribute__((aligned(4096)));
static struct ring ring;

static uint32_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static uint64_t random64(void)
{
	return (uint64_t)next_random() << 32 | next_random();
}

/* Addresses and lengths near the edges of things are more telling than any others. */
static uint64_t telling_number(uint64_t memory)
{
	switch (next_random() % 10) {
	case 0:
		return 0;
	case 1:
		return next_random() % 4;
	case 2:
		return 1u << next_random() % 17;
	case 3:
		return (uint64_t)scratch + next_random() % SCRATCH;
	case 4:
		return memory - next_random() % 64;
	case 5:
		return memory + next_random() % 4096;
	case 6:
		return ~(uint64_t)(next_random() % 4096);
	case 7:
		return VIRTIO_SLOT(0) + next_random() % WINDOW;
	case 8:
		return next_random();
	default:
		return random64();
	}
}

/* Registers of the transport for the most part, configuration space, anywhere. */
static uint64_t telling_register(void)
{
	switch (next_random() % 8) {
	case 0:
		return next_random() % WINDOW;
	case 1:
		return VIRTIO_CONFIG + next_random() % 0x40;
	default:
		return next_random() % 0x44 * 4;
	}
}

static void poke(uint64_t base, uint64_t memory)
{
	uint64_t at = base + telling_register();
	uint64_t v = telling_number(memory);

	switch (next_random() % 12) {
	case 0:
		(void)mmio_read8(at);
		break;
	case 1:
		(void)mmio_read16(at & ~1ULL);
		break;
	case 2:
		(void)mmio_read64(at & ~7ULL);
		break;
	case 3:
		mmio_write8(at, (uint8_t)v);
		break;
	case 4:
		mmio_write16(at & ~1ULL, (uint16_t)v);
		break;
	case 5:
		mmio_write64(at & ~7ULL, v);
		break;
	case 6:
	case 7:
		(void)mmio_read32(at & ~3ULL);
		break;
	default:
		mmio_write32(at & ~3ULL, (uint32_t)v);
	}
}

static void garble_ring(uint64_t memory)
{
	for (unsigned i = 0; i < RING_SIZE; i++) {
		ring.desc[i] = (struct desc){
			.addr = telling_number(memory),
			.len = (uint32_t)telling_number(memory),
			.flags = (uint16_t)(next_random() % 8),
			.next = (uint16_t)(next_random() % 3 ? next_random() % RING_SIZE
							     : next_random()),
		};
		ring.avail[i] =
			(uint16_t)(next_random() % 4 ? next_random() % RING_SIZE : next_random());
	}
	/* Mostly a distance the device accepts, so that it reads the descriptors. */
	ring.avail_idx =
		(uint16_t)(next_random() % 4 ? next_random() % (RING_SIZE + 1) : next_random());
	ring.avail_flags = (uint16_t)next_random();
	ring.used_event = (uint16_t)next_random();
}

/* Up by the book, then garbage in every ring; the device may fail, but only itself. */
static void bring_up_and_garble(uint64_t base, uint64_t memory)
{
	static const uint8_t queues[] = { [2] = 1, [4] = 1, [19] = 3 };
	uint32_t device = mmio_read32(base + VIRTIO_DEVICE_ID);
	uint16_t count = device < sizeof(queues) ? queues[device] : 0;

	virtio_begin(base);
	for (uint16_t i = 0; i < count; i++)
		virtio_set_queue(&ring, base, i);
	garble_ring(memory);
	mmio_write32(base + REG_STATUS, 15);
	for (unsigned kicks = 0; kicks < 4; kicks++) {
		mmio_write32(base + VIRTIO_NOTIFY, next_random() % (count + 1u));
		if (next_random() % 2)
			garble_ring(memory);
	}
}

/* The device may have written anywhere in its own guest: the rings are what is used next. */
void run_garbage(void)
{
	uint64_t slots = option("slots", 1);
	uint64_t rounds = option("rounds", 1000);
	uint64_t memory = option("mib", 16) << 20;

	state = option("seed", 1) * 0x9e3779b97f4a7c15ULL + 1;
	map_8g();
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t base = VIRTIO_SLOT(next_random() % slots);

		if (next_random() % 8 == 0)
			bring_up_and_garble(base, memory);
		for (unsigned pokes = next_random() % 32; pokes > 0; pokes--)
			poke(base, memory);
	}
	put_string("garbage done\n");
}
