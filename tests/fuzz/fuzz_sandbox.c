/*
 * sandbox.ini as anybody may have written it: what is taken is within the
 * ranges of manifests/sandbox.h, what is refused names the file.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <manifests/sandbox.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static const char sound[] = "[limits]\nagents = 9\nvcpus = 4\nvcpus-total = 64\nmemory = 2G\n"
			    "memory-total = 1T\nstate = 0\nstate-total = 10T\n";

static void require(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest m = { .vcpus = 33, .memory = UINT64_MAX, .state = UINT64_MAX };
	struct sandbox s;
	struct kerr e = { 0 };

	if (sandbox_parse("f.ini", (const char *)data, size, &s, &e) < 0) {
		require(e.code > 0 && strncmp(e.msg, "f.ini:", 6) == 0);
		return 0;
	}
	for (int k = 0; k < SANDBOX_KEYS; k++) {
		require(s.limit[k] <= 1ULL << 60);
		require(s.line[k] != 0 || s.limit[k] == 0);
	}
	/* Nobody gets by a limit that is there. */
	if (s.line[SANDBOX_VCPUS] || s.line[SANDBOX_MEMORY] || s.line[SANDBOX_STATE])
		require(sandbox_check_manifest(&s, &m, "m.ini", &e) < 0);
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
