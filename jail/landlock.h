#pragma once

#include <base/kerr.h>

/* Denies all that Landlock can deny here, to this thread and those it starts. */
int landlock_deny_all(struct kerr *e);
