#pragma once

#include "sup.h"

struct agent;

/* What an earlier kosvmd left behind when it was killed; at the start only. */

/*
 * Removes directories of agents that this database knew once and knows no
 * more. One that it never knew may be another's, with a state disk: it is
 * told of and stays.
 */
int sweep_directories(struct sup *s, struct kerr *e);

/* Temporary files and the socket of an agent without a VM. */
void sweep_agent(struct agent *a);
