#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The terminal that kosvm was started on, while a program of a guest has
 * it: raw, so that every key goes there. It is given back whatever happens:
 * at exit, by a signal that ends this process, and while it is stopped.
 */

/* Whether standard input and output are one to talk on. */
bool term_there(void);
/* Raw from now on, until term_restore or the end. 0 or -errno. */
int term_raw(void);
void term_restore(void);
/* Rows and columns, each 1 to GUEST_WINSIZE_MAX; 24 x 80 when nobody knows. */
void term_size(uint32_t *ret_rows, uint32_t *ret_cols);
