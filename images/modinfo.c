#include "modinfo.h"

#include <elf.h>
#include <stdint.h>
#include <string.h>

/* A piece of the file, or NULL when it is not within it. */
static const char *piece(const void *data, size_t len, uint64_t offset, uint64_t size)
{
	uint64_t end;

	if (__builtin_add_overflow(offset, size, &end) || end > len)
		return NULL;
	return (const char *)data + offset;
}

static int section(const void *data, size_t len, const Elf64_Ehdr *h, unsigned i, Elf64_Shdr *ret)
{
	uint64_t offset;
	const char *p;

	if (i >= h->e_shnum || h->e_shentsize != sizeof(*ret) ||
		__builtin_add_overflow(h->e_shoff, (uint64_t)i * sizeof(*ret), &offset))
		return -1;
	p = piece(data, len, offset, sizeof(*ret));
	if (!p)
		return -1;
	memcpy(ret, p, sizeof(*ret));
	return 0;
}

/* Strings one after the other, each with its NUL; the last may lack it and is then left out. */
static const char *find_in(const char *text, uint64_t size, const char *key)
{
	size_t key_len = strlen(key);

	while (size > 0) {
		const char *end = memchr(text, '\0', size);

		if (!end)
			return NULL;
		if ((size_t)(end - text) > key_len && memcmp(text, key, key_len) == 0 &&
			text[key_len] == '=')
			return text + key_len + 1;
		size -= (uint64_t)(end - text) + 1;
		text = end + 1;
	}
	return NULL;
}

const char *modinfo_find(const void *data, size_t len, const char *key)
{
	static const char name[] = ".modinfo";
	Elf64_Shdr names;
	Elf64_Shdr s;
	Elf64_Ehdr h;

	if (len < sizeof(h))
		return NULL;
	memcpy(&h, data, sizeof(h));
	if (section(data, len, &h, h.e_shstrndx, &names) < 0)
		return NULL;
	for (unsigned i = 0; i < h.e_shnum; i++) {
		const char *text;
		const char *n;

		if (section(data, len, &h, i, &s) < 0)
			return NULL;
		if (s.sh_name >= names.sh_size || names.sh_size - s.sh_name < sizeof(name))
			continue;
		n = piece(data, len, names.sh_offset, names.sh_size);
		if (!n || memcmp(n + s.sh_name, name, sizeof(name)) != 0)
			continue;
		text = piece(data, len, s.sh_offset, s.sh_size);
		return text ? find_in(text, s.sh_size, key) : NULL;
	}
	return NULL;
}
