#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <wire/board.h>
#include <wire/vmm_proto.h>

/*
 * A kosvm-vmm under test: started as kosvmd starts it, talked to over its
 * control socket. What goes wrong here fails the Check test that called.
 *
 * KOSVM_VMM names the program, KOSVM_BARE the directory of the guests.
 */
struct vmm_run {
	struct board board;
	int fds[FDPASS_MAX_FDS]; /* the board's table; closed by vmm_run_done */
	size_t nfds;
	int serial;             /* a memfd: what the guest printed */
	int sock;               /* our end of the control socket */
	pid_t pid;              /* 0: not started, or ended */
	bool no_open;           /* before starting: the program dies if it opens a path */
	uint64_t address_space; /* before starting: its RLIMIT_AS; 0: none */
	uint64_t open_files;    /* before starting: its RLIMIT_NOFILE; 0: as ours */
	int door;               /* its listener, ours too; -1: none */
	int ended;              /* a memfd: its last word; -1: none */
	int exit_code;          /* after vmm_run_wait_exit; 128 + signal */
};

/* A board with 16 MiB, one vCPU and the guest program that cmdline names ("run=hello"). */
void vmm_run_init(struct vmm_run *v, const char *cmdline);

/* As above without KVM: /dev/null is in its place. */
void vmm_run_init_no_kvm(struct vmm_run *v, const char *cmdline);

/* Puts another file of KOSVM_BARE in the place of the guest's. */
void vmm_run_set_guest(struct vmm_run *v, const char *file);

int vmm_run_add_fd(struct vmm_run *v, int fd); /* fd becomes v's; its index */
struct board_slot *vmm_run_add_blk(struct vmm_run *v, int fd, uint64_t size);
struct board_slot *vmm_run_add_vsock(struct vmm_run *v, uint64_t cid);

/* A listener and an end file for the board: it outlives its control socket. */
void vmm_run_detachable(struct vmm_run *v);

void vmm_run_spawn(struct vmm_run *v);      /* the program alone */
void vmm_run_send_board(struct vmm_run *v); /* BOOT */
void vmm_run_start(struct vmm_run *v);      /* both */

/* The next message; fails the test when there is none in time or it is of another type. */
void vmm_run_expect(struct vmm_run *v, enum vmm_msg_type type, struct vmm_msg *ret);

/*
 * RUNNING unless it came, then ENDED with that reason and the program's
 * exit; `text` must be part of what ENDED says (NULL: anything).
 */
void vmm_run_expect_ended(struct vmm_run *v, enum vmm_end reason, const char *text);

void vmm_run_wait_exit(struct vmm_run *v);

/* Closes our end of the control socket. */
void vmm_run_leave(struct vmm_run *v);

/* A connection to the listener. */
int vmm_run_knock(struct vmm_run *v);

/* Leaves if need be, says ATTACH and becomes the master: the flags of ATTACHED. */
uint32_t vmm_run_attach(struct vmm_run *v);

/* PAUSE, RESUME or STATS and its reply, which must be 0; other messages must not come. */
struct vmm_reply vmm_run_request(struct vmm_run *v, enum vmm_msg_type type);

/* The end file: its reason (0: nothing was written), `text` must be part of what it says. */
void vmm_run_expect_record(struct vmm_run *v, unsigned reason, const char *text);

/* Waits until the guest has printed this. */
void vmm_run_wait_serial(struct vmm_run *v, const char *text);
const char *vmm_run_serial(struct vmm_run *v); /* valid until the next call */
void vmm_run_done(struct vmm_run *v);
