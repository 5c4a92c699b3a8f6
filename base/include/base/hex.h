#pragma once

#include <stddef.h>
#include <stdint.h>

/* Lower-case hexadecimal. out holds 2 * len + 1 bytes. */
void hex_encode(const uint8_t *data, size_t len, char *out);

/* Exactly 2 * len lower- or upper-case digits and nothing behind; 0 or -EINVAL. */
int hex_decode(const char *s, uint8_t *out, size_t len);
