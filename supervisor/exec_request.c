#include "exec_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <base/cleanup.h>
#include <wire/guest_proto.h>

#define EXEC_WORDS_MAX 256u
#define EXEC_BYTES_MAX 32768u
#define EXEC_TEXT_MAX  1024u /* user, cwd */
#define COPY_PATH_MAX  4095u

static int check_list(
	const json_t *args, const char *key, size_t least, size_t *bytes, struct kerr *e)
{
	const json_t *list = json_object_get(args, key);
	const json_t *item;
	size_t i;

	if (list && !json_is_array(list))
		return kerr_set(e, EINVAL, "%s: expected a list of texts", key);
	if (json_array_size(list) < least || json_array_size(list) > EXEC_WORDS_MAX)
		return kerr_set(
			e, EINVAL, "%s: expected %zu to %u texts", key, least, EXEC_WORDS_MAX);
	json_array_foreach(list, i, item)
	{
		if (!json_is_string(item))
			return kerr_set(e, EINVAL, "%s: expected a list of texts", key);
		*bytes += json_string_length(item) + 8;
	}
	return 0;
}

static int check_text(const json_t *args, const char *key, struct kerr *e)
{
	const json_t *t = json_object_get(args, key);

	if (t && !json_is_string(t))
		return kerr_set(e, EINVAL, "%s: expected a text", key);
	if (json_string_length(t) > EXEC_TEXT_MAX)
		return kerr_set(e, EINVAL, "%s: longer than %u bytes", key, EXEC_TEXT_MAX);
	return 0;
}

static int check_bool(const json_t *args, const char *key, struct kerr *e)
{
	const json_t *b = json_object_get(args, key);

	if (b && !json_is_boolean(b))
		return kerr_set(e, EINVAL, "%s: expected true or false", key);
	return 0;
}

/* Both or none. */
static int check_size(const json_t *args, struct kerr *e)
{
	static const char *const keys[] = { "rows", "cols" };
	unsigned n = 0;

	for (size_t i = 0; i < array_size(keys); i++) {
		const json_t *v = json_object_get(args, keys[i]);
		json_int_t size = json_integer_value(v);

		if (v && (!json_is_integer(v) || size < 1 || size > (json_int_t)GUEST_WINSIZE_MAX))
			return kerr_set(e, EINVAL, "%s: expected a number from 1 to %u", keys[i],
				GUEST_WINSIZE_MAX);
		n += v != NULL;
	}
	return n == 1 ? kerr_set(e, EINVAL, "rows, cols: expected both or neither") : 0;
}

static uint32_t size_of(const json_t *args, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(args, key));
}

/* It is the first on its stream and fits; who makes it not fit gets no second try. */
static int send_first(int fd, const uint8_t *frame, int len, const char *what, struct kerr *e)
{
	ssize_t n;

	if (len < 0)
		return kerr_errno(e, -len, "%s", what);
	n = send(fd, frame, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n != len)
		return kerr_errno(e, n < 0 ? errno : EAGAIN, "%s: send to the guest", what);
	return 0;
}

int exec_request_check(const json_t *args, struct kerr *e)
{
	size_t bytes = 0;
	const json_t *item;
	size_t i;
	int r = check_list(args, "argv", 1, &bytes, e);

	if (r == 0)
		r = check_list(args, "env", 0, &bytes, e);
	if (r == 0)
		r = check_text(args, "user", e);
	if (r == 0)
		r = check_text(args, "cwd", e);
	if (r == 0)
		r = check_bool(args, "tty", e);
	if (r == 0)
		r = check_size(args, e);
	if (r < 0)
		return r;
	if (bytes > EXEC_BYTES_MAX)
		return kerr_set(
			e, E2BIG, "command and environment: more than %u bytes", EXEC_BYTES_MAX);
	json_array_foreach(json_object_get(args, "env"), i, item)
	{
		const char *s = json_string_value(item);

		if (!strchr(s, '=') || s[0] == '=')
			return kerr_set(e, EINVAL, "env %s: expected NAME=value", s);
	}
	return 0;
}

int exec_request_send(int fd, const json_t *args, struct kerr *e)
{
	const size_t cap =
		GUEST_FRAME_HDR_LEN + EXEC_BYTES_MAX + 2 * (EXEC_TEXT_MAX + 8) + GUEST_SMALL_FRAME;
	_cleanup_free_ uint8_t *buf = malloc(cap);
	const char *user = json_string_value(json_object_get(args, "user"));
	const char *cwd = json_string_value(json_object_get(args, "cwd"));
	struct guest_writer w;
	const json_t *item;
	size_t i;

	if (!buf)
		return kerr_errno(e, ENOMEM, "exec");
	guest_writer_begin(&w, buf, cap, GUEST_EXEC);
	json_array_foreach(json_object_get(args, "argv"), i, item)
		guest_put_text(&w, GUEST_F_ARGV, json_string_value(item));
	json_array_foreach(json_object_get(args, "env"), i, item)
		guest_put_text(&w, GUEST_F_ENV, json_string_value(item));
	if (user)
		guest_put_text(&w, GUEST_F_USER, user);
	if (cwd)
		guest_put_text(&w, GUEST_F_CWD, cwd);
	if (json_is_true(json_object_get(args, "tty"))) {
		guest_put_u32(&w, GUEST_F_TTY, 1);
		if (size_of(args, "rows")) {
			guest_put_u32(&w, GUEST_F_ROWS, size_of(args, "rows"));
			guest_put_u32(&w, GUEST_F_COLS, size_of(args, "cols"));
		}
	}
	return send_first(fd, buf, guest_writer_end(&w), "exec", e);
}

int attach_request_check(const json_t *args, struct kerr *e)
{
	return check_size(args, e);
}

int attach_request_send(int fd, const json_t *args, struct kerr *e)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	return send_first(fd, buf,
		guest_make_attach(buf, size_of(args, "rows"), size_of(args, "cols")), "attach", e);
}

int copy_request_check(const json_t *args, struct kerr *e)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	const char *way = json_string_value(json_object_get(args, "direction"));

	if (!path || path[0] != '/')
		return kerr_set(e, EINVAL, "path: expected an absolute path");
	if (strlen(path) > COPY_PATH_MAX)
		return kerr_set(e, EINVAL, "path: longer than %u bytes", COPY_PATH_MAX);
	if (!way || (strcmp(way, "in") != 0 && strcmp(way, "out") != 0))
		return kerr_set(e, EINVAL, "direction: expected \"in\" or \"out\"");
	return check_bool(args, "owners", e);
}

int copy_request_send(int fd, const json_t *args, struct kerr *e)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	const char *way = json_string_value(json_object_get(args, "direction"));
	const size_t cap = COPY_PATH_MAX + GUEST_SMALL_FRAME;
	_cleanup_free_ uint8_t *buf = malloc(cap);

	if (!buf)
		return kerr_errno(e, ENOMEM, "copy");
	return send_first(fd, buf,
		guest_make_copy(buf, cap, strcmp(way, "in") == 0 ? GUEST_COPY_IN : GUEST_COPY_OUT,
			path, json_is_true(json_object_get(args, "owners"))),
		"copy", e);
}
