#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <base/kerr.h>

/* Output: what others wrote is printed as safe.h does it. */

enum cli_format { FORMAT_TABLE, FORMAT_JSON };
/* 0 or -EINVAL. */
int cli_format_parse(const char *s, enum cli_format *ret);

/* Rows of text that are aligned when they are printed. */
struct table;
struct table *table_new(unsigned columns);
void table_add(struct table *t, const char *const *cells);
void table_print(struct table *t);
void table_free(struct table *t);

/* One line of text from others on stdout, without its end. */
void cli_print_safe(const char *s);
/* A string of an object, "" when it has none. */
const char *cli_text(const json_t *o, const char *key);
/* A number that cannot be less than 0; 0 when there is none. */
uint64_t cli_u64(const json_t *o, const char *key);
/* One JSON object a line on stdout. */
void cli_print_json(const json_t *o);
/* JSON for a person's eyes as well. */
void cli_print_pretty(const json_t *o);

/* "3.2s" since a time of an object, "-" for none. */
void cli_age(const json_t *o, const char *key, char *buf, size_t len);

/* An API error {errno, code, message}: -errno and *e; 0 when it is none. */
int print_take_error(const json_t *err, struct kerr *e);
