/* What the command line may ask about images, keys and kosvmd itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <images/import.h>
#include <images/store.h>
#include <manifests/keyring.h>

#include "client.h"

/* ---- images ---- */

/* What the worker of one import works on; it lives until fork, in the child for ever. */
struct import_job {
	int store_fd;
	int source_fd;
	int init_fd;
	enum image_kind kind;
	char label[128];
	struct worker_port *port;
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
	struct client *c = user;
	char line[256];

	if (fraction >= 0 && fraction <= 1) {
		(void)snprintf(line, sizeof(line), "%s (%d %%)", what, (int)(fraction * 100));
		client_progress(c, line);
	} else {
		client_progress(c, what);
	}
}

/* What a killed or failed worker left goes; files of those at work are locked and stay. */
void verbs_host_import_gone(void *user)
{
	struct sup *s = user;

	/* -1: kosvmd has ended meanwhile; its next start sweeps. */
	if (s->images_fd >= 0)
		(void)store_clean(s->images_fd, NULL);
}

static void import_done(
	void *user, int result, json_t *ok, int *fds, size_t nfds, const struct kerr *err)
{
	struct client *c = user;

	for (size_t i = 0; i < nfds; i++)
		(void)close(fds[i]);
	c->import = NULL;
	if (result < 0)
		verbs_host_import_gone(c->sup);
	if (result < 0)
		client_fail(c, result, err->msg);
	else
		client_ok(c, json_incref(ok));
}

static int verb_image_import(struct client *c, struct request *q, struct kerr *e)
{
	static const struct worker_ops ops = { .progress = import_said, .done = import_done };
	_cleanup_close_ int init_fd = -1;
	struct import_job job;
	const char *kind = "";
	const char *label = "";
	int keep[3];
	int r = request_string(q, "kind", &kind, e);

	if (r == 0)
		r = request_string(q, "label", &label, e);
	if (r < 0)
		return r;
	if (image_kind_parse(kind, &job.kind) < 0)
		return kerr_set(e, EINVAL, "%s: expected kernel, initramfs or rootfs", kind);
	if (q->nfds != 1)
		return kerr_set(e, EINVAL, "import needs one file or directory");
	if (strlen(label) >= sizeof(job.label))
		return kerr_set(e, EINVAL, "label: longer than %zu bytes", sizeof(job.label) - 1);
	(void)snprintf(job.label, sizeof(job.label), "%s", label);
	job.store_fd = c->sup->images_fd;
	job.source_fd = q->fds[0];
	keep[0] = job.store_fd;
	keep[1] = job.source_fd;
	if (job.kind == IMAGE_INITRAMFS) {
		init_fd = open(c->sup->init_program, O_RDONLY | O_CLOEXEC);
		if (init_fd < 0)
			return kerr_errno(e, errno, "%s: open: is kosvm installed completely",
				c->sup->init_program);
	}
	job.init_fd = init_fd;
	keep[2] = init_fd;
	return worker_start(&c->import, c->sup->loop, import_work, &job, keep, init_fd >= 0 ? 3 : 2,
		&ops, c, e);
}

static int verb_image_ls(struct client *c, struct request *q, struct kerr *e)
{
	_cleanup_free_ struct store_entry *entries = NULL;
	size_t count = 0;
	int r = store_list(c->sup->images_fd, &entries, &count, e);

	(void)q;
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		char text[DIGEST_TEXT_LEN + 1];

		digest_format(&entries[i].digest, text);
		client_data(c,
			json_pack("{s:s, s:s, s:o, s:I}", "digest", text, "kind",
				image_kind_name(entries[i].kind), "label",
				api_text(entries[i].label), "size", (json_int_t)entries[i].size));
	}
	client_ok(c, NULL);
	return 0;
}

static int verb_image_rm(struct client *c, struct request *q, struct kerr *e)
{
	struct digest digest;
	const char *text;
	struct agent *a;
	int r = request_string(q, "digest", &text, e);

	if (r < 0)
		return r;
	if (digest_parse(text, &digest) < 0)
		return kerr_set(e, EINVAL,
			"%s: expected a digest such as `kosvm image ls` prints: blake2b:…", text);
	LIST_FOREACH(a, &c->sup->agents, link)
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
	r = store_remove(c->sup->images_fd, &digest, e);
	if (r == 0)
		client_ok(c, NULL);
	return r;
}

/* ---- keys ---- */

static int verb_key_trust(struct client *c, struct request *q, struct kerr *e)
{
	_cleanup_free_ char *text = NULL;
	struct minisign_pub pub;
	const char *file;
	char id[17];
	size_t len;
	int r = request_string(q, "file", &file, e);

	if (r < 0)
		return r;
	if (q->nfds != 1)
		return kerr_set(e, EINVAL, "trust needs one file");
	r = request_read(q, 0, file, MINISIGN_FILE_MAX, &text, &len, e);
	if (r == 0)
		r = keyring_trust(c->sup->keys_fd, file, text, len, &pub, e);
	if (r < 0)
		return r;
	minisign_key_id_text(pub.key_id, id);
	client_ok(c, json_pack("{s:s}", "id", id));
	return 0;
}

static int verb_key_ls(struct client *c, struct request *q, struct kerr *e)
{
	struct keyring keys = { 0 };
	int r = keyring_load(c->sup->keys_fd, &keys, e);

	(void)q;
	if (r < 0)
		return r;
	for (size_t i = 0; i < keys.count; i++) {
		char id[17];

		minisign_key_id_text(keys.entries[i].pub.key_id, id);
		client_data(c,
			json_pack("{s:s, s:o}", "id", id, "comment",
				api_text(keys.entries[i].comment)));
	}
	keyring_done(&keys);
	client_ok(c, NULL);
	return 0;
}

static int verb_key_rm(struct client *c, struct request *q, struct kerr *e)
{
	const char *id;
	int r = request_string(q, "id", &id, e);

	if (r == 0)
		r = keyring_remove(c->sup->keys_fd, id, e);
	if (r == 0)
		client_ok(c, NULL);
	return r;
}

/* ---- kosvmd itself ---- */

static int verb_info(struct client *c, struct request *q, struct kerr *e)
{
	struct agent *a;
	int total = 0;
	int running = 0;

	(void)q;
	(void)e;
	LIST_FOREACH(a, &c->sup->agents, link)
	{
		total++;
		running += a->state == AGENT_RUNNING;
	}
	client_ok(c,
		json_pack("{s:s, s:i, s:o, s:o, s:o, s:i, s:i}", "version", KOSVM_VERSION, "pid",
			(int)getpid(), "state_dir", api_text(c->sup->paths.state_dir), "vmm",
			api_text(c->sup->vmm_program), "init", api_text(c->sup->init_program),
			"agents", total, "running", running));
	return 0;
}

const struct verb host_verbs[] = {
	{ "image-import", verb_image_import },
	{ "image-ls", verb_image_ls },
	{ "image-rm", verb_image_rm },
	{ "key-trust", verb_key_trust },
	{ "key-ls", verb_key_ls },
	{ "key-rm", verb_key_rm },
	{ "info", verb_info },
	{ 0 },
};
