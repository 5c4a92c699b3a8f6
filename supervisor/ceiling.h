#pragma once

#include <base/kerr.h>
#include <manifests/sandbox.h>

struct agent;

/*
 * The host's ceilings (manifests/sandbox.h) at work. Loop thread.
 *
 * Reads `file`; NULL: KOSVM_SANDBOX, else SANDBOX_FILE, which need not be there
 * (no ceilings then). One that cannot be read or is wrong is an error: kosvmd does not
 * start with fewer limits than its administrator wrote.
 */
int ceiling_load(struct sandbox *ret, const char *file, struct kerr *e);

/* May there be this agent, too? Not in the list yet. -EPERM with both lines. file: of its manifest.
 */
int ceiling_check_create(const struct agent *a, const char *file, struct kerr *e);

/* May it run now? The file may have become stricter since it was made. -EPERM. */
int ceiling_check_start(const struct agent *a, struct kerr *e);
