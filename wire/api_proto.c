#include <wire/api_proto.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>

json_t *api_text(const char *s)
{
	_cleanup_free_ char *copy = NULL;
	json_t *t = json_string(s);

	if (t)
		return t;
	copy = strdup(s);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(copy);
}

int api_send(int sock, const json_t *msg, const int *fds, size_t nfds, struct kerr *e)
{
	_cleanup_free_ char *text = json_dumps(msg, JSON_COMPACT);
	size_t len;
	int r;

	if (!text)
		return kerr_set(e, EINVAL, "message cannot be written as JSON");
	len = strlen(text);
	if (len > API_MSG_MAX)
		return kerr_set(
			e, EMSGSIZE, "message of %zu bytes: the limit is %u", len, API_MSG_MAX);
	r = fdpass_send(sock, text, len, fds, nfds);
	if (r < 0)
		return kerr_errno(e, -r, "send");
	return 0;
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}

int api_recv(int sock, json_t **ret, int *fds, size_t max_fds, size_t *ret_nfds, struct kerr *e)
{
	_cleanup_free_ char *buf = malloc(API_MSG_MAX);
	json_error_t je;
	json_t *msg;
	size_t nfds = 0;
	ssize_t n;

	if (!buf)
		return kerr_errno(e, ENOMEM, "receive");
	n = fdpass_recv(sock, buf, API_MSG_MAX, fds, max_fds, &nfds);
	/* The other side closed with something of ours unread: its last words come after that. */
	if (n == -ECONNRESET)
		n = fdpass_recv(sock, buf, API_MSG_MAX, fds, max_fds, &nfds);
	if (n == 0) {
		/* An empty message is an end as well, and may carry descriptors. */
		close_all(fds, nfds);
		return 0;
	}
	if (n < 0)
		return kerr_errno(e, (int)-n, "receive");
	/* jansson bounds the depth (JSON_PARSER_MAX_DEPTH) and refuses NULs in strings. */
	msg = json_loadb(buf, (size_t)n, JSON_REJECT_DUPLICATES, &je);
	if (!msg || !json_is_object(msg)) {
		close_all(fds, nfds);
		json_decref(msg);
		return kerr_set(
			e, EPROTO, "message is no JSON object: %s", msg ? "another type" : je.text);
	}
	*ret = msg;
	*ret_nfds = nfds;
	return 1;
}

static int put(char *out, size_t len, const char *a, const char *b, struct kerr *e)
{
	int n = snprintf(out, len, "%s%s", a, b);

	if (n < 0 || (size_t)n >= len)
		return kerr_set(e, ENAMETOOLONG, "path is too long: %s%s", a, b);
	if (out[0] != '/')
		return kerr_set(e, EINVAL, "%s: expected an absolute path", out);
	return 0;
}

static int pick(char *out, size_t len, const char *var, const char *root_default,
	const char *user_var, const char *user_suffix, struct kerr *e)
{
	const char *v = getenv(var);

	if (v && *v)
		return put(out, len, v, "", e);
	if (geteuid() == 0)
		return put(out, len, root_default, "", e);
	v = getenv(user_var);
	if (v && *v)
		return put(out, len, v, user_suffix, e);
	return -ENOENT;
}

int api_paths_get(struct api_paths *ret, struct kerr *e)
{
	struct api_paths p;
	int r;

	r = pick(p.run_dir, sizeof(p.run_dir), "KOSVM_RUN", "/run/kosvm", "XDG_RUNTIME_DIR",
		"/kosvm", e);
	if (r == -ENOENT)
		r = kerr_set(e, ENOENT,
			"neither KOSVM_RUN nor XDG_RUNTIME_DIR is set: set KOSVM_RUN "
			"to a directory for the socket");
	if (r < 0)
		return r;
	r = pick(p.state_dir, sizeof(p.state_dir), "KOSVM_STATE", "/var/lib/kosvm",
		"XDG_STATE_HOME", "/kosvm", e);
	if (r == -ENOENT) {
		const char *home = getenv("HOME");

		r = home && *home
			? put(p.state_dir, sizeof(p.state_dir), home, "/.local/state/kosvm", e)
			: kerr_set(e, ENOENT,
				  "neither KOSVM_STATE nor HOME is set: set "
				  "KOSVM_STATE to a directory");
	}
	if (r < 0)
		return r;
	(void)snprintf(p.socket, sizeof(p.socket), "%s/kosvmd.sock", p.run_dir);
	*ret = p;
	return 0;
}
