#include "aml.h"

#include <assert.h>
#include <string.h>

#define OP_ZERO    0x00
#define OP_ONE     0x01
#define OP_NAME    0x08
#define OP_BYTE    0x0a
#define OP_WORD    0x0b
#define OP_DWORD   0x0c
#define OP_STRING  0x0d
#define OP_QWORD   0x0e
#define OP_SCOPE   0x10
#define OP_BUFFER  0x11
#define OP_PACKAGE 0x12
#define OP_EXT     0x5b
#define OP_DEVICE  0x82 /* behind OP_EXT */

#define LENGTH_MAX ((1u << 28) - 1)

static void put_bytes(struct aml *a, const void *p, size_t n)
{
	if (a->full || n > a->cap - a->len) {
		a->full = true;
		return;
	}
	memcpy(a->buf + a->len, p, n);
	a->len += n;
}

static void put_byte(struct aml *a, uint8_t v)
{
	put_bytes(a, &v, 1);
}

/* Little-endian, as the machine itself is. */
static void put_u16(struct aml *a, uint16_t v)
{
	put_bytes(a, &v, sizeof(v));
}

static void put_u32(struct aml *a, uint32_t v)
{
	put_bytes(a, &v, sizeof(v));
}

/* A name: an optional root and one segment, filled up with underscores. */
static void put_name(struct aml *a, const char *name)
{
	char seg[4] = { '_', '_', '_', '_' };
	size_t n;

	if (*name == '\\') {
		put_byte(a, '\\');
		name++;
	}
	n = strlen(name);
	assert(n >= 1 && n <= sizeof(seg));
	memcpy(seg, name, n);
	put_bytes(a, seg, sizeof(seg));
}

/*
 * The length of a term stands in front of it and counts itself; how many
 * bytes it takes (1 to 4) is known when the term is complete. So a term
 * begins where its length will be, and closing it moves the body.
 */
void aml_close(struct aml *a, size_t mark)
{
	size_t body = a->len - mark, bytes, total;
	uint8_t enc[4];

	if (a->full)
		return;
	bytes = body + 1 < 64 ? 1 : body + 2 < (1 << 12) ? 2 : body + 3 < (1 << 20) ? 3 : 4;
	total = body + bytes;
	if (bytes > a->cap - a->len || total > LENGTH_MAX) {
		a->full = true;
		return;
	}
	if (bytes == 1) {
		enc[0] = (uint8_t)total;
	} else {
		enc[0] = (uint8_t)(((bytes - 1) << 6) | (total & 0xf));
		for (size_t i = 1; i < bytes; i++)
			enc[i] = (uint8_t)(total >> (4 + 8 * (i - 1)));
	}
	memmove(a->buf + mark + bytes, a->buf + mark, body);
	memcpy(a->buf + mark, enc, bytes);
	a->len += bytes;
}

size_t aml_open_scope(struct aml *a, const char *name)
{
	size_t mark;

	put_byte(a, OP_SCOPE);
	mark = a->len;
	put_name(a, name);
	return mark;
}

size_t aml_open_device(struct aml *a, const char *name)
{
	size_t mark;

	put_byte(a, OP_EXT);
	put_byte(a, OP_DEVICE);
	mark = a->len;
	put_name(a, name);
	return mark;
}

size_t aml_open_package(struct aml *a, uint8_t elements)
{
	size_t mark;

	put_byte(a, OP_PACKAGE);
	mark = a->len;
	put_byte(a, elements);
	return mark;
}

/*
 * A buffer: PkgLength BufferSize bytes. The size is written as a word so
 * that it has a fixed place; aml_close_resources fills it in.
 */
size_t aml_open_resources(struct aml *a)
{
	size_t mark;

	put_byte(a, OP_BUFFER);
	mark = a->len;
	put_byte(a, OP_WORD);
	put_u16(a, 0);
	return mark;
}

void aml_close_resources(struct aml *a, size_t mark)
{
	uint16_t size;

	put_byte(a, 0x79); /* end tag; checksum 0: not used (6.4.2.9) */
	put_byte(a, 0);
	if (a->full)
		return;
	assert(a->len - mark - 3 <= UINT16_MAX);
	size = (uint16_t)(a->len - mark - 3);
	memcpy(a->buf + mark + 1, &size, sizeof(size));
	aml_close(a, mark);
}

void aml_name(struct aml *a, const char *name)
{
	put_byte(a, OP_NAME);
	put_name(a, name);
}

void aml_integer(struct aml *a, uint64_t value)
{
	if (value <= 1) {
		put_byte(a, value ? OP_ONE : OP_ZERO);
	} else if (value <= UINT8_MAX) {
		put_byte(a, OP_BYTE);
		put_byte(a, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		put_byte(a, OP_WORD);
		put_u16(a, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		put_byte(a, OP_DWORD);
		put_u32(a, (uint32_t)value);
	} else {
		put_byte(a, OP_QWORD);
		put_bytes(a, &value, sizeof(value));
	}
}

void aml_string(struct aml *a, const char *s)
{
	put_byte(a, OP_STRING);
	put_bytes(a, s, strlen(s) + 1);
}

static uint32_t hex_digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of five bits and four digits, most significant byte first (6.1.5). */
void aml_eisa_id(struct aml *a, const char *id)
{
	uint32_t v;

	assert(strlen(id) == 7);
	v = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
		(uint32_t)(id[2] - 0x40) << 16 | hex_digit(id[3]) << 12 | hex_digit(id[4]) << 8 |
		hex_digit(id[5]) << 4 | hex_digit(id[6]);
	put_byte(a, OP_DWORD);
	put_u32(a, __builtin_bswap32(v));
}

/* 6.4.3.4 */
void aml_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	put_byte(a, 0x86);
	put_u16(a, 9);
	put_byte(a, 1); /* read-write */
	put_u32(a, base);
	put_u32(a, len);
}

/* 6.4.2.5 */
void aml_io(struct aml *a, uint16_t port, uint8_t len)
{
	put_byte(a, 0x47);
	put_byte(a, 1); /* decodes 16 bits */
	put_u16(a, port);
	put_u16(a, port);
	put_byte(a, 1); /* alignment */
	put_byte(a, len);
}

/* 6.4.3.6 */
void aml_interrupt(struct aml *a, uint32_t gsi)
{
	put_byte(a, 0x89);
	put_u16(a, 6);
	put_byte(a, 0x03); /* consumer, edge; active high, exclusive */
	put_byte(a, 1);    /* one interrupt */
	put_u32(a, gsi);
}
