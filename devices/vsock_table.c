#include "vsock_table.h"

#include <stdlib.h>

/* Fresh ports start here: clear of well-known ones and of what Linux guests pick. */
#define FIRST_PORT 0x40000000u

/* No stream gets more than this part of what is left, so that many get something. */
#define POOL_SHARE 16u

void vsock_table_init(struct vsock_table *t, unsigned max, uint32_t buf_alloc, uint64_t pool)
{
	*t = (struct vsock_table){
		.max = max,
		.buf_alloc = buf_alloc,
		.pool = pool,
		.next_port = FIRST_PORT,
	};
	TAILQ_INIT(&t->all);
	TAILQ_INIT(&t->ready);
	TAILQ_INIT(&t->notices);
	for (unsigned i = 0; i < VSOCK_WAIT_COUNT; i++)
		TAILQ_INIT(&t->timed[i]);
}

static unsigned bucket_of(const struct vsock_key *key)
{
	uint64_t h = key->local_cid * 0x9e3779b97f4a7c15ULL;

	h = (h + key->local_port) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ (h >> 31)) + key->guest_port;
	h *= 0xff51afd7ed558ccdULL;
	return (unsigned)(h >> 40) % VSOCK_BUCKETS;
}

struct vsock_conn *vsock_table_find(const struct vsock_table *t, const struct vsock_key *key)
{
	struct vsock_conn *c = t->buckets[bucket_of(key)];

	while (c &&
		(c->key.local_cid != key->local_cid || c->key.local_port != key->local_port ||
			c->key.guest_port != key->guest_port))
		c = c->hash_next;
	return c;
}

struct vsock_conn *vsock_table_find_asked(const struct vsock_table *t, uint64_t id)
{
	struct vsock_conn *c;

	TAILQ_FOREACH(c, &t->all, all_link)
	{
		if (c->state == VSOCK_ASKED && c->id == id)
			return c;
	}
	return NULL;
}

static uint32_t pool_take(struct vsock_table *t)
{
	uint64_t share = VSOCK_GRANT_MIN + t->pool / POOL_SHARE;

	if (share > t->buf_alloc)
		share = t->buf_alloc;
	if (share > VSOCK_GRANT_MIN)
		t->pool -= share - VSOCK_GRANT_MIN;
	return (uint32_t)share;
}

struct vsock_conn *vsock_table_add(
	struct vsock_table *t, const struct vsock_key *key, enum vsock_state state)
{
	unsigned b = bucket_of(key);
	struct vsock_conn *c;

	if (t->count >= t->max)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->key = *key;
	c->state = state;
	c->fd = -1;
	c->w.fd = -1;
	c->writable = true;
	c->grant = pool_take(t);
	c->credit.buf_alloc = c->grant;
	c->hash_next = t->buckets[b];
	t->buckets[b] = c;
	c->hashed = true;
	TAILQ_INSERT_TAIL(&t->all, c, all_link);
	t->count++;
	return c;
}

void vsock_table_unhash(struct vsock_table *t, struct vsock_conn *c)
{
	struct vsock_conn **p = &t->buckets[bucket_of(&c->key)];

	if (!c->hashed)
		return;
	while (*p != c)
		p = &(*p)->hash_next;
	*p = c->hash_next;
	c->hashed = false;
}

void vsock_table_free(struct vsock_table *t, struct vsock_conn *c)
{
	vsock_table_unhash(t, c);
	vsock_table_unready(t, c);
	vsock_table_unnotice(t, c);
	vsock_table_untime(t, c);
	TAILQ_REMOVE(&t->all, c, all_link);
	if (c->grant > VSOCK_GRANT_MIN)
		t->pool += c->grant - VSOCK_GRANT_MIN;
	t->count--;
	vsock_ring_clear(&c->ring);
	free(c);
}

uint32_t vsock_table_port(struct vsock_table *t, uint64_t cid, uint32_t guest_port)
{
	struct vsock_key key = { .local_cid = cid, .guest_port = guest_port };

	/* Ends: there are far more ports than streams. */
	do {
		key.local_port = t->next_port;
		t->next_port = t->next_port == UINT32_MAX - 1 ? FIRST_PORT : t->next_port + 1;
	} while (vsock_table_find(t, &key));
	return key.local_port;
}

void vsock_table_ready(struct vsock_table *t, struct vsock_conn *c)
{
	if (c->ready || !vsock_conn_wants(c))
		return;
	TAILQ_INSERT_TAIL(&t->ready, c, ready_link);
	c->ready = true;
}

void vsock_table_unready(struct vsock_table *t, struct vsock_conn *c)
{
	if (!c->ready)
		return;
	TAILQ_REMOVE(&t->ready, c, ready_link);
	c->ready = false;
}

void vsock_table_notice(struct vsock_table *t, struct vsock_conn *c, enum vsock_notice n)
{
	if (c->notice == VSOCK_NOTICE_NONE)
		TAILQ_INSERT_TAIL(&t->notices, c, notice_link);
	c->notice = (uint8_t)n;
}

void vsock_table_unnotice(struct vsock_table *t, struct vsock_conn *c)
{
	if (c->notice == VSOCK_NOTICE_NONE)
		return;
	TAILQ_REMOVE(&t->notices, c, notice_link);
	c->notice = VSOCK_NOTICE_NONE;
}

void vsock_table_time(
	struct vsock_table *t, struct vsock_conn *c, enum vsock_wait w, uint64_t deadline_ns)
{
	vsock_table_untime(t, c);
	c->deadline_ns = deadline_ns;
	c->wait = (uint8_t)w;
	c->timed = true;
	TAILQ_INSERT_TAIL(&t->timed[w], c, timed_link);
}

void vsock_table_untime(struct vsock_table *t, struct vsock_conn *c)
{
	if (!c->timed)
		return;
	TAILQ_REMOVE(&t->timed[c->wait], c, timed_link);
	c->timed = false;
}

void vsock_table_hold(struct vsock_table *t)
{
	t->close_held = true;
}

void vsock_table_release(struct vsock_table *t, uint64_t ns)
{
	struct vsock_conn *c;

	t->close_held = false;
	TAILQ_FOREACH(c, &t->timed[VSOCK_WAIT_CLOSE], timed_link)
	{
		c->deadline_ns += ns;
	}
}

static struct vsock_conn *first_timed(const struct vsock_table *t, unsigned wait)
{
	return wait == VSOCK_WAIT_CLOSE && t->close_held ? NULL : TAILQ_FIRST(&t->timed[wait]);
}

uint64_t vsock_table_deadline(const struct vsock_table *t)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < VSOCK_WAIT_COUNT; i++) {
		const struct vsock_conn *c = first_timed(t, i);

		if (c && (first == 0 || c->deadline_ns < first))
			first = c->deadline_ns;
	}
	return first;
}

struct vsock_conn *vsock_table_expired(const struct vsock_table *t, uint64_t now_ns)
{
	for (unsigned i = 0; i < VSOCK_WAIT_COUNT; i++) {
		struct vsock_conn *c = first_timed(t, i);

		if (c && c->deadline_ns <= now_ns)
			return c;
	}
	return NULL;
}
