/*
 * What anybody may send to kosvmd's socket: a message, in whole, with
 * descriptors beside it. Whatever comes is refused or is an object, no
 * descriptor stays, and the request of exec that passes its check fits into
 * its frame.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wire/api_proto.h>

#include "exec_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void pair(int type, int sv[2])
{
	must(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
}

static void as_exec(const json_t *msg)
{
	int sv[2];

	if (exec_request_check(msg, NULL) < 0)
		return;
	pair(SOCK_STREAM, sv);
	must(exec_request_send(sv[0], msg, NULL) == 0);
	(void)close(sv[0]);
	(void)close(sv[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fds[FDPASS_MAX_FDS];
	struct kerr e = { 0 };
	json_t *msg = NULL;
	json_t *text;
	char words[300];
	size_t nfds = 0;
	size_t i;
	int sv[2];
	int out;
	int r;

	pair(SOCK_SEQPACKET, sv);
	/* The lowest number that is free is the same afterwards. */
	out = dup(sv[0]);
	must(out >= 0);
	(void)close(out);
	if (fdpass_send(sv[0], data, len, sv, len % 3) < 0)
		goto end;
	r = api_recv(sv[1], &msg, fds, FDPASS_MAX_FDS, &nfds, &e);
	if (r == 1) {
		must(json_is_object(msg));
		must(nfds == len % 3);
		for (i = 0; i < nfds; i++)
			(void)close(fds[i]);
		as_exec(msg);
		/* What was read can be said again. */
		must(api_send(sv[1], msg, NULL, 0, &e) == 0 || e.code == EMSGSIZE);
		json_decref(msg);
	}
	r = dup(sv[0]);
	must(r == out);
	(void)close(r);
	/* Any text at all becomes a text of JSON. */
	for (i = 0; i < len && i < sizeof(words) - 1; i++)
		words[i] = (char)data[i];
	words[i] = '\0';
	text = api_text(words);
	must(json_is_string(text));
	json_decref(text);
end:
	(void)close(sv[0]);
	(void)close(sv[1]);
	return 0;
}
