#pragma once

#include <stdint.h>

/*
 * The path and query of a request, made piece by piece: what people typed is
 * percent-encoded, so that no name can be more than a name. For the life of
 * the process: a verb makes a few.
 */
struct url;

/* begin: "/v1/agents", taken as it is. */
struct url *url_new(const char *begin);
/* "/" and the encoded text. */
void url_segment(struct url *u, const char *text);
/* "?key=value", then "&key=value"; the value is encoded. */
void url_query(struct url *u, const char *key, const char *value);
void url_query_u64(struct url *u, const char *key, uint64_t value);
const char *url_text(const struct url *u);
void url_free(struct url *u);

/* "/v1/agents/REF" and, when action is not NULL, "/action". */
struct url *url_agent(const char *ref, const char *action);
