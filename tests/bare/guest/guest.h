#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the programs of the bare guest share. They run in ring 0 without
 * interrupts, on one processor, and with no instruction beyond plain
 * integer ones: some KVMs interpret ring 0.
 */

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

#define DEFINE_MMIO(bits)                                                                          \
	static inline uint##bits##_t mmio_read##bits(uint64_t addr)                                \
	{                                                                                          \
		return *(volatile uint##bits##_t *)addr;                                           \
	}                                                                                          \
	static inline void mmio_write##bits(uint64_t addr, uint##bits##_t v)                       \
	{                                                                                          \
		*(volatile uint##bits##_t *)addr = v;                                              \
	}
DEFINE_MMIO(8)
DEFINE_MMIO(16)
DEFINE_MMIO(32)
DEFINE_MMIO(64)

void put_string(const char *s);
void put_hex(uint64_t v);
void put_line(const char *what, uint64_t v); /* "what 0x…\n" */
void power_off(void) __attribute__((noreturn));

/* Prints and switches off when a condition does not hold. */
void expect(bool ok, const char *what, uint64_t got);

/* Maps the first 8 GiB one to one; before it, the first only. */
void map_8g(void);

/* Value of key=… on the command line (a number), or fallback. */
uint64_t option(const char *key, uint64_t fallback);

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* The programs, by their word on the command line: run=NAME. */
void run_ports(void);
void run_slots(void);
void run_high(void);
void run_garbage(void);
void run_blk(void);
void run_vsock(void);
void run_listen(void);
void run_flood(void);
void run_many(void);
void run_talk(void);
void run_mill(void);
void run_trim(void);
void run_tick(void);
