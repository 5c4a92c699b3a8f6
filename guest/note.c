#include "note.h"

#include <string.h>

#include <base/cleanup.h>

#define NOTE_ROOM 4096u /* that forward finds worth a read */

static bool note_keeps(const struct sink *s)
{
	(void)s;
	return true;
}

static size_t note_room(const struct sink *s)
{
	(void)s;
	return NOTE_ROOM;
}

/* It is short: what is too much falls on the floor. */
static uint8_t *note_reserve(struct sink *s, size_t len)
{
	static uint8_t scrap[NOTE_ROOM];

	(void)s;
	return len <= sizeof(scrap) ? scrap : NULL;
}

static void note_commit(struct sink *s, enum guest_frame_type type, size_t len)
{
	struct note *n = container_of(s, struct note, sink);
	const uint8_t *data = note_reserve(s, len);
	size_t room = sizeof(n->text) - 1 - n->len;
	size_t keep = len < room ? len : room;

	(void)type;
	memcpy(n->text + n->len, data, keep);
	n->len += keep;
	n->text[n->len] = '\0';
}

void note_init(struct note *n)
{
	*n = (struct note){
		.sink = {
			.keeps = note_keeps,
			.room = note_room,
			.reserve = note_reserve,
			.commit = note_commit,
		},
	};
}
