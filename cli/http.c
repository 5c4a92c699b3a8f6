#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>

#include <base/cleanup.h>

#include "daemon.h"
#include "print.h"

#define ERROR_MAX 65536u

struct http {
	const struct http_request *q;
	CURL *easy;
	const char *path;
	int sock; /* curl's, while it is open */
	long status;
	int result; /* of chunk, wake or the peer check; 1: enough */
	bool begun; /* part of an answer came: a second try would be a second request */
	char *error;
	size_t error_len;
	struct kerr *e;
};

static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct http *h = user;

	(void)purpose;
	h->sock = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	return h->sock;
}

/* Between connecting and sending: who is there? */
static int before_request(void *user, char *to, char *from, int to_port, int from_port)
{
	struct http *h = user;

	(void)to;
	(void)from;
	(void)to_port;
	(void)from_port;
	h->result = daemon_check_peer(h->sock, h->path, h->e);
	return h->result < 0 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t take_error(struct http *h, const char *data, size_t len)
{
	char *bigger;

	if (h->error_len + len > ERROR_MAX)
		return len;
	bigger = realloc(h->error, h->error_len + len + 1);
	if (!bigger)
		return 0;
	h->error = bigger;
	memcpy(h->error + h->error_len, data, len);
	h->error_len += len;
	return len;
}

static size_t take_body(char *data, size_t size, size_t count, void *user)
{
	struct http *h = user;

	(void)size;
	h->begun = true;
	if (h->status == 0)
		(void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->status);
	if (h->status < 200 || h->status > 299)
		return take_error(h, data, count);
	if (h->result == 0 && h->q->chunk)
		h->result = h->q->chunk(h->q->user, data, count, h->e);
	return h->result == 0 ? count : 0;
}

static int refused(struct http *h)
{
	json_t *o =
		json_loadb(h->error ? h->error : "", h->error_len, JSON_REJECT_DUPLICATES, NULL);
	int r = print_take_error(json_object_get(o, "error"), h->e);

	json_decref(o);
	if (r == 0)
		r = kerr_set(h->e, EPROTO, "kosvmd answered with HTTP status %ld and no reason",
			h->status);
	return r;
}

static int run(struct http *h, CURLM *multi, CURLcode *ret)
{
	struct curl_waitfd extra = { .fd = h->q->wake_fd, .events = CURL_WAIT_POLLIN };
	const unsigned n = h->q->wake ? 1 : 0;
	int running = 1;
	int left;

	while (curl_multi_perform(multi, &running) == CURLM_OK && running) {
		if (curl_multi_poll(multi, &extra, n, 60000, NULL) != CURLM_OK)
			break;
		if (n && extra.revents) {
			h->result = h->q->wake(h->q->user, h->e);
			extra.revents = 0;
		}
		if (h->result != 0)
			return 0;
	}
	for (CURLMsg *m; (m = curl_multi_info_read(multi, &left));) {
		if (m->msg == CURLMSG_DONE) {
			*ret = m->data.result;
			return 0;
		}
	}
	return kerr_set(h->e, EIO, "libcurl gave up");
}

static void set_up(struct http *h, struct curl_slist *headers)
{
	const struct http_request *q = h->q;

	/* All of these only store what they are given. */
	(void)curl_easy_setopt(h->easy, CURLOPT_UNIX_SOCKET_PATH, h->path);
	(void)curl_easy_setopt(h->easy, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(h->easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(h->easy, CURLOPT_PROTOCOLS_STR, "http");
	(void)curl_easy_setopt(h->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(h->easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(h->easy, CURLOPT_CUSTOMREQUEST, q->method);
	(void)curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, headers);
	if (q->body) {
		(void)curl_easy_setopt(
			h->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(q->body));
		(void)curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, q->body);
	}
	(void)curl_easy_setopt(h->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(h->easy, CURLOPT_OPENSOCKETDATA, h);
	(void)curl_easy_setopt(h->easy, CURLOPT_PREREQFUNCTION, before_request);
	(void)curl_easy_setopt(h->easy, CURLOPT_PREREQDATA, h);
	(void)curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, h);
}

/* One try: 1 when nobody listened and there is somebody now. */
static int try_once(struct http *h, unsigned *tries)
{
	CURLM *multi = curl_multi_init();
	CURLcode code = CURLE_OK;
	long os_error = 0;
	int r;

	if (!multi || curl_multi_add_handle(multi, h->easy) != CURLM_OK)
		return kerr_errno(h->e, ENOMEM, "libcurl");
	r = run(h, multi, &code);
	(void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->status);
	(void)curl_easy_getinfo(h->easy, CURLINFO_OS_ERRNO, &os_error);
	(void)curl_multi_remove_handle(multi, h->easy);
	(void)curl_multi_cleanup(multi);
	if (r < 0)
		return r;
	if (h->result != 0)
		return h->result < 0 ? h->result : 0;
	if (code == CURLE_COULDNT_CONNECT && !h->begun) {
		r = daemon_missing(-(int)(os_error ? os_error : EIO), h->path, tries, h->e);
		return r < 0 ? r : 1;
	}
	if (h->status >= 300 || (h->status > 0 && h->status < 200))
		return refused(h);
	if (code != CURLE_OK)
		return kerr_set(h->e, ECONNRESET,
			"kosvmd ended before it answered: `kosvm ps -a` shows what it did");
	return 0;
}

int http_do(const struct http_request *q, struct kerr *e)
{
	struct http h = { .q = q, .sock = -1, .e = e };
	struct curl_slist *headers = NULL;
	unsigned tries = 0;
	int r = -ENOMEM;

	h.path = daemon_path(DAEMON_HTTP, e);
	if (!h.path)
		return -e->code;
	h.easy = curl_easy_init();
	/* No wait for "100 Continue": the socket is local. */
	headers = curl_slist_append(headers, "Expect:");
	headers = curl_slist_append(headers, "Content-Type: application/json");
	if (q->lines)
		headers = curl_slist_append(headers, "Accept: application/x-ndjson");
	if (h.easy && headers) {
		char *url = NULL;

		set_up(&h, headers);
		if (asprintf(&url, "http://kosvm%s", q->path) > 0) {
			(void)curl_easy_setopt(h.easy, CURLOPT_URL, url);
			while ((r = try_once(&h, &tries)) == 1)
				;
			free(url);
		}
	} else {
		(void)kerr_errno(e, ENOMEM, "libcurl");
	}
	free(h.error);
	curl_slist_free_all(headers);
	curl_easy_cleanup(h.easy);
	return r;
}
