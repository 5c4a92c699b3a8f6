#include "virtio.h"

enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11, BLK_ZERO = 13 };

#define F_DISCARD (1u << 13)
#define F_ZERO    (1u << 14)

static struct ring ring;
static struct {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
} head;
static uint8_t data[512];
static volatile uint8_t status;

/* One request over three descriptors (virtio 1.2, 5.2.6); its status. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t len)
{
	bool out = type == BLK_OUT || type == BLK_DISCARD || type == BLK_ZERO;
	uint16_t direction = out ? 0 : DESC_WRITE;
	uint16_t last = len ? 2 : 1;

	head.type = type;
	head.sector = sector;
	status = 0xaa;
	ring.desc[0] = (struct desc){ (uint64_t)&head, sizeof(head), DESC_NEXT, 1 };
	ring.desc[1] = (struct desc){ (uint64_t)data, len, DESC_NEXT | direction, 2 };
	ring.desc[last] = (struct desc){ (uint64_t)&status, 1, DESC_WRITE, 0 };
	ring_submit(&ring, 0);
	(void)ring_wait(&ring, NULL);
	return status;
}

/*
 * The disk is two sectors: the first says "first sector", the second is
 * written here. Anything outside it, or malformed, must be refused.
 */
void run_blk(void)
{
	uint64_t base = VIRTIO_SLOT(0);

	map_8g();
	expect(mmio_read32(base + VIRTIO_DEVICE_ID) == 2, "device", 0);
	expect(mmio_read32(base + VIRTIO_CONFIG) == 2, "capacity",
		mmio_read32(base + VIRTIO_CONFIG));
	virtio_begin(base);
	virtio_set_queue(&ring, base, 0);
	virtio_go(base);
	expect(request(BLK_IN, 0, 512) == 0, "read", status);
	expect(memcmp(data, "first sector", 12) == 0, "contents", data[0]);
	memset(data, 0, sizeof(data));
	memcpy(data, "written by the guest", 20);
	expect(request(BLK_OUT, 1, 512) == 0, "write", status);
	expect(request(BLK_FLUSH, 0, 0) == 0, "flush", status);
	expect(request(BLK_IN, 2, 512) == 1, "read behind the end", status);
	expect(request(BLK_OUT, ~0ULL, 512) == 1, "write behind every end", status);
	expect(request(999, 0, 512) == 2, "unknown request", status);
	expect(request(BLK_GET_ID, 0, 20) == 0, "get-id", status);
	data[20] = 0;
	put_string((const char *)data);
	put_string("\nblk ok\n");
}

static void start(uint64_t base)
{
	map_8g();
	virtio_begin(base);
	virtio_set_queue(&ring, base, 0);
	virtio_go(base);
}

/* Writes and reads back, another pattern each time; a request that is lost or done by half shows.
 */
void run_mill(void)
{
	uint64_t rounds = option("rounds", 1);

	start(VIRTIO_SLOT(0));
	put_string("grinding\n");
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t *word = (uint64_t *)data;

		word[0] = i;
		word[63] = ~i;
		expect(request(BLK_OUT, i % 8, 512) == 0, "write", status);
		word[0] = 0;
		word[63] = 0;
		expect(request(BLK_IN, i % 8, 512) == 0, "read", status);
		expect(word[0] == i && word[63] == ~i, "contents", word[0]);
	}
	put_string("mill ok\n");
}

/* A discard or zeroes, of that many sectors from there. */
static void change_space(uint32_t type, uint64_t sector, uint32_t count)
{
	memset(data, 0, sizeof(data));
	((uint64_t *)data)[0] = sector;
	((uint32_t *)data)[2] = count;
	expect(request(type, 0, 16) == 0, "discard or zeroes", status);
}

/* Fills the disk of 16 sectors, gives back the first half and zeroes the other. */
void run_trim(void)
{
	uint64_t base = VIRTIO_SLOT(0);

	map_8g();
	virtio_begin_with(base, F_DISCARD | F_ZERO);
	virtio_set_queue(&ring, base, 0);
	virtio_go(base);
	for (uint64_t i = 0; i < 16; i++) {
		memset(data, 0x5a, sizeof(data));
		expect(request(BLK_OUT, i, 512) == 0, "write", status);
	}
	change_space(BLK_DISCARD, 0, 8);
	change_space(BLK_ZERO, 8, 8);
	for (uint64_t i = 8; i < 16; i++) {
		expect(request(BLK_IN, i, 512) == 0, "read", status);
		for (unsigned at = 0; at < 512; at++)
			expect(data[at] == 0, "contents", data[at]);
	}
	put_string("trim ok\n");
}
