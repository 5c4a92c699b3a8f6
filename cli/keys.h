#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The keys that leave a terminal session: "ctrl-p,ctrl-q", "a,ctrl-[". */
#define KEYS_MAX     8u
#define KEYS_DEFAULT "ctrl-p,ctrl-q"

struct keys {
	uint8_t sequence[KEYS_MAX];
	size_t len;
	size_t matched; /* so many were typed and are held back */
};

/* 0 or -EINVAL; "" is no keys at all. */
int keys_parse(const char *text, struct keys *ret);

/*
 * What was typed, less the sequence: out (KEYS_MAX more than len) gets what
 * is to be passed on. true when the whole sequence was typed.
 */
bool keys_filter(struct keys *k, const uint8_t *in, size_t len, uint8_t *out, size_t *ret_len);
