/*
 * What a person types for `kosvm cp`, and the names of a hostile archive's
 * members: whatever is made of them stays below the destination. The first
 * line is the argument, the second what the first part becomes, the rest a name.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "copy_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Below the directory it is used in: relative, and without a part that is "..". */
static void is_below(const char *name)
{
	must(*name != '/');
	while (*name) {
		size_t n = strcspn(name, "/");

		must(n != 2 || name[0] != '.' || name[1] != '.');
		name += n;
		name += strspn(name, "/");
	}
}

static void rewrite(const struct copy_path *src, const char *name, const char *first)
{
	char *made = copy_name_from(src, name, first);

	if (made)
		is_below(made);
	free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);
	struct copy_path p = { 0 };
	char *first;
	char *name;

	must(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';
	first = text + strcspn(text, "\n");
	first += *first == '\n' ? (*first = '\0', 1) : 0;
	name = first + strcspn(first, "\n");
	name += *name == '\n' ? (*name = '\0', 1) : 0;
	if (copy_path_parse(text, &p) == 0 && !p.stream) {
		char *parent = copy_path_parent(&p);

		must(p.path && *p.path && parent && *parent);
		must(!p.agent || p.path[0] == '/');
		must(!strchr(copy_path_last(&p), '/'));
		rewrite(&p, name, NULL);
		/* As copy_out does: a part of a path of this machine. */
		if (!strchr(first, '/') && strcmp(first, "..") != 0)
			rewrite(&p, name, first);
		free(parent);
	}
	copy_path_done(&p);
	free(text);
	return 0;
}
