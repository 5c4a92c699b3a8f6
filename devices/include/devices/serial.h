#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * A 16550A at COM1, transmit side only in practice (a guest that reads
 * finds an empty receiver), with loopback mode and interrupts so that
 * the stock driver is content. What the guest prints goes to `out_fd`
 * (bounded: after max_bytes one line says that the rest is dropped) and
 * the last SERIAL_TAIL bytes are kept for error reports. It is written out
 * by lines; what a slow reader or a full disk does not take is dropped, and
 * a line in the log says how much. A process whose out_fd is a pipe ignores
 * SIGPIPE.
 *
 * serial_read/write: vCPU threads, lock inside. `irq_fd` is an eventfd.
 */
#define SERIAL_TAIL 4096

struct serial;

struct serial_config {
	int out_fd;         /* taken over on success, made non-blocking; -1: the tail only */
	uint64_t max_bytes; /* of the guest's written to out_fd at most */
	int irq_fd;         /* borrowed; -1: none */
};

int serial_new(struct serial **ret, const struct serial_config *cfg, struct kerr *e);
void serial_free(struct serial *s);
uint8_t serial_read(struct serial *s, uint16_t reg);              /* reg 0..7 */
void serial_write(struct serial *s, uint16_t reg, uint8_t value); /* reg 0..7 */

/* Copies the tail (at most len - 1 bytes, NUL-terminated); returns its length. */
size_t serial_tail(struct serial *s, char *buf, size_t len);
