#include "mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <base/cleanup.h>
#include <base/log.h>

#define NEWROOT "/newroot"

enum mount_when {
	MOUNT_ALWAYS,   /* the directory must be there */
	MOUNT_IF_THERE, /* passed over without it, or when the kernel has no such thing */
	MOUNT_IF_EMPTY, /* the image's own content is not hidden */
};

struct mount_entry {
	const char *type;
	const char *target;
	unsigned long flags;
	const char *options;
	enum mount_when when;
	mode_t mkdir_mode; /* not 0: made first (inside a mount that is writable) */
};

#define SAFE (MS_NOSUID | MS_NODEV)

static const struct mount_entry early[] = {
	{ "devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=755,size=1M", MOUNT_ALWAYS, 0755 },
	{ "proc", "/proc", SAFE | MS_NOEXEC, NULL, MOUNT_ALWAYS, 0755 },
	{ "sysfs", "/sys", SAFE | MS_NOEXEC, NULL, MOUNT_ALWAYS, 0755 },
};

/* In the new root. Sizes are limits, not reservations. */
static const struct mount_entry late[] = {
	{ "proc", "/proc", SAFE | MS_NOEXEC, "hidepid=2", MOUNT_ALWAYS, 0 },
	{ "sysfs", "/sys", SAFE | MS_NOEXEC | MS_RDONLY, NULL, MOUNT_IF_THERE, 0 },
	{ "cgroup2", "/sys/fs/cgroup", SAFE | MS_NOEXEC, NULL, MOUNT_IF_THERE, 0 },
	{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666", MOUNT_ALWAYS,
		0755 },
	{ "tmpfs", "/dev/shm", SAFE | MS_NOEXEC, "mode=1777,size=25%", MOUNT_ALWAYS, 01777 },
	{ "tmpfs", "/tmp", SAFE, "mode=1777,size=25%", MOUNT_IF_THERE, 0 },
	{ "tmpfs", "/run", SAFE, "mode=755,size=10%", MOUNT_IF_THERE, 0 },
	{ "tmpfs", "/var/tmp", SAFE, "mode=1777,size=10%", MOUNT_IF_THERE, 0 },
	{ "tmpfs", "/var/log", SAFE | MS_NOEXEC, "mode=1777,size=5%", MOUNT_IF_THERE, 0 },
	{ "tmpfs", "/home", SAFE, "mode=1777,size=10%", MOUNT_IF_EMPTY, 0 },
};

static bool dir_is_empty(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *d;
	bool empty = true;

	while (dir && empty && (d = readdir(dir)) != NULL)
		empty = strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0;
	if (dir)
		(void)closedir(dir);
	return empty;
}

static int mount_one(const struct mount_entry *m, struct kerr *e)
{
	if (m->mkdir_mode && mkdir(m->target, m->mkdir_mode) < 0 && errno != EEXIST)
		return kerr_errno(e, errno, "making %s", m->target);
	if (m->when == MOUNT_IF_EMPTY && !dir_is_empty(m->target))
		return 0;
	if (mount(m->type, m->target, m->type, m->flags, m->options) == 0)
		return 0;
	if (errno == ENODEV && m->when == MOUNT_IF_THERE)
		return 0; /* a kernel without it */
	if (errno == ENOENT || errno == ENOTDIR) {
		if (m->when != MOUNT_ALWAYS)
			return 0;
		return kerr_set(e, errno,
			"the root filesystem has no directory %s; `kosvm image import` adds it to trees "
			"and archives",
			m->target);
	}
	return kerr_errno(e, errno, "mounting %s (%s)", m->target, m->type);
}

int mounts_early(struct kerr *e)
{
	for (size_t i = 0; i < array_size(early); i++) {
		int r;

		if (mkdir(early[i].target, 0755) < 0 && errno != EEXIST)
			return kerr_errno(e, errno, "making %s", early[i].target);
		r = mount_one(&early[i], e);
		/* The kernel itself may have mounted devtmpfs. */
		if (r < 0 && r != -EBUSY)
			return r;
	}
	return 0;
}

int mounts_root(const char *device, struct kerr *e)
{
	if (mkdir(NEWROOT, 0755) < 0 && errno != EEXIST)
		return kerr_errno(e, errno, "making " NEWROOT);
	if (mount(device, NEWROOT, "erofs", MS_RDONLY | SAFE, NULL) < 0)
		return kerr_errno(e, errno, "mounting the root filesystem (EROFS on %s)", device);
	return 0;
}

/* Deletes everything below dirfd that is on the device dev. */
static void delete_below(int dirfd, dev_t dev)
{
	DIR *dir = fdopendir(dirfd);
	const struct dirent *d;

	if (!dir) {
		(void)close(dirfd);
		return;
	}
	while ((d = readdir(dir)) != NULL) {
		struct stat st;
		int fd;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
			fstatat(dirfd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != dev)
			continue;
		if (!S_ISDIR(st.st_mode)) {
			(void)unlinkat(dirfd, d->d_name, 0);
			continue;
		}
		fd = openat(dirfd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			delete_below(fd, dev);
		(void)unlinkat(dirfd, d->d_name, AT_REMOVEDIR);
	}
	(void)closedir(dir);
}

/* Frees the memory of the initramfs. Only ever a root that lives in memory. */
static void delete_initramfs(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	struct stat st;

	if (fd < 0)
		return;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0 ||
		(fs.f_type != RAMFS_MAGIC && fs.f_type != TMPFS_MAGIC)) {
		(void)close(fd);
		return;
	}
	delete_below(fd, st.st_dev);
}

static void make_links(void)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};

	for (size_t i = 0; i < array_size(links); i++) {
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			log_warn("%s: %s", links[i][1], strerror(errno));
	}
	(void)mkdir("/run/lock", 01777);
	(void)chmod("/run/lock", 01777);
	/* For programs that ask for their own CID. */
	(void)chmod("/dev/vsock", 0666);
}

int mounts_enter(struct kerr *e)
{
	if (umount2("/proc", MNT_DETACH) < 0 || umount2("/sys", MNT_DETACH) < 0)
		return kerr_errno(e, errno, "unmounting the initramfs's /proc and /sys");
	if (mount("/dev", NEWROOT "/dev", NULL, MS_MOVE, NULL) < 0)
		return kerr_set(e, errno,
			"the root filesystem has no directory /dev; `kosvm image import` adds it to trees "
			"and archives");
	if (chdir(NEWROOT) < 0)
		return kerr_errno(e, errno, NEWROOT);
	delete_initramfs();
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return kerr_errno(e, errno, "entering the root filesystem");
	for (size_t i = 0; i < array_size(late); i++) {
		int r = mount_one(&late[i], e);

		if (r < 0)
			return r;
	}
	make_links();
	return 0;
}

int mounts_state(const char *device, uid_t uid, gid_t gid, struct kerr *e)
{
	struct stat st;

	if (mount(device, "/state", "ext4", SAFE | MS_NOATIME, "errors=remount-ro") < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return kerr_set(e, errno,
				"the root filesystem has no directory /state for the state disk; add it to "
				"the tree and import it again, or set state = 0 in the manifest");
		return kerr_errno(
			e, errno, "mounting the state disk (ext4 on %s) at /state", device);
	}
	if (stat("/state", &st) < 0)
		return kerr_errno(e, errno, "/state");
	/* The host cannot know the number of a user that is named by the image. */
	if ((st.st_uid != uid || st.st_gid != gid) && chown("/state", uid, gid) < 0)
		return kerr_errno(e, errno, "giving /state to %u:%u", uid, gid);
	return 0;
}

int mounts_finish(bool has_state, struct kerr *e)
{
	sync();
	if (!has_state || umount2("/state", 0) == 0)
		return 0;
	log_warn("/state is busy (%s); made read-only instead", strerror(errno));
	if (mount(NULL, "/state", NULL, MS_REMOUNT | MS_RDONLY | SAFE | MS_NOATIME, NULL) < 0)
		return kerr_errno(e, errno, "/state could be neither unmounted nor made read-only");
	return 0;
}
