#include <errno.h>
#include <string.h>

#include "tar.h"

/* Reads exactly len. 1, 0 when the stream ends before the first byte, -errno. */
static int read_exactly(struct tar_reader *r, void *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = r->read(r->user, (uint8_t *)buf + got, len - got);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return got ? -EPROTO : 0;
		got += (size_t)n;
	}
	return 1;
}

static int skip(struct tar_reader *r, uint64_t len)
{
	uint8_t scrap[4096];

	while (len) {
		size_t n = len < sizeof(scrap) ? (size_t)len : sizeof(scrap);
		int x = read_exactly(r, scrap, n);

		if (x <= 0)
			return x < 0 ? x : -EPROTO;
		len -= n;
	}
	return 0;
}

/* Base 256, as GNU tar writes what does not fit: two's complement when the first byte is 0xff. */
static int binary(const uint8_t *p, size_t len, uint64_t *ret)
{
	uint64_t v = p[0] == 0xff ? UINT64_MAX : p[0] & 0x7fu;
	uint64_t sign = p[0] == 0xff ? 0x1ff : 0;

	for (size_t i = 1; i < len; i++) {
		if (v >> 55 != sign)
			return -EPROTO;
		v = v << 8 | p[i];
	}
	*ret = v;
	return 0;
}

/* Octal digits among spaces and NULs, or base 256 when the first bit is set. */
static int number(const uint8_t *p, size_t len, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if (p[0] & 0x80)
		return binary(p, len, ret);
	while (i < len && p[i] == ' ')
		i++;
	for (; i < len && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 60)
			return -EPROTO;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	for (; i < len; i++) {
		if (p[i] != ' ' && p[i] != 0)
			return -EPROTO;
	}
	*ret = v;
	return 0;
}

static bool sum_is_right(const uint8_t *block)
{
	uint64_t want;
	unsigned sum = 0;

	if (number(block + 148, 8, &want) < 0)
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : block[i];
	return sum == want;
}

/* What pax headers said about the next entry. */
struct pax {
	bool has_name, has_link, has_uid, has_gid, has_size, has_mtime;
	uint32_t uid, gid;
	uint64_t size;
	int64_t mtime;
};

/* A decimal number; a fraction behind it is cut off. */
static int decimal(const uint8_t *p, size_t len, uint64_t max, bool *ret_minus, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	*ret_minus = len > 0 && p[0] == '-';
	i = *ret_minus;
	if (i == len || p[i] < '0' || p[i] > '9')
		return -EPROTO;
	for (; i < len && p[i] >= '0' && p[i] <= '9'; i++) {
		v = v * 10 + (uint64_t)(p[i] - '0');
		if (v > max)
			return -EPROTO;
	}
	if (i < len && p[i] != '.')
		return -EPROTO;
	*ret = v;
	return 0;
}

static int text(const uint8_t *p, size_t len, char ret[static TAR_NAME_MAX])
{
	if (len >= TAR_NAME_MAX || memchr(p, 0, len))
		return -EPROTO;
	memcpy(ret, p, len);
	ret[len] = '\0';
	return 0;
}

static bool key_is(const uint8_t *key, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(key, want, len) == 0;
}

/* The data of such an entry is a map and what is between the holes, its name another one. */
static bool key_is_sparse(const uint8_t *key, size_t len)
{
	static const char prefix[] = "GNU.sparse.";
	const size_t n = sizeof(prefix) - 1;

	return len > n && memcmp(key, prefix, n) == 0;
}

static int pax_record(struct pax *x, struct tar_entry *t, const uint8_t *key, size_t key_len,
	const uint8_t *value, size_t len)
{
	bool minus = false;
	uint64_t v = 0;
	int r = 0;

	if (key_is(key, key_len, "path")) {
		x->has_name = true;
		return text(value, len, t->name);
	}
	if (key_is(key, key_len, "linkpath")) {
		x->has_link = true;
		return text(value, len, t->link);
	}
	if (key_is(key, key_len, "mtime")) {
		x->has_mtime = true;
		r = decimal(value, len, TAR_TIME_MAX, &minus, &v);
		x->mtime = minus ? -(int64_t)v : (int64_t)v;
		return r;
	}
	if (key_is(key, key_len, "size")) {
		x->has_size = true;
		r = decimal(value, len, TAR_SIZE_MAX, &minus, &x->size);
	} else if (key_is(key, key_len, "uid")) {
		x->has_uid = true;
		r = decimal(value, len, 0xfffffffeu, &minus, &v);
		x->uid = (uint32_t)v;
	} else if (key_is(key, key_len, "gid")) {
		x->has_gid = true;
		r = decimal(value, len, 0xfffffffeu, &minus, &v);
		x->gid = (uint32_t)v;
	}
	return minus ? -EPROTO : r;
}

/* "LEN KEY=VALUE\n", LEN with itself. */
static int pax_parse(
	struct pax *x, struct tar_entry *t, const uint8_t *p, size_t len, struct kerr *e)
{
	while (len) {
		const uint8_t *eq;
		size_t total = 0;
		size_t i = 0;
		int r;

		for (; i < len && p[i] >= '0' && p[i] <= '9'; i++) {
			total = total * 10 + (size_t)(p[i] - '0');
			if (total > len)
				return -EPROTO;
		}
		if (i == 0 || i == len || p[i] != ' ' || total < i + 3 || p[total - 1] != '\n')
			return -EPROTO;
		i++;
		eq = memchr(p + i, '=', total - 1 - i);
		if (!eq)
			return -EPROTO;
		if (key_is_sparse(p + i, (size_t)(eq - p) - i))
			return kerr_set(e, EOPNOTSUPP,
				"a file with holes in the tar stream: write it without --sparse");
		r = pax_record(x, t, p + i, (size_t)(eq - p) - i, eq + 1,
			total - 1 - ((size_t)(eq - p) + 1));
		if (r < 0)
			return r;
		p += total;
		len -= total;
	}
	return 0;
}

/* The data of a header of headers: in `buf`, its length in *ret_len. */
static int read_extra(struct tar_reader *r, uint64_t size, uint8_t *buf)
{
	int x;

	if (size > TAR_PAX_MAX)
		return -EPROTO;
	x = size ? read_exactly(r, buf, (size_t)size) : 1;
	if (x <= 0)
		return x < 0 ? x : -EPROTO;
	return skip(r, tar_padding(size));
}

/* An `L` or `K` header of GNU tar: a name with a NUL behind it. */
static int long_name(const uint8_t *p, size_t len, char ret[static TAR_NAME_MAX])
{
	while (len && p[len - 1] == 0)
		len--;
	return text(p, len, ret);
}

/* name, or prefix/name. */
static int ustar_name(const uint8_t *block, char ret[static TAR_NAME_MAX])
{
	size_t n = strnlen((const char *)block, 100);
	size_t p = memcmp(block + 257, "ustar\0", 6) == 0 ? strnlen((const char *)block + 345, 155)
							  : 0;

	memcpy(ret, block + 345, p);
	if (p)
		ret[p++] = '/';
	memcpy(ret + p, block, n);
	ret[p + n] = '\0';
	return 0;
}

static int fill_numbers(const uint8_t *block, const struct pax *x, struct tar_entry *t)
{
	uint64_t mode;
	uint64_t uid;
	uint64_t gid;
	uint64_t mtime;

	if (number(block + 100, 8, &mode) < 0 || number(block + 108, 8, &uid) < 0 ||
		number(block + 116, 8, &gid) < 0 || number(block + 136, 12, &mtime) < 0)
		return -EPROTO;
	if ((!x->has_uid && uid > 0xfffffffeu) || (!x->has_gid && gid > 0xfffffffeu))
		return -EPROTO;
	t->mode = (uint32_t)(mode & 07777);
	t->uid = x->has_uid ? x->uid : (uint32_t)uid;
	t->gid = x->has_gid ? x->gid : (uint32_t)gid;
	t->mtime = x->has_mtime ? x->mtime : (int64_t)mtime;
	if (t->mtime > TAR_TIME_MAX || t->mtime < -TAR_TIME_MAX)
		t->mtime = 0;
	return 0;
}

static int fill(struct tar_reader *r, const uint8_t *block, uint64_t size, const struct pax *x,
	struct tar_entry *t, struct kerr *e)
{
	char type = (char)block[156];

	if (!x->has_name)
		(void)ustar_name(block, t->name);
	if (!x->has_link) {
		size_t n = strnlen((const char *)block + 157, 100);

		memcpy(t->link, block + 157, n);
		t->link[n] = '\0';
	}
	if (fill_numbers(block, x, t) < 0)
		return -EPROTO;
	size = x->has_size ? x->size : size;
	if (size > TAR_SIZE_MAX)
		return -EPROTO;
	t->size = 0;
	switch (type) {
	case '\0':
	case '0':
	case '7':
		t->type = TAR_FILE;
		t->size = size;
		break;
	case '1':
	case '2':
	case '5':
		t->type = (enum tar_type)type;
		if (size && type != '1')
			return -EPROTO;
		break;
	default:
		return kerr_set(e, EOPNOTSUPP,
			"%.200s: only files, directories and links can be copied (type %c)",
			t->name, type >= ' ' && type <= '~' ? type : '?');
	}
	r->left = t->size;
	r->pad = tar_padding(t->size);
	return 1;
}

static int next(struct tar_reader *r, struct tar_entry *t, struct kerr *e)
{
	uint8_t block[TAR_BLOCK];
	uint8_t extra[TAR_PAX_MAX];
	struct pax x = { 0 };
	uint64_t size;
	int n = skip(r, r->left + r->pad);

	r->left = r->pad = 0;
	if (n < 0)
		return n;
	for (;;) {
		n = read_exactly(r, block, sizeof(block));
		if (n <= 0)
			return n < 0 ? n : -EPROTO; /* without its two blocks of zeros */
		if (block[0] == 0 && memcmp(block, block + 1, sizeof(block) - 1) == 0)
			return 0;
		if (!sum_is_right(block) || number(block + 124, 12, &size) < 0)
			return -EPROTO;
		switch (block[156]) {
		case 'x':
		case 'L':
		case 'K':
			n = read_extra(r, size, extra);
			if (n == 0 && block[156] == 'x')
				n = pax_parse(&x, t, extra, (size_t)size, e);
			if (n == 0 && block[156] == 'L') {
				x.has_name = true;
				n = long_name(extra, (size_t)size, t->name);
			}
			if (n == 0 && block[156] == 'K') {
				x.has_link = true;
				n = long_name(extra, (size_t)size, t->link);
			}
			break;
		case 'g': /* says nothing about names */
			n = size > TAR_PAX_MAX ? -EPROTO : skip(r, size + tar_padding(size));
			break;
		default:
			return fill(r, block, size, &x, t, e);
		}
		if (n < 0)
			return n;
	}
}

int tar_next(struct tar_reader *r, struct tar_entry *ret, struct kerr *e)
{
	int n = next(r, ret, e);

	if (n == -EPROTO)
		return kerr_set(e, EPROTO, "the tar stream is malformed or was cut short");
	return n;
}

ssize_t tar_data(struct tar_reader *r, void *buf, size_t len)
{
	int n;

	if (len > r->left)
		len = (size_t)r->left;
	if (len == 0)
		return 0;
	n = read_exactly(r, buf, len);
	if (n <= 0)
		return n < 0 ? n : -EPROTO;
	r->left -= len;
	return (ssize_t)len;
}
