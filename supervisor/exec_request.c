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
	const size_t cap = GUEST_FRAME_HDR_LEN + EXEC_BYTES_MAX + 2 * (EXEC_TEXT_MAX + 8);
	_cleanup_free_ uint8_t *buf = malloc(cap);
	const char *user = json_string_value(json_object_get(args, "user"));
	const char *cwd = json_string_value(json_object_get(args, "cwd"));
	struct guest_writer w;
	const json_t *item;
	ssize_t n;
	size_t i;
	int len;

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
	len = guest_writer_end(&w);
	if (len < 0)
		return kerr_errno(e, -len, "exec");
	/* It is the first on its stream and fits; who makes it not fit gets no second try. */
	n = send(fd, buf, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n != len)
		return kerr_errno(e, n < 0 ? errno : EAGAIN, "exec: send to the guest");
	return 0;
}
