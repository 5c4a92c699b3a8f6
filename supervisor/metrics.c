/* GET /metrics: figures in Prometheus' text format. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "routes.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	(void)fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void agents_by_state(FILE *f, const struct sup *s)
{
	unsigned counts[AGENT_STATE_COUNT] = { 0 };
	const struct agent *a;

	LIST_FOREACH(a, &s->agents, link)
	counts[a->state]++;
	head(f, "kosvm_agents", "gauge", "Agents by state.");
	for (int i = AGENT_CREATED; i < AGENT_STATE_COUNT; i++)
		(void)fprintf(f, "kosvm_agents{state=\"%s\"} %u\n",
			agent_state_name((enum agent_state)i), counts[i]);
}

static void http_figures(FILE *f, const struct sup *s)
{
	struct http_counts c;

	http_counts(s->http, &c);
	head(f, "kosvm_http_connections", "gauge", "Connections to the API's socket.");
	(void)fprintf(f, "kosvm_http_connections %u\n", c.clients);
	head(f, "kosvm_http_connections_total", "counter", "Connections so far.");
	(void)fprintf(f, "kosvm_http_connections_total %" PRIu64 "\n", c.connections);
	head(f, "kosvm_http_connections_refused_total", "counter",
		"Connections turned away: too many, or not allowed.");
	(void)fprintf(f, "kosvm_http_connections_refused_total %" PRIu64 "\n", c.refused);
	head(f, "kosvm_http_answers_total", "counter",
		"Answers by the first digit of their status.");
	for (int i = 2; i < 6; i++)
		(void)fprintf(f, "kosvm_http_answers_total{status=\"%dxx\"} %" PRIu64 "\n", i,
			c.answers[i]);
}

static int metrics(struct http_request *q, struct kerr *e)
{
	const struct sup *s = q->sup;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return kerr_errno(e, ENOMEM, "metrics");
	head(f, "kosvm_build_info", "gauge", "Version of kosvmd.");
	(void)fprintf(f, "kosvm_build_info{version=\"%s\"} 1\n", KOSVM_VERSION);
	head(f, "kosvm_start_time_seconds", "gauge", "When kosvmd started, since the epoch.");
	(void)fprintf(f, "kosvm_start_time_seconds %.3f\n",
		(double)s->started_ns / (double)CLOCK_NS_PER_S);
	agents_by_state(f, s);
	http_figures(f, s);
	if (fclose(f) != 0) {
		free(text);
		return kerr_errno(e, ENOMEM, "metrics");
	}
	http_text(q, METRICS_TYPE, text, len);
	return 0;
}

const struct route metrics_routes[] = {
	{ .method = "GET", .path = "/metrics", .fn = metrics },
	{ 0 },
};
