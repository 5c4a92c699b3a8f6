/* A board as kosvmd's channel might deliver it: byte 0 is the number of descriptors. */
#include <stdlib.h>
#include <string.h>

#include <wire/board.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted must be within the limits, and survive being written and read again. */
static void check_accepted(const struct board *b, unsigned nfds)
{
	static _Alignas(8) uint8_t fdt[BOARD_FDT_MAX];
	struct board again;
	struct kerr e;
	int len = board_encode(b, fdt, sizeof(fdt), &e);

	if (len < 0 || board_decode(fdt, (size_t)len, nfds, &again, &e) < 0)
		abort();
	if (again.memory != b->memory || again.vcpus != b->vcpus ||
		again.slot_count != b->slot_count || strcmp(again.cmdline, b->cmdline) != 0)
		abort();
	if (b->vcpus < 1 || b->vcpus > BOARD_MAX_VCPUS || b->slot_count > BOARD_MAX_SLOTS ||
		b->kernel_fd < 0 || b->kernel_fd >= (int)nfds || b->kvm_fd >= (int)nfds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board b;
	struct kerr e;
	unsigned nfds;
	void *fdt;

	if (size < 1)
		return 0;
	nfds = data[0] % 17;
	fdt = malloc(size - 1 ? size - 1 : 1);
	if (!fdt)
		return 0;
	memcpy(fdt, data + 1, size - 1);
	if (board_decode(fdt, size - 1, nfds, &b, &e) == 0)
		check_accepted(&b, nfds);
	free(fdt);
	return 0;
}
