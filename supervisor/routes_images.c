/* Images: imported by a worker, listed, removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <images/import.h>
#include <images/store.h>

#include "exchange.h"
#include "reserve.h"
#include "routes.h"
#include "worker.h"

/* Is there still room? An import writes some hundred megabytes a second. */
#define LOOK_NS (50 * CLOCK_NS_PER_MS)

/* What the worker of one import works on; it lives until fork, in the child for ever. */
struct import_job {
	int store_fd;
	int source_fd;
	int init_fd;
	enum image_kind kind;
	char label[128];
	struct worker_port *port;
};

/* kosvmd's side of it. */
struct import_op {
	struct http_request *q;
	struct worker *worker;
	struct loop_timer look;
};

static void import_progress(void *user, const char *what, double fraction)
{
	struct import_job *job = user;

	worker_progress(job->port, what, fraction);
}

static int import_work(void *arg, struct worker_port *port, json_t **ret_result, int *ret_fds,
	size_t *ret_nfds, struct kerr *e)
{
	struct import_job *job = arg;
	struct import_ctx ctx = {
		.store_dirfd = job->store_fd,
		.progress = import_progress,
		.user = job,
	};
	char text[DIGEST_TEXT_LEN + 1];
	struct digest digest;
	int r = -EINVAL;

	(void)ret_fds;
	(void)ret_nfds;
	job->port = port;
	switch (job->kind) {
	case IMAGE_KERNEL:
		r = import_kernel(&ctx, job->source_fd, job->label, &digest, e);
		break;
	case IMAGE_INITRAMFS:
		r = import_initramfs(&ctx, job->init_fd, job->source_fd, job->label, &digest, e);
		break;
	case IMAGE_ROOTFS:
		r = import_rootfs(&ctx, job->source_fd, job->label, &digest, e);
		break;
	}
	if (r < 0)
		return r;
	digest_format(&digest, text);
	*ret_result = json_pack("{s:s, s:s, s:s}", "digest", text, "kind",
		image_kind_name(job->kind), "label", job->label);
	return *ret_result ? 0 : kerr_errno(e, ENOMEM, "import");
}

static void import_said(void *user, const char *what, double fraction)
{
	struct import_op *op = user;
	char line[256];

	if (fraction >= 0 && fraction <= 1)
		(void)snprintf(line, sizeof(line), "%s (%d %%)", what, (int)(fraction * 100));
	else
		(void)snprintf(line, sizeof(line), "%s", what);
	http_progress(op->q, line);
}

/* What a killed or failed worker left goes; files of those at work are locked and stay. */
static void clean_store(void *user)
{
	struct sup *s = user;

	/* -1: kosvmd has ended meanwhile; its next start sweeps. */
	if (s->images_fd >= 0)
		leftovers_sweep(&s->leftovers, s->loop, s->images_fd);
}

static void import_done(
	void *user, int result, json_t *ok, int *fds, size_t nfds, const struct kerr *err)
{
	struct import_op *op = user;
	struct sup *s = op->q->sup;
	struct kerr room = { 0 };

	for (size_t i = 0; i < nfds; i++)
		(void)close(fds[i]);
	op->worker = NULL;
	loop_timer_done(&op->look);
	if (result < 0) {
		int r = reserve_check(s->images_fd, &room);

		clean_store(s);
		/* The tools it runs have many words for a full disk, and free it before they say
		 * one. */
		if (r == 0 && result == -ENOSPC)
			r = kerr_set(&room, ENOSPC,
				"the state directory's file system is full: make room, or remove "
				"images with `kosvm image rm` (%s)",
				err->msg);
		http_fail_kerr(op->q, r == -ENOSPC ? &room : err);
		return;
	}
	events_publish(s, "image.import", json_copy(ok));
	http_ok(op->q, 201, json_incref(ok));
}

static void look(struct loop_timer *t)
{
	struct import_op *op = container_of(t, struct import_op, look);
	struct kerr err = { 0 };

	if (reserve_check(op->q->sup->images_fd, &err) == 0)
		return;
	loop_timer_done(t);
	worker_cancel(op->worker, clean_store, op->q->sup);
	op->worker = NULL;
	http_fail_kerr(op->q, &err);
}

static void op_free(void *user)
{
	struct import_op *op = user;

	loop_timer_done(&op->look);
	worker_cancel(op->worker, clean_store, op->q->sup);
	free(op);
}

static int import_image(struct http_request *q, struct kerr *e)
{
	static const struct worker_ops ops = { import_said, import_done };
	_cleanup_close_ int init_fd = -1;
	_cleanup_close_ int source_fd = -1;
	const char *kind = route_text(q, "kind");
	struct import_job job = { .store_fd = q->sup->images_fd };
	struct import_op *op;
	int keep[3];
	int r;

	if (image_kind_parse(kind, &job.kind) < 0)
		return kerr_set(
			e, EINVAL, "kind: %.64s: expected kernel, initramfs or rootfs", kind);
	(void)snprintf(job.label, sizeof(job.label), "%s", route_text(q, "label"));
	r = reserve_check(q->sup->images_fd, e);
	if (r < 0)
		return r;
	source_fd = exchange_take(q->sup->exchange, route_text(q, "source"), e);
	if (source_fd < 0)
		return source_fd;
	if (job.kind == IMAGE_INITRAMFS) {
		init_fd = open(q->sup->init_program, O_RDONLY | O_CLOEXEC);
		if (init_fd < 0)
			return kerr_errno(e, errno, "%s: open: is kosvm installed completely",
				q->sup->init_program);
	}
	op = calloc(1, sizeof(*op));
	if (!op)
		return kerr_errno(e, ENOMEM, "import");
	op->q = q;
	op->look = (struct loop_timer){ .fn = look, .w = { .fd = -1 } };
	q->op = op;
	q->op_free = op_free;
	job.source_fd = source_fd;
	job.init_fd = init_fd;
	keep[0] = job.store_fd;
	keep[1] = source_fd;
	keep[2] = init_fd;
	r = loop_timer_set(q->sup->loop, &op->look, LOOK_NS, LOOK_NS);
	if (r < 0)
		return kerr_errno(e, -r, "import");
	return worker_start(&op->worker, q->sup->loop, import_work, &job, keep,
		init_fd >= 0 ? 3 : 2, &ops, op, e);
}

static int list_images(struct http_request *q, struct kerr *e)
{
	_cleanup_free_ struct store_entry *entries = NULL;
	json_t *list = json_array();
	size_t count = 0;
	int r = list ? store_list(q->sup->images_fd, &entries, &count, e)
		     : kerr_errno(e, ENOMEM, "images");

	if (r < 0) {
		json_decref(list);
		return r;
	}
	for (size_t i = 0; i < count; i++) {
		char text[DIGEST_TEXT_LEN + 1];

		digest_format(&entries[i].digest, text);
		(void)json_array_append_new(list,
			json_pack("{s:s, s:s, s:o, s:I}", "digest", text, "kind",
				image_kind_name(entries[i].kind), "label",
				api_text(entries[i].label), "size", (json_int_t)entries[i].size));
	}
	http_ok(q, 200, json_pack("{s:o}", "images", list));
	return 0;
}

static int remove_image(struct http_request *q, struct kerr *e)
{
	const char *text = q->args[0];
	struct digest digest;
	struct agent *a;
	int r;

	if (digest_parse(text, &digest) < 0)
		return kerr_set(e, EINVAL,
			"%.100s: expected a digest such as `kosvm image ls` prints: blake2b:…",
			text);
	LIST_FOREACH(a, &q->sup->agents, link)
	{
		const struct digest *used[] = { &a->manifest.kernel, &a->manifest.initramfs,
			&a->manifest.rootfs };

		for (size_t i = 0; i < array_size(used); i++) {
			if (memcmp(used[i], &digest, sizeof(digest)) == 0)
				return kerr_set(e, EBUSY,
					"image is used by agent %s: `kosvm rm %s` first",
					a->row.name, a->row.name);
		}
	}
	r = store_remove(q->sup->images_fd, &digest, e);
	if (r < 0)
		return r;
	events_publish(q->sup, "image.remove", json_pack("{s:s}", "digest", text));
	http_ok(q, 200, NULL);
	return 0;
}

static const struct http_field import_body[] = {
	{ .key = "kind", .kind = HTTP_TEXT, .required = true },
	{ .key = "label", .kind = HTTP_TEXT, .max = 127 },
	{ .key = "source", .kind = HTTP_TEXT, .required = true, .max = EXCHANGE_TOKEN_LEN },
	{ 0 },
};

const struct route image_routes[] = {
	{ .method = "GET", .path = "/v1/images", .fn = list_images },
	{ .method = "POST",
		.path = "/v1/images",
		.fn = import_image,
		.body = import_body,
		.slow = true },
	{ .method = "DELETE", .path = "/v1/images/{digest}", .fn = remove_image },
	{ 0 },
};
