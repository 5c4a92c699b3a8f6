#pragma once

#include <stdbool.h>

#include <base/kerr.h>
#include <base/loop.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

/*
 * One virtual machine: memory, vCPUs, irqchip, devices, built from a board
 * and a table of descriptors. Created, started and ended on the loop's
 * thread; each vCPU and each block device has a thread of its own. No
 * path is opened anywhere.
 */
struct machine;
struct virtio_vsock;

struct machine_ops {
	/* Loop thread: the machine ended by itself (power-off, reset, fault). Once. */
	void (*ended)(void *user, enum vmm_end reason, const char *text);
	void (*guest_connect)(
		void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port);
	void (*connect_done)(void *user, uint64_t id, int result);
};

/* fds[0..nfds) become the machine's (also on failure). */
int machine_new(struct machine **ret, struct loop *loop, const struct board *b, int *fds,
	size_t nfds, const struct machine_ops *ops, void *user, struct kerr *e);

/* Enters the vCPUs. */
int machine_start(struct machine *m, struct kerr *e);

/*
 * While it is held no guest instruction runs and no device touches guest
 * memory. Waits until that is so. Ends and quits work as ever.
 */
void machine_hold(struct machine *m, bool held);
bool machine_held(const struct machine *m);

void machine_stats(const struct machine *m, struct vmm_stats *ret);

/* What its devices may move, from now on, as in wire/vmm_proto.h. */
void machine_limit(
	struct machine *m, const struct rate_limit *disk, const struct rate_limit *vsock);

/* Stops vCPUs, quiesces devices, flushes disks, joins threads. NULL is fine. */
void machine_free(struct machine *m);

struct virtio_vsock *machine_vsock(struct machine *m); /* NULL when the board has none */

/* The last bytes the guest wrote to its console; see serial_tail. */
size_t machine_console_tail(struct machine *m, char *buf, size_t len);
