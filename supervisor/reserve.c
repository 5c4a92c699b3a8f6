#include "reserve.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/statvfs.h>

#include <base/units.h>

#define RESERVE_SHARE 16u
#define RESERVE_MOST  (UINT64_C(256) << 20)

int reserve_check(int dirfd, struct kerr *e)
{
	struct statvfs st;
	uint64_t keep;
	uint64_t left;
	char keep_text[32];
	char left_text[32];

	if (fstatvfs(dirfd, &st) < 0)
		return kerr_errno(e, errno, "free room of the state directory");
	keep = (uint64_t)st.f_blocks * st.f_frsize / RESERVE_SHARE;
	if (keep > RESERVE_MOST)
		keep = RESERVE_MOST;
	left = (uint64_t)st.f_bavail * st.f_frsize;
	if (left >= keep)
		return 0;
	units_format_size(keep, keep_text, sizeof(keep_text));
	units_format_size(left, left_text, sizeof(left_text));
	return kerr_set(e, ENOSPC,
		"the state directory's file system has %s free, and %s are kept for agents that run: "
		"make room, or remove images with `kosvm image rm`",
		left_text, keep_text);
}
