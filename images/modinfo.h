#pragma once

#include <stddef.h>

#include <base/kerr.h>

/*
 * The value of `key` in a module's .modinfo section ("depends",
 * "vermagic", …), NUL-terminated within data; NULL when there is none or
 * the file's section table leads nowhere. data is hostile.
 */
const char *modinfo_find(const void *data, size_t len, const char *key);
