/* GET /metrics: figures in Prometheus' text format. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "routes.h"
#include "stats_round.h"

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

/* ---- of each agent ---- */

/* A label's value: backslash, quote and line end are written with a backslash. */
static void label(FILE *f, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n') {
			(void)fputs("\\n", f);
			continue;
		}
		if (*value == '\\' || *value == '"')
			(void)fputc('\\', f);
		(void)fputc(*value, f);
	}
}

static void sample(FILE *f, const char *name, const char *agent, double value)
{
	(void)fprintf(f, "%s{agent=\"", name);
	label(f, agent);
	(void)fprintf(f, "\"} %.17g\n", value);
}

static void agents_kept(FILE *f, const struct sup *s)
{
	const struct agent *a;

	head(f, "kosvm_agent_running", "gauge", "1 when the agent runs.");
	LIST_FOREACH(a, &s->agents, link)
	{
		sample(f, "kosvm_agent_running", a->row.name, a->state == AGENT_RUNNING);
	}
	head(f, "kosvm_agent_boots_total", "counter", "Starts and restarts so far.");
	LIST_FOREACH(a, &s->agents, link)
	{
		sample(f, "kosvm_agent_boots_total", a->row.name, a->row.generation);
	}
	head(f, "kosvm_agent_restarts", "gauge", "Restarts by itself since a person started it.");
	LIST_FOREACH(a, &s->agents, link)
	{
		sample(f, "kosvm_agent_restarts", a->row.name, a->row.restarts);
	}
}

/* What a VMM tells, since its boot. */
static void agents_used(FILE *f, const json_t *stats)
{
	static const struct {
		const char *name;
		const char *key;
		double scale;
		const char *type;
		const char *help;
	} figures[] = {
		{ "kosvm_agent_cpu_seconds_total", "cpu_ns", 1e-9, "counter",
			"Processor time of the agent's VMM, vCPUs included." },
		{ "kosvm_agent_vcpu_seconds_total", "vcpu_ns", 1e-9, "counter",
			"Processor time of its vCPUs." },
		{ "kosvm_agent_memory_bytes", "memory_bytes", 1, "gauge", "Resident in the host." },
		{ "kosvm_agent_memory_max_bytes", "memory_max", 1, "gauge", "The manifest's." },
		{ "kosvm_agent_vsock_received_bytes_total", "vsock_rx_bytes", 1, "counter",
			"From the guest." },
		{ "kosvm_agent_vsock_sent_bytes_total", "vsock_tx_bytes", 1, "counter",
			"To the guest." },
		{ "kosvm_agent_disk_read_bytes_total", "blk_read_bytes", 1, "counter",
			"Read by the guest." },
		{ "kosvm_agent_disk_written_bytes_total", "blk_write_bytes", 1, "counter",
			"Written by the guest." },
	};
	const json_t *o;
	size_t n;

	for (size_t i = 0; i < array_size(figures); i++) {
		head(f, figures[i].name, figures[i].type, figures[i].help);
		json_array_foreach(stats, n, o)
		{
			sample(f, figures[i].name, json_string_value(json_object_get(o, "name")),
				json_number_value(json_object_get(o, figures[i].key)) *
					figures[i].scale);
		}
	}
}

/* ---- the answer, when all VMMs have told ---- */

struct scrape {
	struct http_request *q;
	struct stats_round *round;
};

static void scrape_free(void *user)
{
	struct scrape *sc = user;

	stats_round_cancel(sc->round);
	free(sc);
}

static void scraped(void *user, json_t *stats)
{
	struct scrape *sc = user;
	const struct sup *s = sc->q->sup;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	sc->round = NULL;
	if (f) {
		head(f, "kosvm_build_info", "gauge", "Version of kosvmd.");
		(void)fprintf(f, "kosvm_build_info{version=\"%s\"} 1\n", KOSVM_VERSION);
		head(f, "kosvm_start_time_seconds", "gauge",
			"When kosvmd started, since the epoch.");
		(void)fprintf(f, "kosvm_start_time_seconds %.3f\n",
			(double)s->started_ns / (double)CLOCK_NS_PER_S);
		agents_by_state(f, s);
		http_figures(f, s);
		agents_kept(f, s);
		agents_used(f, stats);
	}
	json_decref(stats);
	if (!f || fclose(f) != 0) {
		free(text);
		http_fail(sc->q, ENOMEM, "metrics: no memory");
		return;
	}
	http_text(sc->q, METRICS_TYPE, text, len);
}

static int metrics(struct http_request *q, struct kerr *e)
{
	struct scrape *sc = calloc(1, sizeof(*sc));

	if (!sc)
		return kerr_errno(e, ENOMEM, "metrics");
	sc->q = q;
	q->op = sc;
	q->op_free = scrape_free;
	return stats_round_begin(&sc->round, q->sup, scraped, sc, e);
}

const struct route metrics_routes[] = {
	{ .method = "GET", .path = "/metrics", .fn = metrics },
	{ 0 },
};
