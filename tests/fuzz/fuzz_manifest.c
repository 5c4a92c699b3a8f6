/*
 * A manifest as anybody may have written it, and its command line. What is
 * taken must be within the limits of manifests/manifest.h; what is refused
 * must say so in one line that names the file.
 */
#include <stdlib.h>
#include <string.h>

#include <manifests/manifest.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#define DIGEST "blake2b:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* Random bytes hardly ever make a digest: the mutator starts from this. */
static const char sound[] =
	"[agent]\nname = a-1\nversion = 2\n[image]\nkernel = " DIGEST "\ninitramfs = " DIGEST
	"\nrootfs = " DIGEST "\n[resources]\nvcpus = 2\nmemory = 128M\nstate = 16M\n[run]\n"
	"command = /bin/sh -c 'a \"b\"' \"c\\\"\" \\d\nuser = 1:2\nworkdir = /state/x\n"
	"start-timeout = 5s\nstop-timeout = 2m\nconsole = 8K\nlog = 1M\n[env]\nA = b\n"
	"[lifecycle]\nrestart = on-failure\nrestart-max = 5\nrestart-backoff = 2s\n"
	"restart-backoff-max = 1m\nrestart-reset = 5m\nheartbeat = 5s\nheartbeat-timeout = 20s\n"
	"max-run-time = 8h\nidle-after = 10m\nidle-action = stop\n[labels]\nteam = red\n";

static void require(bool ok)
{
	if (!ok)
		abort();
}

static bool in_range(uint64_t v, uint64_t min, uint64_t max)
{
	return v >= min && v <= max;
}

static void check_taken(const struct manifest *m)
{
	size_t n = 0;

	require(manifest_name_ok(m->name));
	require(in_range(m->vcpus, 1, 32));
	require(in_range(m->memory, 64ULL << 20, 64ULL << 30) && m->memory % (1 << 20) == 0);
	require(m->state == 0 ||
		(in_range(m->state, 8ULL << 20, 16ULL << 40) && m->state % 4096 == 0));
	require(m->argv[0] && m->argv[0][0] == '/');
	while (m->argv[n])
		n++;
	require(n <= MANIFEST_ARGV_MAX);
	for (n = 0; m->env[n]; n++)
		require(strchr(m->env[n], '=') > m->env[n]);
	require(n <= MANIFEST_ENV_MAX);
	require(m->workdir[0] == '/');
	require(m->user[0] != '\0' && strcmp(m->user, "root") != 0 && m->user[0] != '0');
	require(in_range(m->start_timeout_ns, 1000000000, 3600000000000));
	require(in_range(m->stop_timeout_ns, 1000000000, 3600000000000));
	for (n = 0; m->labels[n]; n++)
		require(strchr(m->labels[n], '=') > m->labels[n]);
	require(n <= MANIFEST_LABELS_MAX);
	require(in_range(m->restart, MANIFEST_RESTART_NEVER, MANIFEST_RESTART_ALWAYS));
	require(in_range(m->idle_action, MANIFEST_IDLE_SLEEP, MANIFEST_IDLE_NONE));
	require(in_range(m->restart_backoff_ns, 100000000, m->restart_backoff_max_ns));
	require(m->heartbeat_ns == 0 || m->heartbeat_ns < m->heartbeat_timeout_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest m;
	struct kerr e = { 0 };
	char *text = malloc(size + 1);
	char **words;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (manifest_parse("f.ini", (const char *)data, size, &m, &e) == 0) {
		check_taken(&m);
		manifest_done(&m);
	} else {
		require(e.code > 0 && strncmp(e.msg, "f.ini:", 6) == 0);
	}
	if (manifest_split_words(text, &words, &e) == 0)
		manifest_free_words(words);
	free(text);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	if (seed % 16 == 0 && max_size >= sizeof(sound)) {
		memcpy(data, sound, sizeof(sound) - 1);
		size = sizeof(sound) - 1;
	}
	return LLVMFuzzerMutate(data, size, max_size);
}
