#include "guest.h"
#include "virtio.h"

#define PORT_NOBODY 0x1230

/* I/O ports: blocks of them, widths, and where nobody answers. */
void run_ports(void)
{
	static const char line[] = "a block of bytes\n";
	const char *from = line;
	uint64_t n = sizeof(line) - 1;
	uint8_t clock[64];
	uint8_t *to = clock;

	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(0x3f8) : "memory");
	expect(in8(0x70) == 0 && in8(0x71) == 0, "clock", in8(0x70));
	memset(clock, 0xee, sizeof(clock));
	n = sizeof(clock);
	__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(0x71) : "memory");
	for (size_t i = 0; i < sizeof(clock); i++)
		expect(clock[i] == 0, "clock in a block", clock[i]);
	expect(in8(PORT_NOBODY) == 0xff, "byte of nobody", in8(PORT_NOBODY));
	expect(in16(PORT_NOBODY) == 0xffff, "word of nobody", in16(PORT_NOBODY));
	expect(in32(PORT_NOBODY) == 0xffffffff, "long of nobody", in32(PORT_NOBODY));
	/* A word over the edge of a window: the clock's second port and nobody's. */
	expect(in16(0x71) == 0xff00, "word over an edge", in16(0x71));
	/* Scratch register of the 16550 beside the byte below it. */
	out8(0x3ff, 0x5a);
	expect(in8(0x3ff) == 0x5a, "scratch", in8(0x3ff));
	expect(in16(0x3fe) >> 8 == 0x5a, "scratch in a word", in16(0x3fe));
	__asm__ volatile("outw %w0, %w1" : : "a"(0xa500), "Nd"((uint16_t)0x3fe));
	expect(in8(0x3ff) == 0xa5, "scratch from a word", in8(0x3ff));
	put_string("ports ok\n");
}

/* Every slot's identity, and the emptiness around them. */
void run_slots(void)
{
	uint64_t slots = option("slots", 0);

	map_8g();
	for (uint64_t i = 0; i < slots; i++) {
		uint64_t at = VIRTIO_SLOT(i);

		expect(mmio_read32(at) == VIRTIO_MAGIC, "magic", mmio_read32(at));
		expect(mmio_read32(at + VIRTIO_VERSION) == 2, "version",
			mmio_read32(at + VIRTIO_VERSION));
		put_line("device", mmio_read32(at + VIRTIO_DEVICE_ID));
	}
	expect(mmio_read32(VIRTIO_SLOT(slots)) == 0xffffffff, "slot of nobody",
		mmio_read32(VIRTIO_SLOT(slots)));
	expect(mmio_read8(0xe0000000) == 0xff, "byte of nobody", mmio_read8(0xe0000000));
	expect(mmio_read16(0xe0000000) == 0xffff, "word of nobody", mmio_read16(0xe0000000));
	expect(mmio_read64(0xe0000000) == ~0ULL, "quad of nobody", mmio_read64(0xe0000000));
	mmio_write64(0xe0000000, 1);
	put_string("slots ok\n");
}

/* Memory on both sides of the hole; nothing in it. */
void run_high(void)
{
	uint64_t top = (4ULL << 30) + (option("mib", 0) << 20) - (3ULL << 30);
	const uint64_t at[] = { (3ULL << 30) - 8, 4ULL << 30, top - 8 };

	map_8g();
	for (size_t i = 0; i < 3; i++)
		mmio_write64(at[i], 0x1122334455660000ULL + i);
	for (size_t i = 0; i < 3; i++)
		expect(mmio_read64(at[i]) == 0x1122334455660000ULL + i, "memory", at[i]);
	expect(mmio_read32(3ULL << 30) == 0xffffffff, "start of the hole", mmio_read32(3ULL << 30));
	expect(mmio_read32((4ULL << 30) - 4) == 0xffffffff, "end of the hole",
		mmio_read32((4ULL << 30) - 4));
	expect(mmio_read32(top) == 0xffffffff, "behind the end", mmio_read32(top));
	put_string("high ok\n");
}

/* Never rests: a line on the console again and again. */
void run_tick(void)
{
	for (;;) {
		put_string("tick\n");
		for (volatile unsigned i = 0; i < 200; i++)
			;
	}
}
