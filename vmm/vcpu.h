#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include <base/kerr.h>

#include "bus.h"
#include "ending.h"

/* What the vCPUs of one machine share; outlives them. */
struct vcpu_env {
	const struct bus *ports;
	const struct bus *mmio;
	struct ending *ending;
	_Atomic bool stop;
};

struct vcpu;

/*
 * Creates vCPU `index`. Its registers are set through vcpu_fd before
 * vcpu_start. Loop thread, all of it.
 */
int vcpu_new(struct vcpu **ret, struct vcpu_env *env, int kvm_fd, int vm_fd, unsigned index,
	struct kerr *e);
int vcpu_fd(const struct vcpu *v);

/* Starts the thread that enters the guest. */
int vcpu_start(struct vcpu *v, struct kerr *e);

/*
 * Gets the vCPU out of the guest; env->stop was set before. The thread
 * ends soon after; vcpu_free waits for it.
 */
void vcpu_kick(struct vcpu *v);

/* Joins and frees. NULL is fine. */
void vcpu_free(struct vcpu *v);
