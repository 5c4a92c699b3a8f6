#include "print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/units.h>

#include "safe.h"

#define TABLE_COLUMNS_MAX 10u

struct table {
	unsigned columns;
	size_t rows;
	char **cells; /* rows * columns */
};

int cli_format_parse(const char *s, enum cli_format *ret)
{
	if (strcmp(s, "table") == 0)
		*ret = FORMAT_TABLE;
	else if (strcmp(s, "json") == 0)
		*ret = FORMAT_JSON;
	else
		return -EINVAL;
	return 0;
}

/* Columns on a terminal: UTF-8 continuation bytes take none. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

struct table *table_new(unsigned columns)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->columns = columns < TABLE_COLUMNS_MAX ? columns : TABLE_COLUMNS_MAX;
	return t;
}

void table_add(struct table *t, const char *const *cells)
{
	char **bigger = reallocarray(t->cells, (t->rows + 1) * t->columns, sizeof(char *));

	if (!bigger)
		abort();
	t->cells = bigger;
	for (unsigned i = 0; i < t->columns; i++) {
		char *copy = strdup(cells[i]);

		if (!copy)
			abort();
		safe_filter(&(struct safe){ 0 }, copy, strlen(copy), false);
		t->cells[t->rows * t->columns + i] = copy;
	}
	t->rows++;
}

void table_print(struct table *t)
{
	size_t width[TABLE_COLUMNS_MAX] = { 0 };

	for (size_t i = 0; i < t->rows * t->columns; i++) {
		size_t n = width_of(t->cells[i]);

		if (n > width[i % t->columns])
			width[i % t->columns] = n;
	}
	for (size_t row = 0; row < t->rows; row++) {
		for (unsigned i = 0; i < t->columns; i++) {
			const char *s = t->cells[row * t->columns + i];
			size_t pad = width[i] - width_of(s);

			(void)fputs(s, stdout);
			if (i + 1 < t->columns)
				(void)printf("%*s", (int)pad + 3, "");
		}
		(void)putchar('\n');
	}
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->rows * t->columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

const char *cli_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

uint64_t cli_u64(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* A terminal would obey the controls of ISO 6429 that JSON does not escape. */
static size_t json_flags(void)
{
	return isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0;
}

void cli_print_json(const json_t *o)
{
	if (json_dumpf(o, stdout, JSON_COMPACT | json_flags()) == 0)
		(void)putchar('\n');
}

void cli_print_pretty(const json_t *o)
{
	if (json_dumpf(o, stdout, JSON_INDENT(2) | json_flags()) == 0)
		(void)putchar('\n');
}

void cli_print_safe(const char *s)
{
	safe_print(stdout, s);
}

void cli_age(const json_t *o, const char *key, char *buf, size_t len)
{
	uint64_t then = cli_u64(o, key);
	uint64_t now = clock_real_ns();

	if (then == 0)
		(void)snprintf(buf, len, "-");
	else
		units_format_duration(now > then ? now - then : 0, buf, len);
}

int print_take_error(const json_t *err, struct kerr *e)
{
	const char *text = cli_text(err, "message");
	json_int_t code = json_integer_value(json_object_get(err, "errno"));

	if (!json_is_object(err))
		return 0;
	return kerr_set(e, code > 0 && code < 4096 ? (int)code : EIO, "%s",
		*text ? text : "kosvmd gave no reason");
}
