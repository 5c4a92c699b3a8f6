#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a guest says in a frame of fields on its control stream: checked in
 * form only, still its word.
 */
struct guest_report {
	uint32_t version;
	uint32_t phase; /* 0 when it says none */
	uint32_t code;
	uint32_t signal;
	bool has_version;
	bool has_code;
	bool has_signal;
	char text[400]; /* printable ASCII */
};

/* Reads the fields of a payload; those it does not know are passed over. 0 or -EPROTO. */
int guest_report_read(struct guest_report *ret, const uint8_t *payload, size_t len);

/* It tells an end: by a code of a process, or by a signal. */
bool guest_report_is_end(const struct guest_report *rep);
