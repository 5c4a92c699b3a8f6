#include "bzimage.h"

#include <errno.h>
#include <string.h>

/* Offsets of boot.rst's table "The Real-Mode Kernel Header". */
#define OFF_SETUP_SECTS    0x1f1u
#define OFF_BOOT_FLAG      0x1feu
#define OFF_HEADER         0x202u
#define OFF_VERSION        0x206u
#define OFF_LOADFLAGS      0x211u
#define OFF_PAYLOAD_OFFSET 0x248u
#define OFF_PAYLOAD_LENGTH 0x24cu

#define SECTOR           512u
#define SETUP_SECTS_IF_0 4u
#define VERSION_PAYLOAD  0x0208u /* the first with payload_offset */
#define LOADED_HIGH      0x01u

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)le16(p) | (uint32_t)le16(p + 2) << 16;
}

int bzimage_parse(
	const uint8_t *head, size_t len, uint64_t file_size, struct bzimage *ret, struct kerr *e)
{
	uint64_t start;
	uint64_t end;
	uint32_t offset;
	uint32_t length;
	uint16_t version;
	uint32_t sects;

	if (len < BZIMAGE_HEADER_LEN || file_size < len)
		return kerr_set(e, ENOEXEC, "shorter than a bzImage's header");
	if (le16(head + OFF_BOOT_FLAG) != 0xaa55 || memcmp(head + OFF_HEADER, "HdrS", 4) != 0)
		return kerr_set(e, ENOEXEC, "no bzImage: \"HdrS\" is not at 0x202");
	version = le16(head + OFF_VERSION);
	if (version < VERSION_PAYLOAD)
		return kerr_set(e, ENOEXEC,
			"a bzImage of boot protocol %u.%02u: expected 2.08 or newer (Linux 2.6.26)",
			version >> 8, version & 0xff);
	if (!(head[OFF_LOADFLAGS] & LOADED_HIGH))
		return kerr_set(e, ENOEXEC, "a zImage: expected a bzImage");
	sects = head[OFF_SETUP_SECTS];
	if (sects == 0)
		sects = SETUP_SECTS_IF_0;
	offset = le32(head + OFF_PAYLOAD_OFFSET);
	length = le32(head + OFF_PAYLOAD_LENGTH);
	/* Three numbers of at most 32 bits: a sum in 64 bits cannot overflow. */
	start = (uint64_t)(sects + 1) * SECTOR + offset;
	end = start + length;
	if (length == 0)
		return kerr_set(e, EBADMSG, "a bzImage without a payload");
	if (end > file_size)
		return kerr_set(e, EBADMSG,
			"a bzImage that is cut short: its payload ends at byte %llu, the file has %llu",
			(unsigned long long)end, (unsigned long long)file_size);
	ret->version = version;
	ret->payload_offset = start;
	ret->payload_length = length;
	return 0;
}
