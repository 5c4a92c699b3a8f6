/*
 * Block requests from a hostile ring against a small file: the file never
 * changes its size, a read-only disk never its content, and a chain is
 * answered, refused or the ring broken, never anything else.
 *
 * Input: flags, then either an image of guest memory with the ring in front
 * (any chain), or a list of struct plan (well-formed chains, any request).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../../devices/blk_request.h"
#include "mock_ring.h"

#define MEMORY  0x10000u
#define RING    64u
#define SECTORS 64u
#define DISK    (SECTORS * BLK_SECTOR)
#define CHAINS  128u

enum { USE_IMAGE = 1, READ_ONLY = 2, NO_FLUSH = 4, NO_HOLES = 8, NO_FEATURES = 16 };

struct plan {
	uint8_t type;
	uint8_t framing; /* bytes of the header's first segment; high bit: status apart */
	uint64_t sector;
	uint16_t out, in;
	uint64_t payload[2]; /* in front of the readable data: a range */
} __attribute__((packed));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct blk_context disk;
static struct mock_mem mem;
static uint8_t before[DISK], after[DISK];

static void once(void)
{
	if (mem.host)
		return;
	mock_mem_init(&mem, MEMORY);
	for (unsigned i = 0; i < DISK; i++)
		before[i] = (uint8_t)(i % 253);
	disk.disk.fd = memfd_create("disk", MFD_CLOEXEC);
	disk.disk.size = DISK;
	must(disk.disk.fd >= 0);
	must(pwrite(disk.disk.fd, before, DISK, 0) == DISK);
}

static void check_file(void)
{
	struct stat st;

	must(fstat(disk.disk.fd, &st) == 0 && st.st_size == DISK);
	if (!disk.disk.read_only)
		return;
	must(pread(disk.disk.fd, after, DISK, 0) == DISK);
	must(memcmp(before, after, DISK) == 0);
}

static void serve(struct virtq *q)
{
	struct virtq_chain c;

	for (unsigned i = 0; i < CHAINS; i++) {
		uint32_t written = UINT32_MAX, in;
		int r = virtq_pop(q, &c);

		if (r <= 0)
			return;
		in = c.in_bytes;
		r = blk_request_run(&disk, &c, &written);
		must(r == 0 || r == -EPROTO);
		if (r < 0)
			return;
		must(written <= in);
		virtq_push(q, c.head, written);
	}
}

static void run_image(struct virtq *q, const uint8_t *data, size_t len)
{
	gpa_t avail = MOCK_BASE + 16 * RING, used = MOCK_BASE + MEMORY - 0x1000;

	memcpy(mem.host, data, len < MEMORY ? len : MEMORY);
	must(virtq_enable(q, RING, MOCK_BASE, avail, used, false, true) == 0);
	serve(q);
}

static void run_plan(struct mock_ring *ring, const struct plan *p)
{
	const struct {
		uint32_t type, reserved;
		uint64_t sector;
	} h = { p->type, 0, p->sector };
	uint32_t first = p->framing % 17, out = p->out % 2048, in = p->in % 2048;
	gpa_t header = mock_put(&mem, &h, sizeof(h));
	gpa_t to = mock_alloc(&mem, out + sizeof(p->payload), 1);
	gpa_t from = mock_alloc(&mem, in + 1u, 1);
	struct mock_seg segs[] = { { header, first, false }, { header + first, 16 - first, false },
		{ to, out, false }, { from, in, true }, { from + in, 1, true } };

	memcpy(mock_ptr(&mem, to, sizeof(p->payload)), p->payload, sizeof(p->payload));
	if (p->framing & 0x80)
		mock_ring_add(ring, segs, 5);
	else
		mock_ring_add_indirect(ring, segs, 4);
}

static void run_plans(struct virtq *q, const uint8_t *data, size_t len)
{
	struct mock_ring ring;
	struct plan p;

	mock_ring_init(&ring, &mem, RING);
	must(virtq_enable(q, RING, ring.desc_gpa, ring.avail_gpa, ring.used_gpa, false, true) == 0);
	for (unsigned i = 0; i < 8 && len >= sizeof(p); i++) {
		memcpy(&p, data, sizeof(p));
		data += sizeof(p);
		len -= sizeof(p);
		run_plan(&ring, &p);
		serve(q);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct virtq q;
	uint8_t flags;

	if (!len)
		return 0;
	once();
	flags = *data++;
	len--;
	disk.disk.read_only = flags & READ_ONLY;
	disk.disk.no_punch = disk.disk.no_zero_range = flags & NO_HOLES;
	disk.features = (flags & NO_FEATURES) ? 0 : blk_features(disk.disk.read_only);
	if (flags & NO_FLUSH)
		disk.features &= ~(UINT64_C(1) << 9);
	if (disk.disk.read_only)
		must(pread(disk.disk.fd, before, DISK, 0) == DISK);
	memset(mem.host, 0, MEMORY);
	mem.next = MOCK_BASE;
	virtq_init(&q, &mem.gmem);
	if (flags & USE_IMAGE)
		run_image(&q, data, len);
	else
		run_plans(&q, data, len);
	check_file();
	return 0;
}
