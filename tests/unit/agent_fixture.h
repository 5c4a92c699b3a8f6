#pragma once

#include <base/clock.h>

#include "agent.h"
#include "panic.h"
#include "sup_fixture.h"

/*
 * One agent with a real database and a real process that stands in for its
 * VMM, and somebody who looks on. Only the part before the VMM (images,
 * /dev/kvm) is not here.
 */
#define AF_MOVES_MAX         64u
#define AF_START_PATIENCE_NS (60 * CLOCK_NS_PER_S)

struct af {
	struct sup sup;
	struct agent *a; /* NULL once it is gone */
	struct agent_watcher watcher;
	enum agent_state states[AF_MOVES_MAX];
	unsigned moves, removals, removal_errors;
	bool ended, running;
};
extern struct af af;

/* fx_setup and a row as agent_create makes it, taken in as at the start of kosvmd. */
void af_setup(void);
/* more: lines behind the manifest's [run]. */
void af_setup_manifest(const char *more);
void af_teardown(void);

/* kosvmd comes, goes, and is killed: what it held is closed, its VMs know nothing of it. */
void af_open(void);
void af_close(void);
void af_crash(void);
/* af_open and agents_load. */
void af_load(void);
/* Forgets what was seen. */
void af_look_on(void);

void af_sql(const char *text);
int af_count(const char *query);

/* What a start does once the images are verified; orders: of the fake VMM. */
void af_start(const char *orders);
/* The same without the move. */
void af_boot(const char *orders);
/* And waits until it runs. */
void af_run(const char *orders);

void af_check_moves(const enum agent_state *want, unsigned n);
#define AF_CHECK_MOVES(...)                                                                        \
	af_check_moves((const enum agent_state[]){ __VA_ARGS__ },                                  \
		sizeof((const enum agent_state[]){ __VA_ARGS__ }) / sizeof(enum agent_state))
