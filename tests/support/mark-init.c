/*
 * The smallest init: says that it was reached and what it found, stays for
 * a moment, and ends the machine as the kernel's command line asks with
 * "end=reboot" or, by default, by power-off. "stay=no" leaves out the
 * moment. No C library: nothing but the kernel is measured.
 */
#include <stddef.h>

#include <linux/reboot.h>
#include <linux/sysinfo.h>
#include <sys/syscall.h>

static long call(long n, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}

static int starts_with(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return 0;
	return 1;
}

static char *append(char *to, const char *s)
{
	while (*s)
		*to++ = *s++;
	return to;
}

static char *append_number(char *to, unsigned long n)
{
	if (n >= 10)
		to = append_number(to, n / 10);
	*to++ = (char)('0' + n % 10);
	return to;
}

/* "mark: init, 2 processors, 117 MiB", in one write. */
static void report(void)
{
	char line[80], *end = append(line, "mark: init, ");
	unsigned long mask[16];
	struct sysinfo info;
	unsigned long processors = 0;
	long bytes = call(SYS_sched_getaffinity, 0, sizeof(mask), (long)mask, 0);

	for (long i = 0; i < bytes / (long)sizeof(mask[0]); i++)
		for (; mask[i]; mask[i] &= mask[i] - 1)
			processors++;
	(void)call(SYS_sysinfo, (long)&info, 0, 0, 0);
	end = append_number(end, processors);
	end = append(end, " processors, ");
	end = append_number(end, info.totalram * info.mem_unit >> 20);
	end = append(end, " MiB\n");
	(void)call(SYS_write, 1, (long)line, end - line, 0);
}

void init_main(long *stack);

/* The kernel hands unknown NAME=VALUE words of its command line to init's environment. */
__attribute__((used)) void init_main(long *stack)
{
	char **env = (char **)(stack + 1 + stack[0] + 1);
	long command = LINUX_REBOOT_CMD_POWER_OFF;
	long seconds[2] = { 1, 0 };

	report();
	for (; *env; env++) {
		if (starts_with(*env, "end=reboot"))
			command = LINUX_REBOOT_CMD_RESTART;
		if (starts_with(*env, "stay=no"))
			seconds[0] = 0;
	}
	(void)call(SYS_nanosleep, (long)seconds, 0, 0, 0);
	(void)call(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command, 0);
	for (;;)
		(void)call(SYS_pause, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall init_main\n");
