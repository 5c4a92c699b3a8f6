#pragma once

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>
#include <base/loop.h>
#include <wire/guest_proto.h>

/*
 * The host's end of a stream of frames, for tests of the guest's rooms:
 * it drives the loop of the side under test while it waits. One thread.
 */
struct peer {
	struct loop *loop;
	int fd;
	struct guest_frame_hdr h;
	size_t have;
	uint8_t raw[GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX];
};

#define PEER_EOF     0
#define PEER_TIMEOUT (-1)

/* Makes a stream: our end is p's, the other is returned. */
static inline int peer_open(struct peer *p, struct loop *loop)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(fcntl(sv[0], F_SETFL, O_NONBLOCK), 0);
	p->loop = loop;
	p->fd = sv[0];
	p->have = 0;
	return sv[1];
}

/* For dial.h: the next attempt gets this (non-blocking), once. -1: refused. */
static int peer_answer = -1;
static unsigned peer_dialled;

static inline int peer_dial(uint32_t port)
{
	int fd = peer_answer;

	(void)port;
	peer_dialled++;
	peer_answer = -1;
	return fd < 0 ? -ECONNREFUSED : fd;
}

/* Waits for an attempt, and is what it gets: our end is p's. */
static inline void peer_accept(struct peer *p, struct loop *loop, unsigned timeout_ms)
{
	uint64_t end = clock_mono_ns() + timeout_ms * CLOCK_NS_PER_MS;

	peer_answer = peer_open(p, loop);
	ck_assert_int_eq(fcntl(peer_answer, F_SETFL, O_NONBLOCK), 0);
	while (peer_answer >= 0) {
		ck_assert_uint_lt(clock_mono_ns(), end);
		ck_assert_int_eq(loop_step(loop, 5, NULL), 0);
	}
}

static inline void peer_close(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static inline const uint8_t *peer_payload(const struct peer *p)
{
	return p->raw + GUEST_FRAME_HDR_LEN;
}

/* Bytes of the next frame that are still missing. */
static inline size_t peer_missing(struct peer *p)
{
	if (p->have < GUEST_FRAME_HDR_LEN)
		return GUEST_FRAME_HDR_LEN - p->have;
	ck_assert_int_eq(guest_hdr_decode(p->raw, &p->h), 0);
	return GUEST_FRAME_HDR_LEN + p->h.len - p->have;
}

/* The type of the next frame, which is then in p->h and peer_payload; or PEER_EOF, PEER_TIMEOUT. */
static inline int peer_next(struct peer *p, unsigned timeout_ms)
{
	uint64_t end = clock_mono_ns() + timeout_ms * CLOCK_NS_PER_MS;
	size_t missing;

	p->have = 0;
	while ((missing = peer_missing(p)) > 0) {
		ssize_t n = recv(p->fd, p->raw + p->have, missing, 0);

		if (n > 0) {
			p->have += (size_t)n;
			continue;
		}
		if (n == 0 || errno == ECONNRESET)
			return PEER_EOF;
		ck_assert_int_eq(errno, EAGAIN);
		if (clock_mono_ns() > end)
			return PEER_TIMEOUT;
		ck_assert_int_eq(loop_step(p->loop, 5, NULL), 0);
	}
	return p->h.type;
}

/* Lets the side under test go on for so long. */
static inline void peer_pass(struct loop *loop, unsigned ms)
{
	uint64_t end = clock_mono_ns() + ms * CLOCK_NS_PER_MS;

	while (clock_mono_ns() < end)
		ck_assert_int_eq(loop_step(loop, 5, NULL), 0);
}

static inline void peer_send_raw(struct peer *p, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t n = send(p->fd, at, len, MSG_NOSIGNAL);

		if (n < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			ck_assert_int_eq(loop_step(p->loop, 5, NULL), 0);
			continue;
		}
		at += n;
		len -= (size_t)n;
	}
}

static inline void peer_send(
	struct peer *p, enum guest_frame_type type, const void *payload, size_t len)
{
	static uint8_t buf[GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), type);
	guest_put_raw(&w, payload, len);
	peer_send_raw(p, buf, (size_t)guest_writer_end(&w));
}

/* A number in the frame that was read last; `none` when it has no such field. */
static inline uint32_t peer_u32(const struct peer *p, enum guest_field f, uint32_t none)
{
	struct guest_value v;
	size_t pos = 0;

	while (guest_field_next(peer_payload(p), p->h.len, &pos, &v) > 0) {
		if (v.field == f)
			ck_assert_int_eq(guest_value_u32(&v, &none), 0);
	}
	return none;
}

/* True when the frame that was read last has that text in a TEXT field. */
static inline int peer_has_text(const struct peer *p, const char *want)
{
	struct guest_value v;
	size_t pos = 0;
	char *s = NULL;
	int found = 0;

	while (guest_field_next(peer_payload(p), p->h.len, &pos, &v) > 0) {
		if (v.field != GUEST_F_TEXT)
			continue;
		ck_assert_int_eq(guest_value_text(&v, &s), 0);
		found = strstr(s, want) != NULL;
		free(s);
	}
	return found;
}
