#include "keys.h"

#include <errno.h>
#include <string.h>

/* One of "x" and "ctrl-x": its byte, or -EINVAL. */
static int key_byte(const char *s, size_t len)
{
	unsigned char c;

	if (len == 1 && (unsigned char)*s > 0x20 && (unsigned char)*s < 0x7f)
		return (unsigned char)*s;
	if (len != 6 || strncmp(s, "ctrl-", 5) != 0)
		return -EINVAL;
	c = (unsigned char)s[5];
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 1;
	if (c >= '@' && c <= '_')
		return c - '@';
	return -EINVAL;
}

int keys_parse(const char *text, struct keys *ret)
{
	struct keys k = { 0 };

	while (*text) {
		size_t len = strcspn(text, ",");
		int byte = key_byte(text, len);

		if (byte < 0 || k.len == KEYS_MAX)
			return -EINVAL;
		k.sequence[k.len++] = (uint8_t)byte;
		text += len;
		if (*text == ',' && *++text == '\0')
			return -EINVAL;
	}
	*ret = k;
	return 0;
}

bool keys_filter(struct keys *k, const uint8_t *in, size_t len, uint8_t *out, size_t *ret_len)
{
	size_t n = 0;

	*ret_len = 0;
	for (size_t i = 0; i < len; i++) {
		if (k->len == 0) {
			out[n++] = in[i];
			continue;
		}
		if (in[i] != k->sequence[k->matched] && k->matched > 0) {
			/* Not it: what was held back goes on its way. */
			memcpy(out + n, k->sequence, k->matched);
			n += k->matched;
			k->matched = 0;
		}
		if (in[i] != k->sequence[k->matched]) {
			out[n++] = in[i];
			continue;
		}
		if (++k->matched == k->len) {
			k->matched = 0;
			*ret_len = n;
			return true;
		}
	}
	*ret_len = n;
	return false;
}
