#include "guest.h"

#define ZERO_PAGE_CMDLINE 0x228
#define PORT_SERIAL       0x3f8
#define PORT_SLEEP        0x600
#define PORT_RESET        0x602
#define PAGE_PRESENT_RW   3ULL
#define PAGE_LARGE        0x80ULL

static const char *cmdline;

void *memcpy(void *to, const void *from, size_t n)
{
	volatile uint8_t *t = to;
	const uint8_t *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int c, size_t n)
{
	volatile uint8_t *t = to;

	while (n--)
		*t++ = (uint8_t)c;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const volatile uint8_t *x = a;
	const volatile uint8_t *y = b;

	for (; n--; x++, y++) {
		if (*x != *y)
			return *x < *y ? -1 : 1;
	}
	return 0;
}

void put_string(const char *s)
{
	while (*s)
		out8(PORT_SERIAL, (uint8_t)*s++);
}

void put_hex(uint64_t v)
{
	char buf[20];
	int at = 19;

	buf[at] = '\0';
	do {
		buf[--at] = "0123456789abcdef"[v & 15];
		v >>= 4;
	} while (v);
	buf[--at] = 'x';
	buf[--at] = '0';
	put_string(buf + at);
}

void put_line(const char *what, uint64_t v)
{
	put_string(what);
	put_string(" ");
	put_hex(v);
	put_string("\n");
}

void power_off(void)
{
	out8(PORT_SLEEP, 0x34);
	for (;;)
		__asm__ volatile("hlt");
}

void expect(bool ok, const char *what, uint64_t got)
{
	if (ok)
		return;
	put_string("unexpected: ");
	put_line(what, got);
	power_off();
}

static uint64_t directories[8][512] __attribute__((aligned(4096)));
static uint64_t pointers[512] __attribute__((aligned(4096)));
static uint64_t top[512] __attribute__((aligned(4096)));

void map_8g(void)
{
	for (uint64_t g = 0; g < 8; g++) {
		for (uint64_t i = 0; i < 512; i++)
			directories[g][i] = g << 30 | i << 21 | PAGE_LARGE | PAGE_PRESENT_RW;
		pointers[g] = (uint64_t)directories[g] | PAGE_PRESENT_RW;
	}
	top[0] = (uint64_t)pointers | PAGE_PRESENT_RW;
	__asm__ volatile("mov %0, %%cr3" : : "r"(top) : "memory");
}

static const char *find_option(const char *key)
{
	for (const char *at = cmdline; *at; at++) {
		const char *k = key;
		const char *c = at;

		if (at != cmdline && at[-1] != ' ')
			continue;
		while (*k && *k == *c)
			k++, c++;
		if (!*k && *c == '=')
			return c + 1;
	}
	return NULL;
}

uint64_t option(const char *key, uint64_t fallback)
{
	const char *s = find_option(key);
	uint64_t v = 0;

	if (!s)
		return fallback;
	for (; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	return v;
}

static void run_hello(void)
{
	put_string("hello\n");
}

static void run_triple(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idt = { 0, 0 };

	/* A page fault with nowhere to go. */
	__asm__ volatile("lidt %0" : : "m"(idt));
	*(volatile uint8_t *)(1ULL << 40) = 1;
}

static void run_reset(void)
{
	out8(PORT_RESET, 1);
	for (;;)
		;
}

static void run_i8042(void)
{
	out8(0x64, 0xfe);
	for (;;)
		;
}

static void run_spin(void)
{
	put_string("spinning\n");
	for (;;)
		;
}

static void run_halt(void)
{
	put_string("halted\n");
	for (;;)
		__asm__ volatile("cli\n\thlt");
}

static const struct {
	const char *name;
	void (*run)(void);
} programs[] = {
	{ "hello", run_hello },
	{ "triple", run_triple },
	{ "reset", run_reset },
	{ "i8042", run_i8042 },
	{ "spin", run_spin },
	{ "halt", run_halt },
	{ "ports", run_ports },
	{ "slots", run_slots },
	{ "high", run_high },
	{ "garbage", run_garbage },
	{ "blk", run_blk },
	{ "vsock", run_vsock },
	{ "listen", run_listen },
	{ "flood", run_flood },
	{ "many", run_many },
	{ "talk", run_talk },
	{ "mill", run_mill },
	{ "trim", run_trim },
	{ "tick", run_tick },
};

static bool named(const char *word, const char *name)
{
	while (*name && *word == *name)
		word++, name++;
	return !*name && (!*word || *word == ' ');
}

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	const char *word;

	cmdline = (const char *)(uint64_t) * (const uint32_t *)(zero_page + ZERO_PAGE_CMDLINE);
	word = find_option("run");
	for (size_t i = 0; word && i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (named(word, programs[i].name)) {
			programs[i].run();
			power_off();
		}
	}
	put_string("no such program\n");
	power_off();
}
