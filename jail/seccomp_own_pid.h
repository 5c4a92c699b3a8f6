#pragma once

/* In a check of an argument: the process that installs the filter, filled in then. */
#define SECCOMP_OWN_PID 0x6f776e50u
