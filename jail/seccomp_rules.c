/*
 * Each rule: a system call, for which threads, with what arguments, why.
 * A call that has several rules may satisfy any of them. What stands in no
 * rule ends the process by SIGSYS.
 *
 * A new rule is the narrowest one that does: name the threads that need it,
 * check every argument that chooses what the kernel does. The test `calls`
 * (tests/suites/integration) fails for a rule that nothing uses.
 *
 * What is not here on purpose:
 *   abort(3)           ends by SIGSYS in place of SIGABRT: the same end with
 *                      fewer calls, and its words are on descriptor 2 by then
 *   restart_syscall(2) nothing here waits by a call that needs it after a stop
 *   clone3(2)          its arguments are behind a pointer, which no filter can
 *                      follow: glibc is told that there is none and takes clone(2)
 */
#include "seccomp_rules.h"

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

#define SETUP SECCOMP_FOR_SETUP
#define VCPU  SECCOMP_FOR_VCPU
#define LOOP  SECCOMP_FOR_LOOP
#define BLOCK SECCOMP_FOR_BLOCK
#define ALL   SECCOMP_FOR_ALL

/* Argument n is, whole, that value; of its bits in mask, these are set. */
#define IS(n, is)                                                                                  \
	{                                                                                          \
		n, ~UINT64_C(0), is                                                                \
	}
#define BITS(n, bits, is)                                                                          \
	{                                                                                          \
		n, bits, is                                                                        \
	}

#define CALL(nr) .call = __NR_##nr, .name = #nr
#define WITH(...)                                                                                  \
	.checks = { __VA_ARGS__ },                                                                 \
	.check_count =                                                                             \
		sizeof((struct seccomp_check[]){ __VA_ARGS__ }) / sizeof(struct seccomp_check),    \
	.check_text = #__VA_ARGS__
#define WHY(text) .reason = text

/* Signal numbers: glibc keeps two of the real-time ones for itself. */
#define GLIBC_SETXID 33
#define KICK         34 /* SIGRTMIN of glibc: vmm/vcpu.c */

#define READ_WRITE_ONLY ~(uint64_t)(PROT_READ | PROT_WRITE)
#define PRIVATE_MEMORY  (MAP_PRIVATE | MAP_ANONYMOUS)
#define THREAD_STACK    (PRIVATE_MEMORY | MAP_STACK)
#define GUEST_MEMORY    (PRIVATE_MEMORY | MAP_NORESERVE)
#define FUTEX_COND_WAIT (FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME)
#define NEW_THREAD                                                                                 \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |        \
		CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
/* A thread's own clock as a clock_t: its number, inverted, above these bits (a negative number). */
#define CPU_CLOCK_BITS   0x80000007u
#define CPU_CLOCK_THREAD 0x80000006u

#define AT_EMPTY_PATH_FSTAT 0x1000 /* AT_EMPTY_PATH: what fstat(3) passes */

const struct seccomp_rule seccomp_rules[] = {
	/* ---- the machine */
	{ CALL(ioctl), VCPU, WITH(IS(1, KVM_RUN)), WHY("enters the guest") },
	{ CALL(ioctl), VCPU, WITH(IS(1, KVM_GET_REGS)),
		WHY("where the guest was when it made a mistake, for the reason of the end") },
	{ CALL(ioctl), LOOP, WITH(IS(1, KVM_KVMCLOCK_CTRL)),
		WHY("tells the guest's watchdogs after a pause that time went by") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_GET_API_VERSION)), WHY("is this KVM?") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_CHECK_EXTENSION)), WHY("can this KVM do it?") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_CREATE_VM)), WHY("the one VM") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_GET_VCPU_MMAP_SIZE)), WHY("size of kvm_run") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_GET_SUPPORTED_CPUID)),
		WHY("what the processor may show the guest") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_USER_MEMORY_REGION)), WHY("the guest's memory") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_TSS_ADDR)), WHY("Intel: pages for real mode") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_CREATE_IRQCHIP)), WHY("local APICs and IOAPIC") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_GSI_ROUTING)), WHY("interrupts to the IOAPIC") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_IRQFD)), WHY("a device's way to interrupt") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_IOEVENTFD)), WHY("a queue's way to be kicked") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_CREATE_VCPU)), WHY("each vCPU") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_GET_TSC_KHZ)), WHY("cpu_setup: its clock's rate") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_CPUID2)), WHY("cpu_setup: what it is") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_MSRS)), WHY("cpu_setup: registers") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_GET_LAPIC)), WHY("cpu_setup: interrupt pins") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_LAPIC)), WHY("cpu_setup: interrupt pins") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_GET_SREGS)), WHY("cpu_setup: registers") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_SREGS)), WHY("cpu_setup: registers") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_REGS)), WHY("cpu_setup: registers") },
	{ CALL(ioctl), SETUP, WITH(IS(1, KVM_SET_FPU)), WHY("cpu_setup: registers") },
	{ CALL(ioctl), SETUP, WITH(IS(1, BLKGETSIZE64)), WHY("is a block device long enough?"),
		.rare = "a disk that is a block device; seccomp: rules_kept_and_broken" },

	/* ---- waiting, locks, kicks */
	{ CALL(futex), ALL, WITH(IS(1, FUTEX_WAIT | FUTEX_PRIVATE_FLAG)), WHY("a lock is taken"),
		.rare = "two at one lock at once, by chance; seccomp: rules_kept_and_broken" },
	{ CALL(futex), VCPU | LOOP, WITH(IS(1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG)),
		WHY("a lock is left, and whoever waits is woken") },
	{ CALL(futex), BLOCK, WITH(IS(1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG)), WHY("a lock is left"),
		.rare = "two at one lock at once, by chance; seccomp: rules_kept_and_broken" },
	{ CALL(futex), VCPU | LOOP, WITH(IS(1, FUTEX_COND_WAIT | FUTEX_PRIVATE_FLAG)),
		WHY("vCPUs wait while they are held, and the loop until they are") },
	{ CALL(futex), LOOP, WITH(IS(1, FUTEX_COND_WAIT)), WHY("pthread_join, at the end") },
	{ CALL(rt_sigreturn), VCPU, WHY("back from the kick's handler") },
	{ CALL(getpid), LOOP, WHY("pthread_kill, for tgkill") },
	{ CALL(tgkill), LOOP, WITH(IS(0, SECCOMP_OWN_PID), IS(2, KICK)),
		WHY("kicks a vCPU out of the guest") },
	{ CALL(rt_sigprocmask), ALL,
		WHY("pthread_kill, and the end of a thread, for which signals wait") },
	{ CALL(epoll_wait), LOOP | BLOCK, WHY("what is to be done?") },
	{ CALL(epoll_ctl), LOOP, WITH(IS(1, EPOLL_CTL_ADD)), WHY("a stream or a master came") },
	{ CALL(epoll_ctl), LOOP, WITH(IS(1, EPOLL_CTL_MOD)), WHY("the control socket was full") },
	{ CALL(epoll_ctl), LOOP, WITH(IS(1, EPOLL_CTL_DEL)), WHY("a stream or a master went") },
	{ CALL(timerfd_settime), LOOP, WITH(IS(1, 0)),
		WHY("deadlines of connections, and tokens to come") },
	{ CALL(ppoll), LOOP, WHY("the last word waits for room in the control socket") },
	{ CALL(clock_gettime), LOOP, WITH(BITS(0, CPU_CLOCK_BITS, CPU_CLOCK_THREAD)),
		WHY("STATS: processor time of the vCPUs") },
	{ CALL(clock_gettime), LOOP | BLOCK, WITH(IS(0, CLOCK_MONOTONIC)),
		WHY("deadlines and tokens, where the vDSO cannot read the host's clock source"),
		.rare = "a host without; seccomp: rules_kept_and_broken" },

	/* ---- bytes */
	{ CALL(write), ALL, WHY("interrupts and wakes (eventfd), console and messages") },
	{ CALL(read), LOOP, WHY("kicks (eventfd), timers, SIGTERM") },
	{ CALL(readv), LOOP, WHY("a stream's bytes for the guest") },
	{ CALL(sendmsg), LOOP, WITH(IS(2, MSG_NOSIGNAL | MSG_DONTWAIT)),
		WHY("the guest's bytes for a stream that is a socket") },
	{ CALL(writev), LOOP, WHY("the guest's bytes for a stream that is a pipe or a terminal") },
	{ CALL(writev), VCPU | BLOCK, WITH(IS(0, 2)),
		WHY("the last words of glibc about a smashed stack or heap"),
		.rare = "a flaw; seccomp: last_words" },
	{ CALL(sendmsg), LOOP, WITH(IS(2, MSG_NOSIGNAL)), WHY("the control socket") },
	{ CALL(recvmsg), LOOP, WITH(IS(2, MSG_CMSG_CLOEXEC)), WHY("the control socket") },
	{ CALL(recvfrom), LOOP, WITH(IS(3, MSG_PEEK | MSG_DONTWAIT)),
		WHY("has the last master gone, when the next one knocks?") },
	{ CALL(accept4), LOOP, WITH(IS(3, SOCK_CLOEXEC | SOCK_NONBLOCK)), WHY("a master knocks") },
	{ CALL(shutdown), LOOP, WITH(IS(1, SHUT_RD)), WHY("the guest reads no more of a stream") },
	{ CALL(shutdown), LOOP, WITH(IS(1, SHUT_WR)), WHY("the guest has said all to a stream") },
	{ CALL(fcntl), LOOP, WITH(IS(1, F_GETFL)), WHY("is a stream for reading or writing?") },
	{ CALL(fcntl), LOOP, WITH(IS(1, F_SETFL)), WHY("a stream does not block") },
	{ CALL(newfstatat), LOOP, WITH(IS(3, AT_EMPTY_PATH_FSTAT)), WHY("is a stream a socket?") },
	{ CALL(close), LOOP, WHY("a stream ended") },
	{ CALL(pwrite64), LOOP, WHY("the last word, into the end file") },
	{ CALL(getrandom), LOOP, WITH(IS(2, 0)), WHY("the guest's entropy device") },

	/* ---- disks */
	{ CALL(preadv), BLOCK, WHY("the guest reads") },
	{ CALL(pwritev), BLOCK, WHY("the guest writes") },
	{ CALL(fdatasync), BLOCK | LOOP, WHY("the guest flushes; the VM ends") },
	{ CALL(fallocate), BLOCK, WITH(IS(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)),
		WHY("the guest discards") },
	{ CALL(fallocate), BLOCK, WITH(IS(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE)),
		WHY("the guest writes zeroes") },

	/* ---- memory, threads and their ends */
	{ CALL(brk), LOOP, WHY("malloc: streams and what waits for them") },
	{ CALL(mmap), LOOP, WITH(BITS(2, READ_WRITE_ONLY, 0), IS(3, PRIVATE_MEMORY)),
		WHY("malloc: 64 KiB and more wait for a slow stream") },
	{ CALL(munmap), LOOP, WHY("malloc, stacks of threads that ended, the guest's memory") },
	{ CALL(madvise), VCPU | BLOCK, WITH(IS(2, MADV_DONTNEED)),
		WHY("the end of a thread: its stack") },
	{ CALL(exit), VCPU | BLOCK, WHY("the end of a thread") },
	{ CALL(exit_group), LOOP, WHY("the end") },
	{ CALL(mmap), SETUP, WITH(BITS(2, READ_WRITE_ONLY, 0), IS(3, THREAD_STACK)),
		WHY("stacks of threads") },
	{ CALL(mmap), SETUP, WITH(BITS(2, READ_WRITE_ONLY, 0), IS(3, GUEST_MEMORY)),
		WHY("the guest's memory") },
	{ CALL(mmap), SETUP, WITH(BITS(2, READ_WRITE_ONLY, 0), IS(3, MAP_SHARED)), WHY("kvm_run") },
	{ CALL(mprotect), SETUP, WITH(IS(2, PROT_READ | PROT_WRITE)),
		WHY("stacks of threads, above their guard page") },
	{ CALL(madvise), SETUP, WITH(IS(2, MADV_DONTDUMP)),
		WHY("the guest's memory is in no core") },
	{ CALL(madvise), SETUP, WITH(IS(2, MADV_HUGEPAGE)),
		WHY("the guest's memory, fewer faults") },
	{ CALL(clone), SETUP, WITH(IS(0, NEW_THREAD)), WHY("pthread_create") },
	{ CALL(clone3), SETUP, .answer = ENOSYS, WHY("pthread_create is to take clone"),
		.rare = "a call that is answered so is not counted, but clone is" },
	{ CALL(set_robust_list), SETUP, WHY("a thread's start") },
	{ CALL(rseq), SETUP, WHY("a thread's start") },
	{ CALL(prctl), SETUP, WITH(IS(0, PR_SET_NAME)), WHY("a thread's name") },
	{ CALL(seccomp), SETUP, WITH(IS(0, SECCOMP_SET_MODE_FILTER), IS(1, 0)),
		WHY("a thread's own filter") },
	{ CALL(rt_sigaction), SETUP, WITH(IS(0, KICK)), WHY("the kick's handler") },
	{ CALL(rt_sigaction), SETUP, WITH(IS(0, GLIBC_SETXID)), WHY("the first pthread_create") },

	/* ---- what is made once */
	{ CALL(pread64), SETUP, WHY("kernel and initramfs") },
	{ CALL(lseek), SETUP, WITH(IS(2, SEEK_DATA)),
		WHY("holes of the kernel's file are skipped") },
	{ CALL(lseek), SETUP, WITH(IS(2, SEEK_HOLE)),
		WHY("holes of the kernel's file are skipped") },
	{ CALL(eventfd2), SETUP, WITH(IS(1, EFD_CLOEXEC | EFD_NONBLOCK)), WHY("kicks and wakes") },
	{ CALL(epoll_create1), SETUP, WITH(IS(0, EPOLL_CLOEXEC)), WHY("a block thread's") },
	{ CALL(timerfd_create), SETUP,
		WITH(IS(0, CLOCK_MONOTONIC), IS(1, TFD_CLOEXEC | TFD_NONBLOCK)),
		WHY("deadlines of connections") },
	{ CALL(signalfd4), SETUP, WITH(IS(3, SFD_CLOEXEC | SFD_NONBLOCK)), WHY("SIGTERM") },
	{ CALL(getsockopt), SETUP, WITH(IS(1, SOL_SOCKET)), WHY("is the listener one?") },
	{ CALL(prlimit64), SETUP, WITH(IS(1, RLIMIT_NOFILE), IS(2, 0)),
		WHY("how many streams may there be?") },
};

const size_t seccomp_rule_count = sizeof(seccomp_rules) / sizeof(seccomp_rules[0]);
