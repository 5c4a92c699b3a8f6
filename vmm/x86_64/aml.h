#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A writer for the little of the ACPI machine language that a static DSDT
 * needs (ACPI 6.5, chapter 20.2; resource descriptors: 6.4). Whatever does not
 * fit sets `full`, and nothing more is written; look at it once, at the
 * end.
 *
 * Terms with a length are opened and closed: aml_close takes what the
 * opening call returned.
 */
struct aml {
	uint8_t *buf;
	size_t len, cap;
	bool full;
};

size_t aml_open_scope(struct aml *a, const char *name);  /* "\\_SB" or a segment */
size_t aml_open_device(struct aml *a, const char *name); /* four characters */
size_t aml_open_package(struct aml *a, uint8_t elements);
size_t aml_open_resources(struct aml *a); /* a buffer for descriptors */
void aml_close(struct aml *a, size_t mark);
void aml_close_resources(struct aml *a, size_t mark); /* with the end tag */

void aml_name(struct aml *a, const char *name); /* its value follows */
void aml_integer(struct aml *a, uint64_t value);
void aml_string(struct aml *a, const char *s);
void aml_eisa_id(struct aml *a, const char *id); /* "PNP0501" */

/* Descriptors, between aml_open_resources and aml_close_resources. */
void aml_memory32(struct aml *a, uint32_t base, uint32_t len); /* read-write, fixed */
void aml_io(struct aml *a, uint16_t port, uint8_t len);        /* 16-bit decode, fixed */
/* Consumer, edge-triggered, active high, exclusive. */
void aml_interrupt(struct aml *a, uint32_t gsi);
