#pragma once

#include <stddef.h>

/*
 * Text that is shown to people: UTF-8 without control characters, without
 * line separators and without the marks that reverse the reading order.
 * A tab is text.
 */

/* Bytes of the character s starts with, or 0 when it is none of text. */
size_t text_char(const char *s, size_t len);

/* How many leading bytes are text: len when all of it is. */
size_t text_span(const char *s, size_t len);
