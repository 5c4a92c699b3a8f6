#pragma once

#include "sup_fixture.h"
#include "vmm_proc.h"

/* One fake VMM and what it said; everything is forgotten by vp_reset. */
struct vp {
	struct vmm_proc *p;
	bool running, gone, connected, asked, attached, paused, replied;
	bool attached_running;
	bool deny; /* forked() says no */
	enum vmm_end reason;
	char text[512];
	int result; /* of connected, or of the last reply */
	unsigned requests;
	unsigned replies;
	struct vmm_reply reply;
	struct vmm_identity forked;
};

extern struct vp vp;
extern const struct vmm_proc_ops vp_ops;

void vp_reset(void);
/* Starts `program` with orders; listener and end file of fx_dir with detachable. 0 or -errno. */
int vp_start_program(const char *program, const char *orders, bool detachable);
void vp_start(const char *orders);
void vp_start_detachable(const char *orders);
/* Counts in vp. */
void vp_done(void *user, int result, const struct vmm_reply *reply);
/* True while the process is there (not even a zombie). */
bool vp_alive(pid_t pid);
