#include <manifests/manifest.h>

#include <errno.h>
#include <string.h>

#include <base/hex.h>

static const char prefix[] = "blake2b:";

void digest_format(const struct digest *d, char out[static DIGEST_TEXT_LEN + 1])
{
	memcpy(out, prefix, sizeof(prefix) - 1);
	hex_encode(d->bytes, sizeof(d->bytes), out + sizeof(prefix) - 1);
}

int digest_parse(const char *s, struct digest *ret)
{
	struct digest d = { 0 };

	if (strlen(s) != DIGEST_TEXT_LEN || strncmp(s, prefix, sizeof(prefix) - 1) != 0 ||
		hex_decode(s + sizeof(prefix) - 1, d.bytes, sizeof(d.bytes)) < 0)
		return -EINVAL;
	*ret = d;
	return 0;
}
