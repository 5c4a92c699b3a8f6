/*
 * The smallest init: says that it was reached, stays for a moment, and ends
 * the machine as the kernel's command line asks with "end=reboot" or, by
 * default, by power-off. No C library: nothing but the kernel is measured.
 */
#include <stddef.h>

#include <linux/reboot.h>
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

static void say(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	(void)call(SYS_write, 1, (long)s, (long)n, 0);
}

/* The kernel hands unknown NAME=VALUE words of its command line to init's environment. */
__attribute__((used)) void init_main(long *stack)
{
	char **env = (char **)(stack + 1 + stack[0] + 1);
	long command = LINUX_REBOOT_CMD_POWER_OFF;
	long seconds[2] = { 1, 0 };

	say("mark: init\n");
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
