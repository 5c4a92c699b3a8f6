#include <manifests/manifest.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>

struct splitter {
	const char *at;
	char *word; /* room for all that is left of the input */
	size_t len;
};

static void put(struct splitter *s, char c)
{
	s->word[s->len++] = c;
}

/* Behind the opening ': everything up to the next one is itself. */
static int take_single(struct splitter *s, struct kerr *e)
{
	for (; *s->at != '\''; s->at++) {
		if (*s->at == '\0')
			return kerr_set(e, EINVAL, "expected a closing '");
		put(s, *s->at);
	}
	s->at++;
	return 0;
}

/* Behind the opening ": a backslash is one only before " \ $ and `, as in a shell. */
static int take_double(struct splitter *s, struct kerr *e)
{
	for (; *s->at != '"'; s->at++) {
		if (*s->at == '\\' && s->at[1] != '\0' && strchr("\"\\$`", s->at[1]))
			s->at++;
		if (*s->at == '\0')
			return kerr_set(e, EINVAL, "expected a closing \"");
		put(s, *s->at);
	}
	s->at++;
	return 0;
}

static int take_word(struct splitter *s, struct kerr *e)
{
	while (*s->at != '\0' && *s->at != ' ' && *s->at != '\t') {
		char c = *s->at++;
		int r = 0;

		if (c == '\'') {
			r = take_single(s, e);
		} else if (c == '"') {
			r = take_double(s, e);
		} else if (c == '\\') {
			if (*s->at == '\0')
				return kerr_set(
					e, EINVAL, "expected a character after the last \\");
			put(s, *s->at++);
		} else if (strchr("|&;<>()`", c)) {
			/* Passed on as a word it would not do what it does in a shell. */
			return kerr_set(e, EINVAL,
				"expected %c in quotes: no shell reads this; use /bin/sh -c '…' "
				"for one",
				c);
		} else {
			put(s, c);
		}
		if (r < 0)
			return r;
	}
	s->word[s->len] = '\0';
	return 0;
}

int manifest_split_words(const char *s, char ***ret, struct kerr *e)
{
	struct splitter split = { .at = s };
	_cleanup_free_ char *buf = malloc(strlen(s) + 1);
	char **words = calloc(MANIFEST_ARGV_MAX + 1, sizeof(*words));
	size_t count = 0;
	int r = 0;

	if (!buf || !words) {
		r = kerr_set(e, ENOMEM, "out of memory");
		goto fail;
	}
	split.word = buf;
	for (;;) {
		split.at += strspn(split.at, " \t");
		if (*split.at == '\0')
			break;
		if (count == MANIFEST_ARGV_MAX) {
			r = kerr_set(e, E2BIG, "expected at most %u words", MANIFEST_ARGV_MAX);
			goto fail;
		}
		split.len = 0;
		r = take_word(&split, e);
		if (r < 0)
			goto fail;
		words[count] = strdup(buf);
		if (!words[count]) {
			r = kerr_set(e, ENOMEM, "out of memory");
			goto fail;
		}
		count++;
	}
	*ret = words;
	return 0;
fail:
	manifest_free_words(words);
	return r;
}

void manifest_free_words(char **words)
{
	if (!words)
		return;
	for (char **w = words; *w; w++)
		free(*w);
	free(words);
}
