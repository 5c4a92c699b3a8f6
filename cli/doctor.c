#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <linux/kvm.h>

#include <base/cleanup.h>
#include <base/units.h>
#include <wire/api_proto.h>

#include "call.h"
#include "print.h"
#include "verbs.h"

enum grade { OK, WARNING, ERROR };

struct report {
	enum cli_format format;
	bool bad;
};

static void say(
	struct report *rep, enum grade g, const char *what, const char *found, const char *mend)
{
	static const char *const words[] = {
		[OK] = "ok", [WARNING] = "warning", [ERROR] = "error"
	};

	if (g == ERROR)
		rep->bad = true;
	if (rep->format == FORMAT_JSON) {
		json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "check", what, "grade", words[g],
			"found", found, "mend", mend);

		cli_print_json(o);
		json_decref(o);
		return;
	}
	(void)printf("%-8s %-14s %s\n", words[g], what, found);
	if (*mend)
		(void)printf("%-8s %-14s -> %s\n", "", "", mend);
}

/* Which of vmx and svm the processor names; "" for neither. */
static const char *hardware_virtualisation(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/cpuinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		if (strstr(line, " vmx"))
			return "VMX";
		if (strstr(line, " svm"))
			return "SVM";
		return "";
	}
	return "";
}

static void check_kvm(struct report *rep)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
		{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
		{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
		{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	};
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	const char *hw = hardware_virtualisation();
	char text[160];

	if (fd < 0 && (errno == EACCES || errno == EPERM)) {
		say(rep, ERROR, "/dev/kvm", "no permission",
			"add yourself to the group kvm (`adduser USER kvm`, then log in again)");
		return;
	}
	if (fd < 0) {
		say(rep, ERROR, "/dev/kvm", strerror(errno),
			"load kvm-intel or kvm-amd, and switch on virtualisation in the firmware; "
			"inside a VM: let its host pass nested virtualisation on");
		return;
	}
	(void)snprintf(text, sizeof(text), "KVM API version %d", ioctl(fd, KVM_GET_API_VERSION, 0));
	say(rep, OK, "/dev/kvm", text, "");
	for (size_t i = 0; i < array_size(needed); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			say(rep, ERROR, "KVM", needed[i].name, "not there: use a newer kernel");
	}
	if (*hw) {
		(void)snprintf(text, sizeof(text), "hardware virtualisation (%s)", hw);
		say(rep, OK, "kind of KVM", text, "");
	} else {
		say(rep, WARNING, "kind of KVM",
			"no hardware virtualisation behind it (neither vmx nor svm in /proc/cpuinfo)",
			"Linux guests will not boot here: use a machine with VMX or SVM, or "
			"tests/support/emulated-host of the source tree to try kosvm");
	}
}

static bool in_path(const char *program)
{
	static const char *const dirs[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin" };

	for (size_t i = 0; i < array_size(dirs); i++) {
		char path[256];

		(void)snprintf(path, sizeof(path), "%s/%s", dirs[i], program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static void check_programs(struct report *rep)
{
	static const struct {
		const char *program;
		const char *mend;
	} programs[] = {
		{ "mkfs.erofs", "apt-get install erofs-utils (makes root filesystems)" },
		{ "mkfs.ext4", "apt-get install e2fsprogs (makes state disks)" },
		{ "tar", "apt-get install tar (imports root filesystems from archives)" },
	};

	for (size_t i = 0; i < array_size(programs); i++) {
		bool there = in_path(programs[i].program);

		say(rep, there ? OK : ERROR, programs[i].program, there ? "found" : "not found",
			there ? "" : programs[i].mend);
	}
}

static void check_space(struct report *rep, const char *dir)
{
	struct statvfs vfs;
	char text[600];
	char free_text[16];
	uint64_t bytes;

	if (statvfs(dir, &vfs) < 0)
		return;
	bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	units_format_size(bytes, free_text, sizeof(free_text));
	(void)snprintf(text, sizeof(text), "%s, %s free", dir, free_text);
	say(rep, bytes < (1ULL << 30) ? WARNING : OK, "state", text,
		bytes < (1ULL << 30) ? "make room, or set KOSVM_STATE to another disk" : "");
}

static void check_keys(struct report *rep)
{
	struct kerr err = { 0 };
	json_t *o = NULL;
	char text[40];
	size_t n;

	if (call_kosvmd(CALL_SHORT, "GET", url_new("/v1/keys"), NULL, &o, &err) < 0) {
		say(rep, ERROR, "keys", err.msg, "");
		return;
	}
	n = json_array_size(json_object_get(o, "keys"));
	(void)snprintf(text, sizeof(text), "%zu trusted", n);
	say(rep, n ? OK : WARNING, "keys", text,
		n ? "" : "`kosvm key gen NAME`, then `kosvm key trust NAME.pub`");
	json_decref(o);
}

/* What its VMs are not kept in: with an error, agents do not start at all. */
static void check_isolation(struct report *rep, const json_t *list)
{
	const json_t *p;
	char text[600];
	bool whole = true;
	size_t i;

	json_array_foreach(list, i, p)
	{
		bool needed = json_is_true(json_object_get(p, "required"));

		if (json_is_true(json_object_get(p, "active")))
			continue;
		whole = false;
		(void)snprintf(text, sizeof(text), "VMs %s without %s: %s",
			needed ? "do not start" : "run", cli_text(p, "name"), cli_text(p, "why"));
		say(rep, needed ? ERROR : WARNING, "isolation", text,
			"[isolation] of kosvm-sandbox(5) says what is asked for");
	}
	if (whole && json_array_size(list) > 0)
		say(rep, OK, "isolation", "each VM is kept in all of its jail", "");
}

/* What an agent takes of the host beside what its VMM bounds by itself. */
static void check_quotas(struct report *rep, const json_t *list)
{
	const json_t *q;
	char text[600];
	bool whole = true;
	size_t i;

	json_array_foreach(list, i, q)
	{
		if (json_is_true(json_object_get(q, "active")))
			continue;
		whole = false;
		(void)snprintf(
			text, sizeof(text), "no %s: %s", cli_text(q, "by"), cli_text(q, "why"));
		say(rep, WARNING, "quotas", text,
			strcmp(cli_text(q, "name"), "io") == 0
				? ""
				: "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)");
	}
	if (whole && json_array_size(list) > 0)
		say(rep, OK, "quotas", "processors, memory, threads and disk of agents are bounded",
			"");
}

static void check_kosvmd(struct report *rep)
{
	struct kerr err = { 0 };
	json_t *o = NULL;
	char text[600];

	if (call_kosvmd(CALL_SHORT, "GET", url_new("/v1/info"), NULL, &o, &err) < 0) {
		say(rep, ERROR, "kosvmd", err.msg, "run `kosvmd` in a terminal to see why");
		return;
	}
	(void)snprintf(text, sizeof(text), "%s, pid %llu, %llu agents, %llu running",
		cli_text(o, "version"), (unsigned long long)cli_u64(o, "pid"),
		(unsigned long long)cli_u64(o, "agents"),
		(unsigned long long)cli_u64(o, "running"));
	say(rep, OK, "kosvmd", text, "");
	say(rep, OK, "VMM", cli_text(o, "vmm"), "");
	check_space(rep, cli_text(o, "state_dir"));
	check_keys(rep);
	check_isolation(rep, json_object_get(o, "isolation"));
	check_quotas(rep, json_object_get(o, "quotas"));
	if (json_is_true(json_object_get(o, "panic")))
		say(rep, WARNING, "panic", "the kill switch is on: agents do not start",
			"`kosvm info` says why, `kosvm unpanic` ends it");
	json_decref(o);
}

static int doctor(const struct cmd *c, int argc, char **argv)
{
	struct report rep = { 0 };
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (cli_format_parse(optarg, &rep.format) < 0)
			return cli_usage(c, "--format %s: expected table or json", optarg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (optind < argc)
		return cli_usage(c, "unexpected argument %s", argv[optind]);
	check_kvm(&rep);
	check_programs(&rep);
	check_kosvmd(&rep);
	return rep.bad ? CLI_FAILED : 0;
}

const struct cmd cmd_doctor = {
	.name = "doctor",
	.args = "[--format table|json]",
	.summary = "say what this host lacks and how to mend it",
	.more = "Each line is one thing kosvm needs: ok, a warning, or an error with the way to\n"
		"mend it. The exit code is 1 when there is an error.\n",
	.opts = (const struct opt[]){ { "format", OPT_LONG, "F",
					      "table (default) or json (one object a line)" },
		{ 0 } },
	.fn = doctor,
};
