#include "signame.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include <base/units.h>

#define SIGNAL_MAX 64

int signame_parse(const char *text)
{
	uint64_t n;

	if (units_parse_u64(text, SIGNAL_MAX, &n) == 0)
		return n > 0 ? (int)n : -EINVAL;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (int i = 1; i <= SIGNAL_MAX; i++) {
		const char *name = sigabbrev_np(i);

		if (name && strcasecmp(name, text) == 0)
			return i;
	}
	return -EINVAL;
}
