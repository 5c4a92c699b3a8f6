#pragma once

#include <stdio.h>

#include "cmd.h"

/* The verbs, a file each. */
extern const struct cmd cmd_attach, cmd_completion, cmd_cp, cmd_create, cmd_doctor, cmd_events,
	cmd_exec, cmd_help, cmd_image, cmd_info, cmd_inspect, cmd_key, cmd_kill, cmd_logs,
	cmd_manifest, cmd_panic, cmd_policy, cmd_ps, cmd_restart, cmd_rm, cmd_run, cmd_send,
	cmd_shell, cmd_start, cmd_stats, cmd_stop, cmd_top, cmd_unpanic, cmd_update, cmd_version,
	cmd_wait;

/* help.c: what `kosvm` alone prints; what an unknown verb gets, and its exit code. */
void help_verbs(FILE *f);
int help_unknown(const char *verb);
