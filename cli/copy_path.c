#include "copy_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>

static char *copy(const char *s, size_t len)
{
	char *r = strndup(s, len);

	if (!r)
		abort();
	return r;
}

/* Drops "/" and "/." from the end and remembers what they meant. */
static void trim(struct copy_path *p)
{
	size_t len = strlen(p->path);

	for (;;) {
		if (len > 1 && p->path[len - 1] == '/') {
			p->directory = true;
			len--;
		} else if (len > 1 && p->path[len - 1] == '.' && p->path[len - 2] == '/') {
			p->contents = true;
			len -= len > 2 ? 2 : 1;
		} else {
			break;
		}
	}
	p->path[len] = '\0';
	/* These have no name of their own. */
	if (strcmp(p->path, ".") == 0 || strcmp(p->path, "/") == 0)
		p->contents = true;
}

int copy_path_parse(const char *text, struct copy_path *ret)
{
	struct copy_path p = { 0 };
	const char *colon = strchr(text, ':');
	const bool here = *text == '/' || *text == '.' || !colon || colon == text;

	if (strcmp(text, "-") == 0) {
		p.stream = true;
	} else if (here) {
		if (!*text || colon == text)
			return -EINVAL;
		p.path = copy(text, strlen(text));
		trim(&p);
	} else {
		p.agent = copy(text, (size_t)(colon - text));
		/* In an agent, the root is where one stands. */
		if (colon[1] == '/')
			p.path = copy(colon + 1, strlen(colon + 1));
		else if (asprintf(&p.path, "/%s", colon + 1) < 0)
			abort();
		if (!colon[1]) {
			copy_path_done(&p);
			return -EINVAL;
		}
		trim(&p);
	}
	*ret = p;
	return 0;
}

void copy_path_done(struct copy_path *p)
{
	free(p->agent);
	free(p->path);
	*p = (struct copy_path){ 0 };
}

const char *copy_path_last(const struct copy_path *p)
{
	const char *slash = strrchr(p->path, '/');

	return slash ? slash + 1 : p->path;
}

char *copy_path_parent(const struct copy_path *p)
{
	const char *slash = strrchr(p->path, '/');

	if (!slash)
		return copy(".", 1);
	return slash == p->path ? copy("/", 1) : copy(p->path, (size_t)(slash - p->path));
}

static bool has_dotdot(const char *name)
{
	while (*name) {
		size_t n = strcspn(name, "/");

		if (n == 2 && name[0] == '.' && name[1] == '.')
			return true;
		name += n;
		name += strspn(name, "/");
	}
	return false;
}

char *copy_name_rewrite(const char *name, const char *first)
{
	const char *rest;
	char *made = NULL;
	size_t len;

	if (*name == '/' || has_dotdot(name))
		return NULL;
	while (name[0] == '.' && name[1] == '/')
		name += 1 + strspn(name + 1, "/");
	if (!*name)
		return NULL;
	rest = name + strcspn(name, "/");
	rest += strspn(rest, "/");
	while (rest[0] == '.' && (rest[1] == '/' || !rest[1]))
		rest += 1 + strspn(rest + 1, "/");
	if (!first || !*first)
		made = copy(rest, strlen(rest));
	else if (asprintf(&made, "%s%s%s", first, *rest ? "/" : "", rest) < 0)
		abort();
	len = strlen(made);
	while (len > 0 && made[len - 1] == '/')
		made[--len] = '\0';
	return made;
}

char *copy_name_from(const struct copy_path *src, const char *name, const char *first)
{
	_cleanup_free_ char *below = NULL;

	/* The root has no name: its members are "./" and "./etc". */
	if (strcmp(src->path, "/") != 0)
		return copy_name_rewrite(name, first);
	if (*name == '/')
		return NULL;
	if (asprintf(&below, "root/%s", name) < 0)
		abort();
	return copy_name_rewrite(below, first);
}
