#include <stdio.h>

#include "exchange.h"
#include "http.h"
#include "sup.h"

/* What is on its way to clients at kosvmd's end gets so long. */
#define API_PATIENCE_MS 2000

int api_listen(struct sup *s, struct kerr *e)
{
	char path[300];
	int r = http_open(&s->http, s, s->paths.socket, e);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/kosvmd.fds", s->paths.run_dir);
	return exchange_open(&s->exchange, s, path, e);
}

void api_done(struct sup *s)
{
	http_close(s->http, API_PATIENCE_MS);
	exchange_close(s->exchange);
	s->http = NULL;
	s->exchange = NULL;
}
