#pragma once

#include <stddef.h>

#include <base/kerr.h>

/* Serials of the virtio-blk disks the host gives us (virtio 1.2, 5.2.6, GET_ID). */
#define DISK_ROOTFS "rootfs"
#define DISK_STATE  "state"

#define DISK_PATH_MAX 64u

/*
 * Waits, for at most timeout_ms, for the disk of that serial to appear
 * below /sys/block and /dev, and gives its node ("/dev/vda").
 */
int disk_wait(
	const char *serial, unsigned timeout_ms, char ret[static DISK_PATH_MAX], struct kerr *e);
