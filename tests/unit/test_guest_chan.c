#include <base/cleanup.h>

#include "chan.h"
#include "forward.h"
#include "guest_peer.h"

/* A chan with a forward into it, and what happened to it. */
struct side {
	struct chan chan;
	struct forward fwd;
	int frames, closed, err, moves;
	bool hold;
	uint32_t last_len;
};

static struct side side;
static struct peer peer;
static struct loop *loop;

static int side_frame(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct side *s = container_of(c, struct side, chan);

	if (s->hold)
		return CHAN_HOLD;
	for (uint32_t i = 0; i < h->len; i++)
		ck_assert_uint_eq(payload[i], (uint8_t)(i * 7));
	s->frames++;
	s->last_len = h->len;
	return h->type == GUEST_BYE ? -EPROTO : 0;
}

static void side_space(struct chan *c)
{
	forward_resume(&container_of(c, struct side, chan)->fwd);
}

static void side_closed(struct chan *c, int err)
{
	struct side *s = container_of(c, struct side, chan);

	s->closed++;
	s->err = err;
	forward_resume(&s->fwd);
}

static void side_moved(struct forward *f)
{
	container_of(f, struct side, fwd)->moves++;
}

static const struct chan_ops side_ops = {
	.frame = side_frame,
	.space = side_space,
	.closed = side_closed,
};

static void setup(void)
{
	side.frames = side.closed = side.err = side.moves = 0;
	side.hold = false;
	side.chan.fd = side.fwd.fd = -1;
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
	ck_assert_int_eq(chan_open(&side.chan, loop, peer_open(&peer, loop), &side_ops), 0);
}

static void teardown(void)
{
	forward_done(&side.fwd);
	chan_done(&side.chan);
	peer_close(&peer);
	loop_free(loop);
}

static uint8_t pattern[GUEST_FRAME_MAX];

static void fill_pattern(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7);
}

START_TEST(frames_in_pieces_of_every_size)
{
	uint8_t two[2 * (8 + 40)];
	struct guest_writer w;

	fill_pattern();
	for (int i = 0; i < 2; i++) {
		guest_writer_begin(&w, two + 48 * i, 48, GUEST_STDIN);
		guest_put_raw(&w, pattern, 40);
		ck_assert_int_eq(guest_writer_end(&w), 48);
	}
	for (size_t piece = 1; piece <= sizeof(two); piece++) {
		side.frames = 0;
		for (size_t at = 0; at < sizeof(two); at += piece) {
			size_t n = sizeof(two) - at < piece ? sizeof(two) - at : piece;

			peer_send_raw(&peer, two + at, n);
			ck_assert_int_eq(loop_step(loop, 1000, NULL), 0);
		}
		ck_assert_int_eq(side.frames, 2);
	}
}
END_TEST

START_TEST(the_longest_frame_and_an_empty_one)
{
	fill_pattern();
	peer_send(&peer, GUEST_STDIN, pattern, GUEST_FRAME_MAX);
	peer_pass(loop, 50);
	ck_assert_int_eq(side.frames, 1);
	ck_assert_uint_eq(side.last_len, GUEST_FRAME_MAX);
	peer_send(&peer, GUEST_STDIN, NULL, 0);
	peer_pass(loop, 50);
	ck_assert_int_eq(side.frames, 2);
	ck_assert_uint_eq(side.last_len, 0);
}
END_TEST

START_TEST(a_held_frame_comes_again)
{
	fill_pattern();
	side.hold = true;
	for (int i = 0; i < 10; i++)
		peer_send(&peer, GUEST_STDIN, pattern, 10000);
	peer_pass(loop, 50);
	ck_assert_int_eq(side.frames, 0);
	ck_assert(side.chan.held);
	side.hold = false;
	chan_resume(&side.chan);
	peer_pass(loop, 50);
	ck_assert_int_eq(side.frames, 10);
	/* Held, and the peer goes away: noticed all the same. */
	side.hold = true;
	peer_send(&peer, GUEST_STDIN, pattern, 10);
	peer_pass(loop, 50);
	peer_close(&peer);
	peer_pass(loop, 50);
	ck_assert_int_eq(side.closed, 1);
}
END_TEST

START_TEST(garbage_ends_the_stream)
{
	peer_send_raw(&peer, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	peer_pass(loop, 50);
	ck_assert_int_eq(side.closed, 1);
	ck_assert_int_eq(side.err, -EPROTO);
	ck_assert(!chan_is_open(&side.chan));
	ck_assert_int_eq(peer_next(&peer, 1000), PEER_EOF);
}
END_TEST

START_TEST(a_refused_frame_ends_the_stream)
{
	peer_send(&peer, GUEST_BYE, NULL, 0);
	peer_pass(loop, 50);
	ck_assert_int_eq(side.closed, 1);
	ck_assert_int_eq(side.err, -EPROTO);
}
END_TEST

START_TEST(a_half_frame_and_the_end)
{
	peer_send_raw(&peer, "\x0b\0\0\0\x08\0\0\0abc", 11);
	peer_close(&peer);
	peer_pass(loop, 50);
	ck_assert_int_eq(side.frames, 0);
	ck_assert_int_eq(side.closed, 1);
	ck_assert_int_eq(side.err, 0);
}
END_TEST

START_TEST(finish_sends_the_rest_first)
{
	fill_pattern();
	ck_assert_int_eq(chan_send(&side.chan, GUEST_STDOUT, pattern, GUEST_FRAME_MAX), 0);
	chan_finish(&side.chan);
	ck_assert_int_eq(chan_send(&side.chan, GUEST_STDOUT, pattern, 1), -EAGAIN);
	ck_assert_int_eq(side.closed, 0);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_STDOUT);
	ck_assert_uint_eq(peer.h.len, GUEST_FRAME_MAX);
	ck_assert_mem_eq(peer_payload(&peer), pattern, GUEST_FRAME_MAX);
	ck_assert_int_eq(peer_next(&peer, 1000), PEER_EOF);
	/* Whoever reads first and writes later is not punished. */
	peer_send(&peer, GUEST_STDIN, pattern, GUEST_FRAME_MAX);
	peer_send(&peer, GUEST_STDIN, pattern, GUEST_FRAME_MAX);
	peer_pass(loop, 20);
	ck_assert_int_eq(side.closed, 0);
	ck_assert_int_eq(side.frames, 0);
	peer_close(&peer);
	peer_pass(loop, 20);
	ck_assert_int_eq(side.closed, 1);
	ck_assert_int_eq(side.err, 0);
}
END_TEST

/* A writer that never waits, and a reader that is slow: nothing is lost, memory is bounded. */
START_TEST(forward_keeps_every_byte)
{
	uint32_t sent = 0;
	uint32_t got = 0;
	uint8_t block[1000];
	int p[2];
	bool blocked = false;

	ck_assert_int_eq(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(
		forward_open(&side.fwd, loop, p[0], &side.chan.sink, GUEST_STDERR, side_moved), 0);
	while (got < 3000000) {
		for (int i = 0; p[1] >= 0 && i < 2000; i++) {
			ssize_t n;

			for (size_t k = 0; k < sizeof(block); k++)
				block[k] = (uint8_t)((sent + k) % 251);
			n = write(p[1], block, sizeof(block));
			if (n < 0) {
				ck_assert_int_eq(errno, EAGAIN);
				blocked = true;
				break;
			}
			sent += (uint32_t)n;
			if (sent >= 3000000) {
				close_fd(&p[1]);
				break;
			}
			if (i % 4 == 0)
				ck_assert_int_eq(loop_step(loop, 0, NULL), 0);
		}
		ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDERR);
		for (uint32_t k = 0; k < peer.h.len; k++)
			ck_assert_uint_eq(peer_payload(&peer)[k], (got + k) % 251);
		got += peer.h.len;
	}
	ck_assert(blocked);
	ck_assert_uint_eq(got, sent);
	peer_pass(loop, 20);
	ck_assert_int_lt(side.fwd.fd, 0); /* its end was seen */
	ck_assert(forward_settled(&side.fwd));
}
END_TEST

START_TEST(forward_without_a_stream_throws_away)
{
	int p[2];
	char block[4096] = { 0 };

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	ck_assert_int_eq(
		forward_open(&side.fwd, loop, p[0], &side.chan.sink, GUEST_STDOUT, side_moved), 0);
	peer_close(&peer);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq((int)write(p[1], block, sizeof(block)), (int)sizeof(block));
		ck_assert_int_eq(loop_step(loop, 100, NULL), 0);
	}
	ck_assert_int_eq(side.closed, 1);
	close(p[1]);
}
END_TEST

START_TEST(settled_when_the_past_has_gone)
{
	char block[50000] = { 0 };
	uint32_t got = 0;
	int p[2];

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	ck_assert_int_eq(
		forward_open(&side.fwd, loop, p[0], &side.chan.sink, GUEST_STDOUT, side_moved), 0);
	ck_assert_int_eq((int)write(p[1], block, sizeof(block)), (int)sizeof(block));
	ck_assert(!forward_settled(&side.fwd));
	forward_settle(&side.fwd);
	ck_assert(!forward_settled(&side.fwd));
	/* Somebody else holds the pipe and goes on writing: not waited for. */
	while (!forward_settled(&side.fwd)) {
		ck_assert_int_eq(peer_next(&peer, 1000), GUEST_STDOUT);
		got += peer.h.len;
	}
	ck_assert_int_eq((int)write(p[1], "x", 1), 1);
	ck_assert(side.fwd.fd >= 0);
	ck_assert_uint_le(got, sizeof(block));
	close(p[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_chan");
	TCase *t = tcase_create("guest_chan");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, frames_in_pieces_of_every_size);
	tcase_add_test(t, the_longest_frame_and_an_empty_one);
	tcase_add_test(t, a_held_frame_comes_again);
	tcase_add_test(t, garbage_ends_the_stream);
	tcase_add_test(t, a_refused_frame_ends_the_stream);
	tcase_add_test(t, a_half_frame_and_the_end);
	tcase_add_test(t, finish_sends_the_rest_first);
	tcase_add_test(t, forward_keeps_every_byte);
	tcase_add_test(t, forward_without_a_stream_throws_away);
	tcase_add_test(t, settled_when_the_past_has_gone);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
