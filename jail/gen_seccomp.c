/*
 * gen_seccomp HEADER LIST: the rules of seccomp_rules.c as classic BPF, for
 * kosvm-vmm, and as a list for people and tests. Runs when kosvm is built.
 */
#include "seccomp_rules.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/filter.h>
#include <seccomp.h>

#define MOST_INSTRUCTIONS 2048
/* "a lock" is a reason, a word is none. */
#define SHORTEST_REASON 6

static const struct kind {
	const char *name;
	unsigned bit;    /* enum seccomp_threads */
	const char *hot; /* judged first */
} kinds[] = {
	{ "setup", SECCOMP_FOR_SETUP, "ioctl" },
	{ "vcpu", SECCOMP_FOR_VCPU, "ioctl" },
	{ "loop", SECCOMP_FOR_LOOP, "epoll_wait" },
	{ "block", SECCOMP_FOR_BLOCK, "epoll_wait" },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Filters are stacked: what a thread's own allows, the one of set-up has to allow. */
static bool is_for(const struct seccomp_rule *r, const struct kind *k)
{
	return k->bit == SECCOMP_FOR_SETUP || (r->threads & k->bit);
}

static bool check_rules(void)
{
	bool good = true;

	for (size_t i = 0; i < seccomp_rule_count; i++) {
		const struct seccomp_rule *r = &seccomp_rules[i];
		const char *wrong = NULL;

		if (!r->reason || strlen(r->reason) < SHORTEST_REASON)
			wrong = "no reason: say who asks for it, and what for";
		else if (r->threads != SECCOMP_FOR_SETUP && (r->threads & SECCOMP_FOR_SETUP))
			wrong = "set-up stands beside other threads: it has their calls anyway";
		else if (!r->threads || (r->threads & ~(SECCOMP_FOR_SETUP | SECCOMP_FOR_ALL)))
			wrong = "for no thread";
		if (!wrong)
			continue;
		(void)fprintf(stderr, "seccomp_rules.c: rule %zu, %s (%s): %s\n", i, r->name,
			r->check_text ? r->check_text : "any arguments", wrong);
		good = false;
	}
	return good;
}

static int add_rule(scmp_filter_ctx ctx, const struct seccomp_rule *r)
{
	uint32_t action = r->answer ? SCMP_ACT_ERRNO((uint32_t)r->answer) : SCMP_ACT_ALLOW;
	struct scmp_arg_cmp checks[SECCOMP_RULE_CHECKS];

	for (unsigned i = 0; i < r->check_count; i++) {
		const struct seccomp_check *c = &r->checks[i];

		checks[i] = c->mask == ~UINT64_C(0)
			? SCMP_CMP64(c->arg, SCMP_CMP_EQ, c->value)
			: SCMP_CMP64(c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->value);
	}
	return seccomp_rule_add_exact_array(ctx, action, r->call, r->check_count, checks);
}

static int add_rules(scmp_filter_ctx ctx, const struct kind *k)
{
	for (size_t i = 0; i < seccomp_rule_count; i++) {
		const struct seccomp_rule *r = &seccomp_rules[i];
		int err;

		if (!is_for(r, k))
			continue;
		err = add_rule(ctx, r);
		/* Of two rules for all arguments and for some, one was enough. */
		if (err < 0) {
			(void)fprintf(stderr, "seccomp_rules.c: %s: %s (%s): %s\n", k->name,
				r->name, r->check_text ? r->check_text : "any arguments",
				strerror(-err));
			return err;
		}
		if (strcmp(r->name, k->hot) == 0)
			(void)seccomp_syscall_priority(ctx, r->call, 255);
	}
	return 0;
}

/* The number of instructions, or -1. */
static int compile(const struct kind *k, struct sock_filter prog[static MOST_INSTRUCTIONS])
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	FILE *tmp = tmpfile();
	long len = -1;
	int r = ctx && tmp ? 0 : -1;

	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0 && seccomp_arch_native() != SCMP_ARCH_X86_64)
		r = -1;
	if (r == 0)
		r = add_rules(ctx, k);
	if (r == 0)
		r = seccomp_export_bpf(ctx, fileno(tmp));
	if (r == 0 && fseek(tmp, 0, SEEK_SET) == 0)
		len = (long)fread(prog, sizeof(prog[0]), MOST_INSTRUCTIONS, tmp);
	if (tmp)
		(void)fclose(tmp);
	if (ctx)
		seccomp_release(ctx);
	if (len <= 0 || len >= MOST_INSTRUCTIONS) {
		(void)fprintf(stderr, "gen_seccomp: the filter %s cannot be made\n", k->name);
		return -1;
	}
	return (int)len;
}

static void write_filter(FILE *f, const struct kind *k, const struct sock_filter *prog, int len)
{
	(void)fprintf(f, "static const struct sock_filter seccomp_%s[] = {\n", k->name);
	for (int i = 0; i < len; i++)
		(void)fprintf(f, "\t{ 0x%02x, %u, %u, 0x%08x },\n", prog[i].code, prog[i].jt,
			prog[i].jf, prog[i].k);
	(void)fprintf(f, "};\n\n");
}

static int write_header(FILE *f)
{
	static struct sock_filter prog[MOST_INSTRUCTIONS];
	int longest = 0;

	(void)fprintf(f,
		"/* Made by gen_seccomp from seccomp_rules.c. */\n#pragma once\n\n"
		"#include <linux/filter.h>\n\n");
	for (size_t i = 0; i < KINDS; i++) {
		int len = compile(&kinds[i], prog);

		if (len < 0)
			return -1;
		if (len > longest)
			longest = len;
		write_filter(f, &kinds[i], prog, len);
	}
	(void)fprintf(f, "#define SECCOMP_LONGEST %d\n", longest);
	return 0;
}

/* For programs: ARG:MASK:VALUE of each. */
static void write_checks(FILE *f, const struct seccomp_rule *r)
{
	if (r->check_count == 0)
		(void)fputc('-', f);
	for (unsigned i = 0; i < r->check_count; i++) {
		const struct seccomp_check *c = &r->checks[i];

		(void)fprintf(f, "%s%u:0x%llx:0x%llx", i ? "," : "", c->arg,
			(unsigned long long)c->mask, (unsigned long long)c->value);
	}
}

/* One rule a line: threads, call, its number, arguments twice, what comes to it, reason. */
static void write_list(FILE *f)
{
	for (size_t k = 0; k < KINDS; k++) {
		for (size_t i = 0; i < seccomp_rule_count; i++) {
			const struct seccomp_rule *r = &seccomp_rules[i];

			if (!is_for(r, &kinds[k]))
				continue;
			(void)fprintf(f, "%s\t%s\t%d\t%s\t", kinds[k].name, r->name, r->call,
				r->check_text ? r->check_text : "-");
			write_checks(f, r);
			(void)fprintf(f, "\t%s\t%s\n", r->rare ? r->rare : "-", r->reason);
		}
	}
}

static FILE *create(const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		perror(path);
	return f;
}

int main(int argc, char **argv)
{
	FILE *header;
	FILE *list;
	int r;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: gen_seccomp HEADER LIST\n");
		return 2;
	}
	if (!check_rules())
		return 1;
	header = create(argv[1]);
	list = create(argv[2]);
	if (!header || !list)
		return 1;
	r = write_header(header);
	write_list(list);
	if (fclose(header) != 0 || fclose(list) != 0)
		r = -1;
	if (r < 0)
		(void)unlink(argv[1]);
	return r < 0 ? 1 : 0;
}
