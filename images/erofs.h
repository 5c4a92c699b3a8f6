#pragma once

#include <stdint.h>

#include <base/kerr.h>

/*
 * An EROFS image's superblock (Linux fs/erofs/erofs_fs.h): magic number,
 * checksum where there is one, block size, and that blocks, root inode and
 * file size fit together. Hostile input: this keeps mistakes from reaching
 * an agent; the guest's kernel is who reads the rest. -ENOEXEC: no EROFS;
 * -EBADMSG: damaged or cut short; -ENOTSUP: needs what is not there.
 */
#define EROFS_SUPER_OFFSET 1024u
#define EROFS_SUPER_MAGIC  0xe0f5e1e2u

int erofs_check(int fd, uint64_t size, struct kerr *e);
