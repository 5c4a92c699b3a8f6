#pragma once

#include <jansson.h>

#include <base/kerr.h>

/*
 * Adds "NAME=VALUE", or "NAME" with this process's value (nothing when it
 * has none), to the object of a request. 0 or -errno.
 */
int environ_add(json_t *env, const char *text, struct kerr *e);
