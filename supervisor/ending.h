#pragma once

#include "sup.h"

/*
 * How kosvmd ends. SIGTERM: at once, its VMs live on for the next one (an
 * upgrade, a restart of the service). SIGINT: all agents are stopped in
 * order first; a second signal then kills what is left.
 */
struct ending {
	struct loop_signal sig;
	struct loop_timer poll;
	struct sup *s;
	bool kill; /* what is left may not live on */
};

int ending_init(struct ending *en, struct sup *s, struct kerr *e);
/* After the loop: lets go of the agents, or ends them. */
void ending_done(struct ending *en);
