#pragma once

#include <jansson.h>

#include <base/kerr.h>

struct sup;

/*
 * What would hold for an agent of this manifest, which need not be signed, and
 * who says so: the manifest, its defaults, or sandbox.ini. -errno: it is no
 * manifest. Else {"limits": [...], "isolation": [...], "quotas": [...],
 * "refused": why it would be refused here, or null}; docs/openapi.yaml. Loop thread.
 */
int policy_explain(struct sup *s, const char *file, const char *text, size_t len, json_t **ret,
	struct kerr *e);
