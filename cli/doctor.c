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

#include "cli.h"

static const char help[] =
	"Each line is one thing kosvm needs: ok, a warning, or an error with the way to\n"
	"mend it. The exit code is 1 when there is an error.\n\n"
	"      --format F   table (default) or json (one object a line)\n";

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

static void count(void *user, const json_t *o)
{
	(void)o;
	++*(int *)user;
}

static void check_kosvmd(struct report *rep)
{
	struct call call = CALL_INIT;
	struct kerr err = { 0 };
	struct statvfs vfs;
	char text[600];
	char free_text[16];
	int keys = 0;

	if (call_kosvmd("info", json_object(), NULL, 0, NULL, NULL, &call, &err) < 0) {
		say(rep, ERROR, "kosvmd", err.msg, "run `kosvmd` in a terminal to see why");
		return;
	}
	(void)snprintf(text, sizeof(text), "%s, pid %lld, %lld agents, %lld running",
		cli_text(call.ok, "version"),
		(long long)json_integer_value(json_object_get(call.ok, "pid")),
		(long long)json_integer_value(json_object_get(call.ok, "agents")),
		(long long)json_integer_value(json_object_get(call.ok, "running")));
	say(rep, OK, "kosvmd", text, "");
	say(rep, OK, "VMM", cli_text(call.ok, "vmm"), "");
	if (statvfs(cli_text(call.ok, "state_dir"), &vfs) == 0) {
		uint64_t bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;

		units_format_size(bytes, free_text, sizeof(free_text));
		(void)snprintf(text, sizeof(text), "%s, %s free", cli_text(call.ok, "state_dir"),
			free_text);
		say(rep, bytes < (1ULL << 30) ? WARNING : OK, "state", text,
			bytes < (1ULL << 30) ? "make room, or set KOSVM_STATE to another disk"
					     : "");
	}
	call_done(&call);
	if (call_kosvmd("key-ls", json_object(), NULL, 0, count, &keys, &call, &err) == 0) {
		(void)snprintf(text, sizeof(text), "%d trusted", keys);
		say(rep, keys ? OK : WARNING, "keys", text,
			keys ? "" : "`kosvm key gen NAME`, then `kosvm key trust NAME.pub`");
	} else {
		say(rep, ERROR, "keys", err.msg, "");
	}
	call_done(&call);
}

int cmd_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'F' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct report rep = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return cli_help("doctor", help);
		if (c != 'F')
			return cli_usage("doctor", "see above");
		if (cli_format_parse(optarg, &rep.format) < 0)
			return cli_usage("doctor", "--format %s: expected table or json", optarg);
	}
	if (optind < argc)
		return cli_usage("doctor", "unexpected argument %s", argv[optind]);
	check_kvm(&rep);
	check_programs(&rep);
	check_kosvmd(&rep);
	return rep.bad ? CLI_FAILED : 0;
}
