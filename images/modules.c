#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "modinfo.h"
#include "modules_private.h"

#define DEP_FILE_MAX (8u << 20)
#define ENTRIES_MAX  65536u
#define DEPTH_MAX    64u

enum visit { VISIT_NEW, VISIT_OPEN, VISIT_DONE };

struct entry {
	char name[MODULE_NAME_MAX]; /* normalised */
	char *path;                 /* within text */
	char *deps;                 /* within text, blanks between paths; NULL: ask the module */
	bool builtin;
	enum visit visit;
};

struct modules {
	int dirfd;
	char *dep_text; /* modules.dep or modules.order */
	char *builtin_text;
	struct entry *entries; /* sorted by name once loaded */
	size_t count;
	size_t cap;
};

struct order {
	struct modules *m;
	const char **paths;
	size_t count;
	struct kerr *e;
};

int module_name_of(const char *path, char out[static MODULE_NAME_MAX])
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const char *end = strstr(base, ".ko");
	size_t len = end ? (size_t)(end - base) : strlen(base);

	if (len == 0 || len >= MODULE_NAME_MAX)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)base[i];

		if (c <= ' ' || c >= 0x7f)
			return -EINVAL;
		out[i] = c == '-' ? '_' : (char)c;
	}
	memset(out + len, 0, MODULE_NAME_MAX - len);
	return 0;
}

int modules_open_beneath(int dirfd, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int entry_add(struct modules *m, char *path, char *deps, bool builtin, struct kerr *e)
{
	struct entry *n;

	if (m->count == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 256;
		struct entry *bigger;

		if (m->count >= ENTRIES_MAX)
			return kerr_set(e, EFBIG, "modules: more than %u of them", ENTRIES_MAX);
		bigger = reallocarray(m->entries, cap, sizeof(*bigger));
		if (!bigger)
			return kerr_errno(e, ENOMEM, "modules");
		m->entries = bigger;
		m->cap = cap;
	}
	n = &m->entries[m->count];
	*n = (struct entry){ .path = path, .deps = deps, .builtin = builtin };
	if (module_name_of(path, n->name) < 0)
		return -EINVAL;
	m->count++;
	return 0;
}

/* One file of lines; a NUL inside would hide what follows it. */
static int read_text(int dirfd, const char *name, char **ret, struct kerr *e)
{
	_cleanup_close_ int fd = modules_open_beneath(dirfd, name);
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return kerr_set(e, -fd,
			"modules: %s: %s: expected the directory lib/modules/VERSION of a kernel "
			"package",
			name, strerror(-fd));
	r = io_read_all(fd, DEP_FILE_MAX, name, &text, &len, e);
	if (r < 0)
		return r;
	if (strlen(text) != len)
		return kerr_set(e, EINVAL, "modules: %s: has a NUL byte in it", name);
	*ret = steal_ptr(text);
	return 0;
}

static int parse_deps(struct modules *m, struct kerr *e)
{
	char *rest = m->dep_text;
	unsigned line = 0;
	char *s;

	while ((s = strsep(&rest, "\n"))) {
		char *colon;
		int r;

		line++;
		if (*s == '\0')
			continue;
		colon = strchr(s, ':');
		r = colon ? 0 : -EINVAL;
		if (r == 0) {
			*colon = '\0';
			r = entry_add(m, s, colon + 1, false, e);
		}
		if (r == -EINVAL)
			return kerr_set(e, EINVAL,
				"modules: modules.dep:%u: expected \"PATH: PATH…\"", line);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A file of paths alone: modules.order or modules.builtin. */
static int parse_paths(
	struct modules *m, const char *file, char *rest, bool builtin, struct kerr *e)
{
	unsigned line = 0;
	char *s;

	while ((s = strsep(&rest, "\n"))) {
		int r;

		line++;
		if (*s == '\0')
			continue;
		r = entry_add(m, s, NULL, builtin, e);
		if (r == -EINVAL)
			return kerr_set(e, EINVAL, "modules: %s:%u: expected a path", file, line);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * depmod(8) makes modules.dep when a kernel is installed. A package that
 * was only unpacked has modules.order, and each module names what it needs.
 */
static int read_modules(struct modules *m, struct kerr *e)
{
	int r = read_text(m->dirfd, "modules.dep", &m->dep_text, e);

	if (r == 0)
		return parse_deps(m, e);
	if (r != -ENOENT)
		return r;
	r = read_text(m->dirfd, "modules.order", &m->dep_text, e);
	return r < 0 ? r : parse_paths(m, "modules.order", m->dep_text, false, e);
}

static int entry_compare(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

int modules_open(int dirfd, struct modules **ret, struct kerr *e)
{
	_cleanup_(modules_freep) struct modules *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return kerr_errno(e, ENOMEM, "modules");
	m->dirfd = dirfd;
	r = read_modules(m, e);
	if (r < 0)
		return r;
	/* A tree without this file has nothing built in. */
	r = read_text(dirfd, "modules.builtin", &m->builtin_text, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (m->builtin_text)
		r = parse_paths(m, "modules.builtin", m->builtin_text, true, e);
	else
		r = 0;
	if (r < 0)
		return r;
	if (m->count > 0)
		qsort(m->entries, m->count, sizeof(*m->entries), entry_compare);
	for (size_t i = 1; i < m->count; i++) {
		if (strcmp(m->entries[i - 1].name, m->entries[i].name) == 0)
			return kerr_set(
				e, EINVAL, "modules: %s is listed twice", m->entries[i].name);
	}
	*ret = steal_ptr(m);
	return 0;
}

void modules_free(struct modules *m)
{
	if (!m)
		return;
	free(m->dep_text);
	free(m->builtin_text);
	free(m->entries);
	free(m);
}

static struct entry *entry_find(struct modules *m, const char *path)
{
	struct entry key;

	if (module_name_of(path, key.name) < 0 || m->count == 0)
		return NULL;
	return bsearch(&key, m->entries, m->count, sizeof(key), entry_compare);
}

/* A copy of what n needs, as paths or names between blanks or commas. The caller frees. */
static int entry_deps(struct modules *m, const struct entry *n, char **ret, struct kerr *e)
{
	_cleanup_free_ char *data = NULL;
	const char *deps = n->deps;
	size_t len;

	if (!deps) {
		int r = modules_read(m, n->path, &data, &len, e);

		if (r < 0)
			return kerr_wrap(e, "modules");
		deps = modinfo_find(data, len, "depends");
	}
	*ret = strdup(deps ? deps : "");
	return *ret ? 0 : kerr_errno(e, ENOMEM, "modules");
}

/* Depth first, what is needed before who needs it. */
static int visit(struct order *o, struct entry *n, unsigned depth)
{
	_cleanup_free_ char *deps = NULL;
	char *rest;
	char *dep;
	int r;

	if (n->visit == VISIT_DONE || n->builtin)
		return 0;
	if (n->visit == VISIT_OPEN)
		return kerr_set(o->e, ELOOP, "modules: %s needs itself by a circle", n->name);
	if (depth >= DEPTH_MAX)
		return kerr_set(o->e, ELOOP, "modules: %s: needs more than %u levels of others",
			n->name, DEPTH_MAX);
	n->visit = VISIT_OPEN;
	r = entry_deps(o->m, n, &deps, o->e);
	if (r < 0)
		return r;
	rest = deps;
	while ((dep = strsep(&rest, " \t,"))) {
		struct entry *d;

		if (*dep == '\0')
			continue;
		d = entry_find(o->m, dep);
		if (!d)
			return kerr_set(o->e, ENOENT, "modules: %s needs %.128s, which is missing",
				n->name, dep);
		r = visit(o, d, depth + 1);
		if (r < 0)
			return r;
	}
	n->visit = VISIT_DONE;
	o->paths[o->count++] = n->path;
	return 0;
}

int modules_resolve(struct modules *m, const struct module_wish *wishes, size_t count,
	const char ***ret_paths, size_t *ret_count, struct kerr *e)
{
	_cleanup_free_ const char **paths = calloc(m->count + 1, sizeof(*paths));
	struct order o = { .m = m, .paths = paths, .e = e };

	if (!paths)
		return kerr_errno(e, ENOMEM, "modules");
	for (size_t i = 0; i < m->count; i++)
		m->entries[i].visit = VISIT_NEW;
	for (size_t i = 0; i < count; i++) {
		struct entry *n = entry_find(m, wishes[i].name);
		int r;

		if (!n && wishes[i].essential)
			return kerr_set(e, ENOENT,
				"modules: this kernel has no %s, neither as a module nor built in; an "
				"agent cannot start without it",
				wishes[i].name);
		if (!n)
			continue;
		r = visit(&o, n, 0);
		if (r < 0)
			return r;
	}
	*ret_paths = steal_ptr(paths);
	*ret_count = o.count;
	return 0;
}

int modules_dirfd(const struct modules *m)
{
	return m->dirfd;
}
