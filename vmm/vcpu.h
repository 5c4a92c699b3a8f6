#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <base/kerr.h>

#include "bus.h"
#include "ending.h"

/*
 * What the vCPUs of one machine share; outlives them. `lock` guards the
 * three fields behind it and each vCPU's immediate_exit: whoever wants a vCPU
 * out of the guest sets the wish and the flag in one go, and a vCPU clears
 * its flag only after it looked at the wish. So none is lost.
 */
struct vcpu_env {
	const struct bus *ports;
	const struct bus *mmio;
	struct ending *ending;
	uint32_t confine; /* BOARD_CONFINE_*: what a thread takes from itself first */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop;
	bool held;
	unsigned busy; /* threads that may be in the guest or in a device */
};

void vcpu_env_init(struct vcpu_env *env);
void vcpu_env_done(struct vcpu_env *env);

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
 * All vCPUs of env out of the guest, for good; the threads end soon after,
 * vcpu_free waits for them.
 */
void vcpus_stop(struct vcpu_env *env, struct vcpu *const *vcpus, unsigned count);

/* All of them out of the guest until vcpus_go; waits until they are. */
void vcpus_hold(struct vcpu_env *env, struct vcpu *const *vcpus, unsigned count);
void vcpus_go(struct vcpu_env *env, struct vcpu *const *vcpus, unsigned count);

/* CPU time of its thread, the guest's included; 0 before vcpu_start. */
uint64_t vcpu_cpu_ns(const struct vcpu *v);

/* Joins and frees. NULL is fine. */
void vcpu_free(struct vcpu *v);
