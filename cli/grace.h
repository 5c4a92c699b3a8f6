#pragma once

#include <jansson.h>

/*
 * A duration of the command line as {"grace_ms": N}, the caller's; NULL
 * when it is none or longer than a day.
 */
json_t *grace_parse(const char *text);
