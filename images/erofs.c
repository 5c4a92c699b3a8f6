#include "erofs.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <base/cleanup.h>
#include <base/io.h>

/* struct erofs_super_block, as it lies on the disk. */
struct super {
	uint32_t magic;
	uint32_t checksum;
	uint32_t feature_compat;
	uint8_t blkszbits;
	uint8_t sb_extslots;
	uint16_t root_nid;
	uint64_t inos;
	uint64_t build_time;
	uint32_t build_time_nsec;
	uint32_t blocks;
	uint32_t meta_blkaddr;
	uint32_t xattr_blkaddr;
	uint8_t uuid[16];
	uint8_t volume_name[16];
	uint32_t feature_incompat;
	uint16_t compression;
	uint16_t extra_devices;
	uint8_t rest[40];
};
_Static_assert(sizeof(struct super) == 128, "EROFS superblock");

#define COMPAT_SB_CHKSUM 0x1u
#define BLKSZBITS_MIN    9u
#define BLKSZBITS_MAX    12u /* the page of x86-64 */
#define INODE_SLOT       32u

/* CRC-32C, reflected, without the final inversion (crc32c_le of the kernel). */
static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0);
	}
	return crc;
}

/* Over the rest of the block that holds the superblock, its own field taken as zero. */
static int check_sum(int fd, const struct super *s, uint64_t size, struct kerr *e)
{
	uint32_t block = 1u << s->blkszbits;
	_cleanup_free_ uint8_t *buf = NULL;
	uint32_t len;
	int r;

	if (!(le32toh(s->feature_compat) & COMPAT_SB_CHKSUM))
		return 0;
	len = block > EROFS_SUPER_OFFSET ? block - EROFS_SUPER_OFFSET : block;
	if (EROFS_SUPER_OFFSET + (uint64_t)len > size)
		return kerr_set(e, EBADMSG, "an EROFS image that is cut short");
	buf = malloc(len);
	if (!buf)
		return kerr_errno(e, ENOMEM, "superblock");
	r = io_pread_full(fd, buf, len, EROFS_SUPER_OFFSET);
	if (r < 0)
		return kerr_errno(e, -r, "read");
	memset(buf + offsetof(struct super, checksum), 0, sizeof(s->checksum));
	if (crc32c(~0u, buf, len) != le32toh(s->checksum))
		return kerr_set(
			e, EBADMSG, "an EROFS image whose superblock is damaged (checksum)");
	return 0;
}

static int check_root(int fd, const struct super *s, uint64_t size, struct kerr *e)
{
	/* i_format, i_xattr_icount, i_mode: the same in both inode formats. */
	uint16_t inode[3];
	uint64_t at;
	int r;

	/* 32 bits shifted by at most 12, and 16 by 5: no overflow in 64. */
	at = ((uint64_t)le32toh(s->meta_blkaddr) << s->blkszbits) +
		(uint64_t)le16toh(s->root_nid) * INODE_SLOT;
	if (at + INODE_SLOT > size)
		return kerr_set(e, EBADMSG, "an EROFS image whose root directory is not within it");
	r = io_pread_full(fd, inode, sizeof(inode), at);
	if (r < 0)
		return kerr_errno(e, -r, "read");
	if (!S_ISDIR(le16toh(inode[2])))
		return kerr_set(e, EBADMSG, "an EROFS image whose root is no directory");
	return 0;
}

int erofs_check(int fd, uint64_t size, struct kerr *e)
{
	struct super s;
	uint64_t need;
	int r;

	if (size < EROFS_SUPER_OFFSET + sizeof(s))
		return kerr_set(e, ENOEXEC, "no EROFS image: only %llu bytes long",
			(unsigned long long)size);
	r = io_pread_full(fd, &s, sizeof(s), EROFS_SUPER_OFFSET);
	if (r < 0)
		return kerr_errno(e, -r, "read");
	if (le32toh(s.magic) != EROFS_SUPER_MAGIC)
		return kerr_set(e, ENOEXEC, "no EROFS image: its magic number is not at byte 1024");
	if (s.blkszbits < BLKSZBITS_MIN || s.blkszbits > BLKSZBITS_MAX)
		return kerr_set(e, ENOTSUP,
			"an EROFS image with blocks of 2^%u bytes: expected at "
			"most 4096 (mkfs.erofs -b 4096)",
			s.blkszbits);
	if (le16toh(s.extra_devices) != 0)
		return kerr_set(e, ENOTSUP,
			"an EROFS image that needs %u more files: make it in one",
			le16toh(s.extra_devices));
	need = (uint64_t)le32toh(s.blocks) << s.blkszbits;
	if (need > size)
		return kerr_set(e, EBADMSG,
			"an EROFS image that is cut short: it needs %llu bytes and has %llu",
			(unsigned long long)need, (unsigned long long)size);
	if (size % 512 != 0)
		return kerr_set(e, EBADMSG,
			"an EROFS image of %llu bytes: expected a multiple of 512, as of any disk",
			(unsigned long long)size);
	r = check_sum(fd, &s, size, e);
	return r < 0 ? r : check_root(fd, &s, size, e);
}
