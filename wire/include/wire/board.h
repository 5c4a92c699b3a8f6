#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>
#include <wire/limits.h>

/*
 * The board: what a virtual machine consists of, as one flattened device
 * tree (Devicetree Specification 0.4) that kosvmd writes, the VMM builds
 * the machine from, and a snapshot carries. File descriptors stand in it
 * as indexes into the table of descriptors that travels with the message.
 *
 * Layout of the tree:
 *   /                compatible = "kosvm,board-1"
 *   /chosen          bootargs; kosvm,kernel-fd, kosvm,kernel-size,
 *                    kosvm,initrd-fd, kosvm,initrd-size (u64)
 *   /kosvm           kosvm,kvm-fd; optional, for a VMM that outlives its kosvmd
 *                    (wire/vmm_proto.h): kosvm,boot-id (16 bytes, not all zero),
 *                    kosvm,listen-fd (a listening unix SOCK_SEQPACKET socket, with a
 *                    boot id only), kosvm,end-fd (a file open for writing);
 *                    optional: kosvm,confine (u32, BOARD_CONFINE_*)
 *   /limits          optional: what passes a second, at least 1 each, and at once
 *                    (u64; wire/limits.h): kosvm,disk-bytes, kosvm,disk-ops,
 *                    kosvm,disk-burst (with -bytes only) of all disks together,
 *                    kosvm,vsock-bytes, kosvm,vsock-burst
 *   /memory          reg = total bytes (u64); the VMM leaves the 3-4 GiB hole
 *   /cpus/cpu@N      reg = N
 *   /serial          kosvm,fd, kosvm,limit (u64)
 *   /virtio@ADDR     compatible = "virtio,mmio", reg = <ADDR SIZE> (u64 each),
 *                    interrupts = GSI, kosvm,device = "blk" | "vsock" | "rng",
 *                    blk: kosvm,fd, kosvm,size (u64), kosvm,serial, read-only;
 *                    vsock: kosvm,cid (u64)
 */
#define BOARD_FDT_MAX        16384u
#define BOARD_MAX_VCPUS      32u
#define BOARD_MAX_SLOTS      16u
#define BOARD_CMDLINE_MAX    2048u
#define BOARD_MEMORY_MIN     (1ULL << 20)
#define BOARD_MEMORY_MAX     (64ULL << 30)
#define BOARD_MMIO_BASE      0xd0000000ULL /* slot N at BASE + N * 0x1000 */
#define BOARD_MMIO_SLOT_SIZE 0x1000ULL
#define BOARD_GSI_FIRST      5u           /* slot N raises GSI FIRST + N; 5..20 of an IOAPIC's 24 */
#define BOARD_LOWMEM_END     (3ULL << 30) /* RAM below 4 GiB ends here */
#define BOARD_HIGHMEM_BASE   (4ULL << 30)
#define BOARD_NO_FD          (-1)
#define BOARD_BOOT_ID_LEN    16

/*
 * The command line that boots Debian's kernels fast and quietly:
 *   console=ttyS0       the serial line is the only console
 *   quiet               a character costs an exit or two
 *   panic=-1            a panic is a reset at once: the VMM ends and says so
 *   reboot=a            by the ACPI reset register; the kernel's own choice on
 *                       this board is a detour through real mode
 *   pci=off             there is no PCI; the kernel would look for it
 *   cryptomgr.notests   the kernel tests each cipher at each boot: more than
 *                       half of all instructions up to init
 * Measured without effect, so left out: tsc=reliable, no_timer_check, numa=off,
 * nokaslr, noreplace-smp, lsm=, 8250.nr_uarts=1, rcupdate.rcu_expedited=1.
 * Mitigations stay as the distribution has them.
 */
#define BOARD_CMDLINE_DEFAULT "console=ttyS0 quiet panic=-1 reboot=a pci=off cryptomgr.notests"

/* What the VMM has to put on itself before it touches the machine (jail/lock.h), or end. */
#define BOARD_CONFINE_PROCESS  1u
#define BOARD_CONFINE_LANDLOCK 2u
#define BOARD_CONFINE_SECCOMP  4u
#define BOARD_CONFINE_ALL      7u

enum board_device { BOARD_BLK = 1, BOARD_VSOCK, BOARD_RNG };

struct board_slot {
	enum board_device device;
	uint64_t mmio; /* guest physical address */
	uint32_t gsi;
	/* blk */
	int fd; /* index into the fd table */
	uint64_t size;
	bool read_only;
	char serial[21]; /* at most 20 characters */
	/* vsock */
	uint64_t cid;
};

struct board {
	uint64_t memory; /* bytes, a multiple of 4096 */
	uint32_t vcpus;
	char cmdline[BOARD_CMDLINE_MAX];
	int kvm_fd; /* all fds: indexes */
	/*
	 * Random, for this boot alone, and a secret: whoever reaches the listener
	 * and knows it is the VMM's master. All zero: none.
	 */
	uint8_t boot_id[BOARD_BOOT_ID_LEN];
	int listen_fd;    /* BOARD_NO_FD: the VMM ends with its control socket */
	int end_fd;       /* BOARD_NO_FD: its last word goes to the control socket only */
	uint32_t confine; /* BOARD_CONFINE_*; 0: nothing, for tests of the VMM alone */
	int kernel_fd;
	uint64_t kernel_size;
	int initrd_fd; /* BOARD_NO_FD: none */
	uint64_t initrd_size;
	int serial_fd; /* BOARD_NO_FD: the console goes nowhere (its tail is kept) */
	uint64_t serial_limit;
	struct rate_limit disk_rate;  /* of all disks together */
	struct rate_limit vsock_rate; /* both directions together; ops is 0 */
	unsigned slot_count;
	struct board_slot slots[BOARD_MAX_SLOTS];
};

/* Appends a slot with the next address and GSI; NULL when all are taken. */
struct board_slot *board_add_slot(struct board *b, enum board_device device);

bool board_has_boot_id(const struct board *b);

/* Writes the tree (buf aligned to 8): returns its length (<= len) or -errno. */
int board_encode(const struct board *b, void *buf, size_t len, struct kerr *e);

/*
 * Reads and checks a tree (at an address aligned to 8): limits above,
 * addresses and GSIs unique and in range, fd indexes < nfds and each used
 * once, one vsock at most, no unknown node or property. -EINVAL with a
 * message that names the node and property.
 */
int board_decode(const void *fdt, size_t len, unsigned nfds, struct board *ret, struct kerr *e);
