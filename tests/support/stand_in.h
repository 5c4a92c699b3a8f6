#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>
#include <wire/vmm_proto.h>

/*
 * The parts of stand_in_vmm: a program that takes the place of kosvm-vmm
 * where there is no KVM. stand_in_vmm.c is the VMM's side of wire/vmm_proto.h,
 * stand_in_guest.c plays the guest (wire/guest_proto.h), stand_in_agent.c its
 * agent, stand_in_log.c the agent's log stream, stand_in_exec.c the exec
 * service with real processes of this host. One loop, one thread, one machine a process.
 */

/* ---- the VMM, for the guest ---- */

/* The guest dials the host; guest_dialled answers, maybe from inside. One a port at a time. */
void vmm_dial(uint32_t port, uint32_t src_port);
/* The machine ends: the process exits after this turn of the loop. */
void vmm_end(enum vmm_end reason, const char *text);
/* A line of the serial console, as long as its limit allows. */
void vmm_console(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool vmm_paused(void);

/* A mark on the state disk, which outlives the machine. True: it was there before; or no disk. */
bool vmm_disk_mark(void);

/* ---- the guest, for the VMM ---- */

void guest_power_on(struct loop *loop);
/* fd: the guest's end of the stream (its own now), or -1: refused. */
void guest_dialled(uint32_t port, int fd);
/* The host opens a stream; 0: taken, fd is the guest's; else -errno. */
int guest_connect(uint32_t port, int fd);
/* After RESUME: frames that waited are handled. */
void guest_resumed(void);
/* No instruction is executed at the moment: paused, or hung for ever. */
bool guest_stands_still(void);

/* The agent ended: code, or -1 and a signal. */
void guest_agent_ended(int code, int signo);
/* The log's stream is gone; another one is dialled. */
void guest_log_lost(void);
/* From now on no instruction is executed. */
void guest_hang(void);

/* ---- the agent, for the guest ---- */

/* One word of its command after the program's name, in order. */
void agent_word(const char *word);
void agent_start(uint32_t tag);
/* What is due now. */
void agent_tick(uint64_t now);
/* SIGTERM at its time, SIGKILL after the grace. */
void agent_ask_to_end(uint64_t now, uint64_t grace_ns);
void agent_signal(int signo);

/* ---- the log stream, for the guest and the agent ---- */

void guest_log_init(struct loop *loop, uint32_t tag);
void guest_log_dialled(int fd);
/* False: what is kept for the host is full, the agent has to wait. */
bool guest_log_has_room(void);
/* A line of the agent; number 0: not counted. cut: in two frames. */
void guest_log_line(bool err, uint32_t number, bool cut, const char *text);
/* Everything that was written is on the host's disk, as far as the host says. */
bool guest_log_is_done(void);
void guest_log_close(void);
void guest_log_resumed(void);

/* ---- exec, for the guest ---- */

int exec_take(struct loop *loop, int fd);
void exec_resumed(void);
