#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ncurses.h>

#include <base/clock.h>
#include <base/units.h>

#include "call.h"
#include "print.h"
#include "safe.h"
#include "term.h"
#include "usage.h"
#include "verbs.h"

#define REFRESH_MS 1000

struct top {
	json_t *earlier, *now;
	struct kerr err; /* why there is nothing new; code 0: there is */
	char sort;       /* 'c', 'm' or 'n' */
};

struct row {
	const json_t *stats;
	double cpu;
};

static char sort_by;

static int compare(const void *a, const void *b)
{
	const struct row *x = a;
	const struct row *y = b;
	uint64_t mx = cli_u64(x->stats, "memory_bytes"), my = cli_u64(y->stats, "memory_bytes");

	if (sort_by == 'c' && x->cpu != y->cpu)
		return x->cpu < y->cpu ? 1 : -1;
	if (sort_by == 'm' && mx != my)
		return mx < my ? 1 : -1;
	return strcmp(cli_text(x->stats, "name"), cli_text(y->stats, "name"));
}

static void sample(struct top *t)
{
	json_t *list = NULL;

	t->err = (struct kerr){ 0 };
	if (call_kosvmd(CALL_SHORT, "GET", url_new("/v1/stats"), NULL, &list, &t->err) < 0)
		return;
	json_decref(t->earlier);
	t->earlier = t->now;
	t->now = list;
}

/* Text of others, cut to the screen. */
static void put(int y, int x, int width, const char *text)
{
	char copy[256];

	(void)snprintf(copy, sizeof(copy), "%s", text);
	safe_filter(&(struct safe){ 0 }, copy, strlen(copy), false);
	if (x < COLS)
		(void)mvaddnstr(y, x, copy, width < COLS - x ? width : COLS - x);
}

static void draw_row(int y, const struct row *r)
{
	struct usage_text u;
	char state[40];

	usage_format(r->stats, r->cpu, &u);
	(void)snprintf(state, sizeof(state), "%s%s", cli_text(r->stats, "state"),
		*cli_text(r->stats, "paused") ? " (paused)" : "");
	put(y, 0, 23, cli_text(r->stats, "name"));
	put(y, 24, 17, state);
	put(y, 42, 8, u.cpu);
	put(y, 51, 16, u.memory);
	put(y, 68, 18, u.vsock);
	put(y, 87, 18, u.block);
}

static void draw_head(const struct top *t, size_t count, double cpu, uint64_t memory)
{
	char line[160];
	char mem[16];

	units_format_size(memory, mem, sizeof(mem));
	(void)snprintf(
		line, sizeof(line), "kosvm: %zu agents, %.1f%% CPU, %s memory", count, cpu, mem);
	put(0, 0, COLS, line);
	if (t->err.code)
		put(1, 0, COLS, t->err.msg);
	else
		put(1, 0, COLS, "q quits; sort by c: CPU, m: memory, n: name");
	(void)attron(A_REVERSE);
	(void)mvhline(2, 0, ' ', COLS);
	put(2, 0, 23, "NAME");
	put(2, 24, 17, "STATE");
	put(2, 42, 8, "CPU");
	put(2, 51, 16, "MEMORY / LIMIT");
	put(2, 68, 18, "VSOCK FROM / TO");
	put(2, 87, 18, "BLOCK READ / WR.");
	(void)attroff(A_REVERSE);
}

static void draw(const struct top *t)
{
	const json_t *list = json_object_get(t->now, "stats");
	size_t count = json_array_size(list);
	struct row *rows = calloc(count ? count : 1, sizeof(*rows));
	double cpu = 0;
	uint64_t memory = 0;

	if (!rows)
		return;
	for (size_t i = 0; i < count; i++) {
		rows[i].stats = json_array_get(list, i);
		rows[i].cpu = usage_cpu(t->earlier, rows[i].stats);
		cpu += rows[i].cpu > 0 ? rows[i].cpu : 0;
		memory += cli_u64(rows[i].stats, "memory_bytes");
	}
	sort_by = t->sort;
	qsort(rows, count, sizeof(*rows), compare);
	(void)erase();
	draw_head(t, count, cpu, memory);
	for (size_t i = 0; i < count && (int)i + 3 < LINES; i++)
		draw_row((int)i + 3, &rows[i]);
	(void)refresh();
	free(rows);
}

static volatile sig_atomic_t hung_up;

static void on_hangup(int signo)
{
	(void)signo;
	hung_up = 1;
}

/* INT, TERM and TSTP are ncurses': it gives the terminal back first. */
static void watch(struct top *t)
{
	const struct sigaction hup = { .sa_handler = on_hangup };
	uint64_t next = 0;
	int key = ERR;

	(void)sigaction(SIGHUP, &hup, NULL);
	timeout(REFRESH_MS);
	while (key != 'q' && key != 'Q' && !hung_up) {
		if (key == 'c' || key == 'm' || key == 'n')
			t->sort = (char)key;
		/* A key is no reason to measure over a shorter time. */
		if (clock_mono_ns() >= next) {
			sample(t);
			next = clock_mono_ns() + (REFRESH_MS - 50) * CLOCK_NS_PER_MS;
		}
		draw(t);
		key = getch();
	}
}

static int top(const struct cmd *c, int argc, char **argv)
{
	struct top t = { .sort = 'c' };
	SCREEN *screen;
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (optind < argc)
		return cli_usage(c, "unexpected argument %s", argv[optind]);
	if (!term_there())
		return cli_usage(c, "needs a terminal: `kosvm stats --no-stream` is for programs");
	/* A first answer, or the reason why there is none, before the screen is taken. */
	sample(&t);
	if (t.err.code)
		return cli_fail(c, &t.err);
	(void)setlocale(LC_CTYPE, "");
	screen = newterm(NULL, stdout, stdin);
	if (!screen) {
		json_decref(t.now);
		(void)kerr_set(&t.err, EINVAL,
			"TERM=%s: unknown terminal: set TERM, or use "
			"`kosvm stats`",
			getenv("TERM") ? getenv("TERM") : "");
		return cli_fail(c, &t.err);
	}
	(void)cbreak();
	(void)noecho();
	(void)curs_set(0);
	(void)keypad(stdscr, TRUE);
	watch(&t);
	(void)endwin();
	delscreen(screen);
	json_decref(t.earlier);
	json_decref(t.now);
	return hung_up ? 128 + SIGHUP : 0;
}

const struct cmd cmd_top = {
	.name = "top",
	.args = "",
	.summary = "watch what running agents use",
	.more = "On the whole screen, each second. Keys: q quits; c, m and n sort by CPU, memory\n"
		"and name.\n",
	.fn = top,
};
