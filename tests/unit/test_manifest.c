#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <manifests/manifest.h>

#define D0 "blake2b:0000000000000000000000000000000000000000000000000000000000000000"
#define D1 "blake2b:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "blake2b:00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100"

/* Lines 1 to 10; what a test appends begins at line 11, in section [run]. */
#define BASE                                                                                       \
	"# a manifest\n[agent]\nname = echo-mint\n[image]\nkernel = " D0 "\ninitramfs = " D1       \
	"\nrootfs = " D2 "\n\n[run]\ncommand = /usr/bin/python3 /opt/agent.py\n"

static struct manifest m;
static struct kerr e;

static int parse(const char *text)
{
	m = (struct manifest){ 0 };
	e = (struct kerr){ 0 };
	return manifest_parse("echo-mint.ini", text, strlen(text), &m, &e);
}

static void check_refused(const char *text, const char *message)
{
	static const struct manifest untouched;

	ck_assert_msg(parse(text) < 0, "taken, expected: %s", message);
	ck_assert_str_eq(e.msg, message);
	ck_assert_mem_eq(&m, &untouched, sizeof(m));
}

START_TEST(defaults)
{
	ck_assert_msg(parse(BASE) == 0, "%s", e.msg);
	ck_assert_str_eq(m.name, "echo-mint");
	ck_assert_uint_eq(m.version, 1);
	ck_assert_uint_eq(m.kernel.bytes[31], 0);
	ck_assert_uint_eq(m.initramfs.bytes[0], 0x11);
	ck_assert_uint_eq(m.rootfs.bytes[16], 0xff);
	ck_assert_uint_eq(m.vcpus, 1);
	ck_assert_uint_eq(m.memory, 128ULL << 20);
	ck_assert_uint_eq(m.state, 0);
	ck_assert_str_eq(m.argv[0], "/usr/bin/python3");
	ck_assert_str_eq(m.argv[1], "/opt/agent.py");
	ck_assert_ptr_null(m.argv[2]);
	ck_assert_ptr_null(m.env[0]);
	ck_assert_str_eq(m.user, "1000:1000");
	ck_assert_str_eq(m.workdir, "/");
	ck_assert_uint_eq(m.start_timeout_ns, 60 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.stop_timeout_ns, 10 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.console_max, 1ULL << 20);
	ck_assert_uint_eq(m.log_max, 16ULL << 20);
	ck_assert_int_eq(m.restart, MANIFEST_RESTART_NEVER);
	ck_assert_uint_eq(m.restart_max, 10);
	ck_assert_uint_eq(m.restart_backoff_ns, CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.restart_backoff_max_ns, 300 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.restart_reset_ns, 600 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.heartbeat_ns, 10 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.heartbeat_timeout_ns, 60 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.max_run_time_ns, 0);
	ck_assert_uint_eq(m.idle_after_ns, 0);
	ck_assert_int_eq(m.idle_action, MANIFEST_IDLE_SLEEP);
	ck_assert_ptr_null(m.labels[0]);
	manifest_done(&m);
	manifest_done(&m);
	manifest_done(NULL);
}
END_TEST

START_TEST(every_key)
{
	ck_assert_msg(
		parse("[agent]\r\n  name=a1-b\r\nversion = 4294967295\r\n"
		      "[image]\nkernel\t=\t" D0 "  \ninitramfs = " D1 "\nrootfs = " D2 "\n"
		      "[resources]\n; another comment\nvcpus = 32\nmemory = 64G\nstate = 16T\n"
		      "[env]\nLANG = C.UTF-8\n_X9 = a = b ; c # d\nEMPTY =\nGRUSS = grüß\n"
		      "[run]\ncommand = /bin/sh -c 'echo \"$HOME\" ; exec true'\n"
		      "user = www-data\nworkdir = /state/a b\nstart-timeout = 1h\n"
		      "stop-timeout = 1000ms\nconsole = 4K\nlog = 16G") == 0,
		"%s", e.msg);
	ck_assert_str_eq(m.name, "a1-b");
	ck_assert_uint_eq(m.version, UINT32_MAX);
	ck_assert_uint_eq(m.vcpus, 32);
	ck_assert_uint_eq(m.memory, 64ULL << 30);
	ck_assert_uint_eq(m.state, 16ULL << 40);
	ck_assert_str_eq(m.env[0], "LANG=C.UTF-8");
	ck_assert_str_eq(m.env[1], "_X9=a = b ; c # d");
	ck_assert_str_eq(m.env[2], "EMPTY=");
	ck_assert_str_eq(m.env[3], "GRUSS=grüß");
	ck_assert_ptr_null(m.env[4]);
	ck_assert_str_eq(m.argv[2], "echo \"$HOME\" ; exec true");
	ck_assert_ptr_null(m.argv[3]);
	ck_assert_str_eq(m.user, "www-data");
	ck_assert_str_eq(m.workdir, "/state/a b");
	ck_assert_uint_eq(m.start_timeout_ns, 3600 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.stop_timeout_ns, CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.console_max, 4096);
	ck_assert_uint_eq(m.log_max, 16ULL << 30);
	manifest_done(&m);
}
END_TEST

START_TEST(lifecycle_and_labels)
{
	ck_assert_msg(parse(BASE "[lifecycle]\nrestart = on-failure\nrestart-max = 0\n"
				 "restart-backoff = 100ms\nrestart-backoff-max = 100ms\n"
				 "restart-reset = 30d\nheartbeat = 0\nheartbeat-timeout = 200ms\n"
				 "max-run-time = 3650d\nidle-after = 1s\nidle-action = stop\n"
				 "[labels]\nteam = red = blue\nexample.org/a_b-c =\n0 = 0\n") == 0,
		"%s", e.msg);
	ck_assert_int_eq(m.restart, MANIFEST_RESTART_ON_FAILURE);
	ck_assert_uint_eq(m.restart_max, 0);
	ck_assert_uint_eq(m.restart_backoff_ns, 100 * CLOCK_NS_PER_MS);
	ck_assert_uint_eq(m.restart_backoff_max_ns, 100 * CLOCK_NS_PER_MS);
	ck_assert_uint_eq(m.restart_reset_ns, 30 * 86400 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.heartbeat_ns, 0);
	ck_assert_uint_eq(m.heartbeat_timeout_ns, 200 * CLOCK_NS_PER_MS);
	ck_assert_uint_eq(m.max_run_time_ns, 3650 * 86400 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(m.idle_after_ns, CLOCK_NS_PER_S);
	ck_assert_int_eq(m.idle_action, MANIFEST_IDLE_STOP);
	ck_assert_str_eq(m.labels[0], "team=red = blue");
	ck_assert_str_eq(m.labels[1], "example.org/a_b-c=");
	ck_assert_str_eq(m.labels[2], "0=0");
	ck_assert_ptr_null(m.labels[3]);
	manifest_done(&m);
	ck_assert_int_eq(parse(BASE "[lifecycle]\nrestart = always\nidle-action = none\n"), 0);
	ck_assert_int_eq(m.restart, MANIFEST_RESTART_ALWAYS);
	ck_assert_int_eq(m.idle_action, MANIFEST_IDLE_NONE);
	manifest_done(&m);
}
END_TEST

START_TEST(traffic)
{
	ck_assert_int_eq(parse(BASE), 0);
	ck_assert(!m.disk_rate.bytes && !m.disk_rate.ops && !m.disk_rate.burst);
	ck_assert(!m.vsock_rate.bytes && !m.vsock_rate.ops && !m.vsock_rate.burst);
	ck_assert_uint_eq(m.disk_bandwidth_line, 0);
	manifest_done(&m);
	ck_assert_int_eq(parse(BASE "[resources]\ndisk-bandwidth = 20M\ndisk-ops = 500\n"
				    "disk-burst = 0\nvsock-bandwidth = 4K\nvsock-burst = 1T\n"),
		0);
	ck_assert_uint_eq(m.disk_rate.bytes, 20 << 20);
	ck_assert_uint_eq(m.disk_rate.ops, 500);
	ck_assert_uint_eq(m.disk_rate.burst, 0);
	ck_assert_uint_eq(m.vsock_rate.bytes, 4096);
	ck_assert_uint_eq(m.vsock_rate.burst, 1ULL << 40);
	ck_assert_uint_eq(m.disk_ops_line, m.disk_bandwidth_line + 1);
	ck_assert_uint_eq(m.vsock_bandwidth_line, m.disk_bandwidth_line + 3);
}
END_TEST

START_TEST(state_disk_is_the_workdir)
{
	ck_assert_int_eq(parse(BASE "[resources]\nstate = 8M\n"), 0);
	ck_assert_str_eq(m.workdir, "/state");
	manifest_done(&m);
}
END_TEST

/* What follows BASE, and the error without "echo-mint.ini:". */
static const struct {
	const char *text, *message;
} mistakes[] = {
	/* values */
	{ "[resources]\n\n\nmemory = 12X\n", "14: memory = 12X: expected a size such as 128M" },
	{ "[resources]\nmemory = 63M\n", "12: memory = 63M: expected 64M to 64G in steps of 1M" },
	{ "[resources]\nmemory = 65G\n", "12: memory = 65G: expected 64M to 64G in steps of 1M" },
	{ "[resources]\nmemory = 67108865\n",
		"12: memory = 67108865: expected 64M to 64G in steps of 1M" },
	{ "[resources]\nmemory = 99999999999999999999\n",
		"12: memory = 99999999999999999999: expected 64M to 64G in steps of 1M" },
	{ "[resources]\nmemory = 0\n", "12: memory = 0: expected 64M to 64G in steps of 1M" },
	{ "[resources]\nmemory =\n", "12: memory = : expected a size such as 128M" },
	{ "[resources]\nmemory = -1\n", "12: memory = -1: expected a size such as 128M" },
	{ "[resources]\nmemory = 128M ; much\n",
		"12: memory = 128M ; much: expected a size such as 128M" },
	{ "[resources]\nstate = 8193K\n",
		"12: state = 8193K: expected 0, or 8M to 16T in steps of 4K" },
	{ "[resources]\nstate = 4M\n", "12: state = 4M: expected 0, or 8M to 16T in steps of 4K" },
	{ "[resources]\nstate = 17T\n",
		"12: state = 17T: expected 0, or 8M to 16T in steps of 4K" },
	{ "[resources]\ndisk-bandwidth = 4095\n",
		"12: disk-bandwidth = 4095: expected 0 for no limit, or 4K to 1T" },
	{ "[resources]\nvsock-burst = 2T\n",
		"12: vsock-burst = 2T: expected 0 for no limit, or 4K to 1T" },
	{ "[resources]\ndisk-ops = 1K\n",
		"12: disk-ops = 1K: expected a whole number such as 500" },
	{ "[resources]\nstate = no\n",
		"12: state = no: expected a size such as 16M, or 0 for no state disk" },
	{ "[resources]\nvcpus = 0\n", "12: vcpus = 0: expected 1 to 32" },
	{ "[resources]\nvcpus = 33\n", "12: vcpus = 33: expected 1 to 32" },
	{ "[resources]\nvcpus = 4294967297\n", "12: vcpus = 4294967297: expected 1 to 32" },
	{ "[resources]\nvcpus = two\n", "12: vcpus = two: expected a whole number such as 2" },
	{ "user = root\n",
		"11: user = root: expected an ordinary user of the guest: a uid such as "
		"1000, uid:gid, or a name; never root" },
	{ "stop-timeout = 999ms\n", "11: stop-timeout = 999ms: expected 1s to 1h" },
	{ "stop-timeout = 10\n", "11: stop-timeout = 10: expected a duration such as 10s" },
	{ "start-timeout = 2h\n", "11: start-timeout = 2h: expected 1s to 1h" },
	{ "console = 65M\n", "11: console = 65M: expected 4K to 64M" },
	{ "log = 1\n", "11: log = 1: expected 4K to 16G" },
	{ "workdir = opt\n",
		"11: workdir = opt: expected an absolute path of at most 255 bytes without . and .. "
		"in it" },
	{ "workdir = /a/../b\n",
		"11: workdir = /a/../b: expected an absolute path of at most 255 bytes without . and "
		".. in it" },
	{ "workdir = /state/x\n",
		"11: workdir = /state/x: expected a path outside /state, or a state disk: state = "
		"16M in [resources]" },
	/* keys and sections */
	{ "[resources]\nmemroy = 1G\n",
		"12: memroy: unknown key in [resources]: did you mean memory?" },
	{ "timeout = 1s\n", "11: timeout: unknown key in [run]" },
	{ "start_timeout = 1s\n",
		"11: start_timeout: unknown key in [run]: did you mean start-timeout?" },
	{ "memory = 1G\n", "11: memory: expected in section [resources], not in [run]" },
	{ "vcpu = 1\n", "11: vcpu: unknown key in [run]: did you mean vcpus in [resources]?" },
	{ "Command = /x\n", "11: Command: unknown key in [run]: did you mean command?" },
	{ "zzz = 1\n", "11: zzz: unknown key in [run]" },
	{ "command = /bin/x\n",
		"11: command = /bin/x: given already at line 10: expected it once" },
	{ "[image]\n", "11: [image] is given already at line 4: expected it once" },
	{ "[resource]\n", "11: unknown section [resource]: did you mean [resources]?" },
	{ "[network]\n",
		"11: unknown section [network]: expected [agent], [image], [resources], "
		"[run], [lifecycle], [env] or [labels]" },
	/* lifecycle */
	{ "[lifecycle]\nrestart = yes\n",
		"12: restart = yes: expected never, on-failure or always" },
	{ "[lifecycle]\nrestart =\n", "12: restart = : expected never, on-failure or always" },
	{ "[lifecycle]\nrestart-max = 1000001\n",
		"12: restart-max = 1000001: expected 0 to 1000000" },
	{ "[lifecycle]\nrestart-backoff = 99ms\n",
		"12: restart-backoff = 99ms: expected 100ms to 1h" },
	{ "[lifecycle]\nrestart-backoff = 10m\n",
		"12: restart-backoff-max: expected restart-backoff or more" },
	{ "[lifecycle]\nrestart-backoff-max = 999ms\n",
		"12: restart-backoff-max: expected restart-backoff or more" },
	{ "[lifecycle]\nheartbeat = 99ms\n", "12: heartbeat = 99ms: expected 0, or 100ms to 1h" },
	{ "[lifecycle]\nheartbeat-timeout = 10s\n",
		"12: heartbeat-timeout: expected more than heartbeat, the time between two of them" },
	{ "[lifecycle]\nheartbeat = 60s\n",
		"12: heartbeat-timeout: expected more than heartbeat, the time between two of them" },
	{ "[lifecycle]\nmax-run-time = 999ms\n",
		"12: max-run-time = 999ms: expected 0, or 1s to 3650d" },
	{ "[lifecycle]\nmax-run-time = never\n",
		"12: max-run-time = never: expected a duration such as 8h, or 0 for no limit" },
	{ "[lifecycle]\nidle-after = 31d\n", "12: idle-after = 31d: expected 0, or 1s to 30d" },
	{ "[lifecycle]\nidle-action = pause\n",
		"12: idle-action = pause: expected sleep, stop or none" },
	{ "[lifecycle]\nrestart-mx = 1\n",
		"12: restart-mx: unknown key in [lifecycle]: did you mean restart-max?" },
	{ "restart = always\n", "11: restart: expected in section [lifecycle], not in [run]" },
	/* labels */
	{ "[labels]\nA = 1\n",
		"12: A = 1: expected a name of 1 to 63 lower-case letters, digits and - . _ /, a "
		"letter or digit at both ends" },
	{ "[labels]\na- = 1\n",
		"12: a- = 1: expected a name of 1 to 63 lower-case letters, digits and - . _ /, a "
		"letter or digit at both ends" },
	{ "[labels]\na = 1\na = 1\n", "13: a = 1: given already at line 12: expected it once" },
	/* environment */
	{ "[env]\nA=1\n\nA=2\n", "14: A = 2: given already at line 12: expected it once" },
	{ "[env]\n9A=1\n", "12: 9A = 1: expected a name of letters, digits and _" },
	{ "[env]\nA-B=1\n", "12: A-B = 1: expected a name of letters, digits and _" },
	{ "[env]\nA B=1\n", "12: A B = 1: expected a name of letters, digits and _" },
	/* lines */
	{ "nonsense\n", "11: expected key = value, [section] or a # comment" },
	{ "workdir: /\n", "11: expected key = value, [section] or a # comment" },
	{ "a:b = /\n", "11: expected key = value, [section] or a # comment" },
	{ "= 3\n", "11: expected a key of 1 to 127 characters before the =" },
	{ "[env\n", "11: expected [section] alone on its line" },
	{ "[env] # it\n", "11: expected [section] alone on its line" },
	{ "[]\n", "11: expected [section] alone on its line" },
	{ "[012345678901234567890123456789012]\n", "11: expected [section] alone on its line" },
	{ "[e v]\n", "11: expected [section] in lower-case letters, digits and -" },
	{ "  continued = /x\n", "11: continued: unknown key in [run]" },
};

START_TEST(mistake)
{
	char text[2048], message[600];

	(void)snprintf(text, sizeof(text), BASE "%s", mistakes[_i].text);
	(void)snprintf(message, sizeof(message), "echo-mint.ini:%s", mistakes[_i].message);
	check_refused(text, message);
	/* The same without the last line's end. */
	text[strlen(text) - 1] = '\0';
	check_refused(text, message);
}
END_TEST

START_TEST(key_before_section)
{
	check_refused("name = x\n", "echo-mint.ini:1: expected a [section] before the first key");
}
END_TEST

START_TEST(missing_keys)
{
	check_refused("",
		"echo-mint.ini: name is missing in section [agent]: expected 1 to 63 "
		"lower-case letters, digits and -, no - at either end");
	check_refused("[agent]\nname=a\n[image]\nkernel=" D0 "\n[run]\ncommand=/x\n",
		"echo-mint.ini: initramfs is missing in section [image]: expected blake2b: and 64 "
		"hexadecimal digits, as kosvm image import prints them");
	check_refused("[agent]\nname=a\n[image]\nkernel=" D0 "\ninitramfs=" D0 "\nrootfs=" D0 "\n",
		"echo-mint.ini: command is missing in section [run]: expected the absolute path of "
		"a program of the guest, and its arguments");
}
END_TEST

START_TEST(digests)
{
	static const char *const bad[] = { "", "blake2b:", "sha256:00", D0 "0", "BLAKE2B:00",
		"blake2b:000000000000000000000000000000000000000000000000000000000000000",
		"blake2b:000000000000000000000000000000000000000000000000000000000000000g" };
	struct digest d = { .bytes = { 1 } };
	char text[DIGEST_TEXT_LEN + 1];

	ck_assert_int_eq(digest_parse(D2, &d), 0);
	digest_format(&d, text);
	ck_assert_str_eq(
		text, "blake2b:00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100");
	for (size_t i = 0; i < array_size(bad); i++)
		ck_assert_int_eq(digest_parse(bad[i], &d), -EINVAL);
	ck_assert_uint_eq(d.bytes[1], 0x11);
	check_refused("[image]\nkernel = blake2b:12\n",
		"echo-mint.ini:2: kernel = blake2b:12: expected blake2b: and 64 hexadecimal digits, "
		"as kosvm image import prints them");
}
END_TEST

START_TEST(names)
{
	char longest[MANIFEST_NAME_MAX + 2];

	ck_assert(manifest_name_ok("a"));
	ck_assert(manifest_name_ok("0-a-9"));
	memset(longest, 'a', sizeof(longest));
	longest[MANIFEST_NAME_MAX] = '\0';
	ck_assert(manifest_name_ok(longest));
	longest[MANIFEST_NAME_MAX] = 'a';
	longest[MANIFEST_NAME_MAX + 1] = '\0';
	ck_assert(!manifest_name_ok(longest));
	ck_assert(!manifest_name_ok(""));
	ck_assert(!manifest_name_ok("-"));
	ck_assert(!manifest_name_ok("-a"));
	ck_assert(!manifest_name_ok("a-"));
	ck_assert(!manifest_name_ok("A"));
	ck_assert(!manifest_name_ok("a/b"));
	ck_assert(!manifest_name_ok(".."));
	ck_assert(!manifest_name_ok("a b"));
	ck_assert(!manifest_name_ok("\xc3\xa9"));
}
END_TEST

START_TEST(users)
{
	static const char *const good[] = { "1", "1000", "1000:1", "4294967294:4294967294", "_apt",
		"www-data", "nobody" };
	static const char *const bad[] = { "", "0", "00", "0:5", "5:0", "05", "1:", ":1", "1:2:3",
		"4294967295", "4294967296", "99999999999", "1x", "-1", "+1", "Root", "a b", "a:b",
		"root", "a12345678901234567890123456789012" };
	char text[1024];

	for (size_t i = 0; i < array_size(good); i++) {
		(void)snprintf(text, sizeof(text), BASE "user = %s\n", good[i]);
		ck_assert_msg(parse(text) == 0, "%s", e.msg);
		ck_assert_str_eq(m.user, good[i]);
		manifest_done(&m);
	}
	for (size_t i = 0; i < array_size(bad); i++) {
		(void)snprintf(text, sizeof(text), BASE "user = %s\n", bad[i]);
		ck_assert_msg(parse(text) < 0, "user %s was taken", bad[i]);
	}
}
END_TEST

START_TEST(commands)
{
	static const char *const bad[] = { "", "python3", "./x", "'' x", "/", "/bin/", "/bin//x",
		"/bin/../x", "/x 'open", "/x \"open", "/x \\", "/x > log", "/x | y", "/x & y",
		"/x;y", "/x `y`", "/x (y)", "/x <y" };
	char text[1024];

	for (size_t i = 0; i < array_size(bad); i++) {
		(void)snprintf(text, sizeof(text), "[run]\ncommand = %s\n", bad[i]);
		ck_assert_msg(parse(text) < 0, "command %s was taken", bad[i]);
		ck_assert_msg(strncmp(e.msg, "echo-mint.ini:2: command = ", 27) == 0, "%s", e.msg);
		ck_assert_msg(strstr(e.msg, ": expected ") != NULL, "%s", e.msg);
	}
	check_refused("[run]\ncommand = /x > log\n",
		"echo-mint.ini:2: command = /x > log: expected > in quotes: no shell reads this; "
		"use /bin/sh -c '…' for one");
}
END_TEST

START_TEST(words)
{
	char **w = NULL;

	ck_assert_int_eq(manifest_split_words(
				 "a  b\t'c d' \"e \\\" \\$f \\x\"g\\ h '' \"\" $X* ~ \\'", &w, &e),
		0);
	ck_assert_str_eq(w[0], "a");
	ck_assert_str_eq(w[1], "b");
	ck_assert_str_eq(w[2], "c d");
	ck_assert_str_eq(w[3], "e \" $f \\xg h");
	ck_assert_str_eq(w[4], "");
	ck_assert_str_eq(w[5], "");
	ck_assert_str_eq(w[6], "$X*");
	ck_assert_str_eq(w[7], "~");
	ck_assert_str_eq(w[8], "'");
	ck_assert_ptr_null(w[9]);
	manifest_free_words(w);
	ck_assert_int_eq(manifest_split_words(" \t", &w, &e), 0);
	ck_assert_ptr_null(w[0]);
	manifest_free_words(w);
	manifest_free_words(NULL);
}
END_TEST

START_TEST(word_count)
{
	char text[2 * MANIFEST_ARGV_MAX + 3];
	char **w = NULL;
	size_t n = 0;

	for (size_t i = 0; i < MANIFEST_ARGV_MAX; i++) {
		text[n++] = 'x';
		text[n++] = ' ';
	}
	text[n] = '\0';
	ck_assert_int_eq(manifest_split_words(text, &w, &e), 0);
	ck_assert_str_eq(w[MANIFEST_ARGV_MAX - 1], "x");
	ck_assert_ptr_null(w[MANIFEST_ARGV_MAX]);
	manifest_free_words(w);
	(void)strcpy(text + n, "y");
	ck_assert_int_eq(manifest_split_words(text, &w, &e), -E2BIG);
}
END_TEST

START_TEST(env_count)
{
	char text[4096] = BASE "[env]\n";
	size_t n = strlen(text);

	for (unsigned i = 0; i < MANIFEST_ENV_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "V%u=%u\n", i, i);
	ck_assert_msg(parse(text) == 0, "%s", e.msg);
	ck_assert_str_eq(m.env[MANIFEST_ENV_MAX - 1], "V63=63");
	manifest_done(&m);
	(void)snprintf(text + n, sizeof(text) - n, "V=1\n");
	check_refused(text, "echo-mint.ini:76: V = 1: expected at most 64 variables");
}
END_TEST

/* Lines longer than inih takes by default are whole; too long is refused, not cut. */
START_TEST(label_count)
{
	char text[4096] = BASE "[labels]\n";

	for (unsigned i = 0; i < MANIFEST_LABELS_MAX; i++)
		(void)sprintf(text + strlen(text), "l%u = %u\n", i, i);
	ck_assert_int_eq(parse(text), 0);
	ck_assert_str_eq(m.labels[MANIFEST_LABELS_MAX - 1], "l31=31");
	ck_assert_ptr_null(m.labels[MANIFEST_LABELS_MAX]);
	manifest_done(&m);
	(void)strcat(text, "one-more =\n");
	check_refused(text, "echo-mint.ini:44: one-more = : expected at most 32 labels");
}
END_TEST

START_TEST(line_length)
{
	char text[8192];
	size_t at;

	(void)strcpy(text, BASE "[env]\nX=");
	at = strlen(text);
	memset(text + at, 'v', MANIFEST_LINE_MAX - 2);
	(void)strcpy(text + at + MANIFEST_LINE_MAX - 2, "\r\nY=2\n");
	ck_assert_msg(parse(text) == 0, "%s", e.msg);
	ck_assert_uint_eq(strlen(m.env[0]), MANIFEST_LINE_MAX);
	ck_assert_str_eq(m.env[1], "Y=2");
	manifest_done(&m);
	(void)strcpy(text + at + MANIFEST_LINE_MAX - 2, "v\n");
	check_refused(text, "echo-mint.ini:12: the line is too long: expected at most 1024 bytes");
	text[at - 2] = '#';
	check_refused(text, "echo-mint.ini:12: the line is too long: expected at most 1024 bytes");
}
END_TEST

START_TEST(long_values_are_shown_short)
{
	char text[1024] = "[agent]\nname = ";
	size_t n = strlen(text);

	for (int i = 0; i < 100; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "xé");
	ck_assert_int_lt(parse(text), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "xéx…: expected 1 to 63"));
}
END_TEST

START_TEST(bytes)
{
	static const struct {
		const char *bytes;
		size_t len;
		unsigned value;
	} bad[] = {
		{ "\0", 1, 0 },
		{ "\x01", 1, 1 },
		{ "\x1b[31m", 5, 0x1b },
		{ "\x7f", 1, 0x7f },
		{ "\x0b", 1, 0x0b },
		{ "\r", 1, 0x0d },
		{ "\x80", 1, 0x80 },
		{ "\xc0\xaf", 2, 0xc0 },
		{ "\xc3", 1, 0xc3 },
		{ "\xe0\x80\x80", 3, 0xe0 },
		{ "\xed\xa0\x80", 3, 0xed },
		{ "\xf4\x90\x80\x80", 4, 0xf4 },
		{ "\xff", 1, 0xff },
		{ "\xc2\x85", 2, 0xc2 },
		{ "\xef\xbb\xbf", 3, 0xef },
		{ "\xe2\x80\xae", 3, 0xe2 },
	};
	static const char front[] = "# ok\nab";
	char text[64], message[200];

	for (size_t i = 0; i < array_size(bad); i++) {
		size_t len = sizeof(front) - 1;

		memcpy(text, front, len);
		memcpy(text + len, bad[i].bytes, bad[i].len);
		memcpy(text + len + bad[i].len, "c\n", 2);
		len += bad[i].len + 2;
		(void)snprintf(message, sizeof(message),
			"f:2: byte 0x%02x at column 3: expected UTF-8 text without control "
			"characters and byte order mark",
			bad[i].value);
		ck_assert_int_eq(manifest_parse("f", text, len, &m, &e), -EINVAL);
		ck_assert_str_eq(e.msg, message);
	}
	ck_assert_int_eq(manifest_parse("f", "\xef\xbb\xbf[agent]\n", 11, &m, &e), -EINVAL);
}
END_TEST

START_TEST(size_of_the_whole)
{
	_cleanup_free_ char *big = malloc(MANIFEST_MAX_BYTES + 1);
	size_t n = strlen(BASE);

	ck_assert_ptr_nonnull(big);
	memset(big, '\n', MANIFEST_MAX_BYTES + 1);
	memcpy(big, BASE, n);
	ck_assert_int_eq(manifest_parse("f", big, MANIFEST_MAX_BYTES, &m, &e), 0);
	manifest_done(&m);
	ck_assert_int_eq(manifest_parse("f", big, MANIFEST_MAX_BYTES + 1, &m, &e), -EFBIG);
	ck_assert_str_eq(e.msg, "f: 65537 bytes: expected at most 65536");
}
END_TEST

/* Cut anywhere it is taken whole or refused; nothing past the end is read. */
START_TEST(truncated)
{
	static const char text[] = BASE "[env]\nA=1\n";

	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		_cleanup_free_ char *cut = malloc(n + 1);

		ck_assert_ptr_nonnull(cut);
		memcpy(cut, text, n);
		if (manifest_parse("f", cut, n, &m, NULL) == 0)
			manifest_done(&m);
		else
			ck_assert_uint_lt(n, sizeof(text) - 1);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("manifest");
	TCase *t = tcase_create("manifest");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, defaults);
	tcase_add_test(t, every_key);
	tcase_add_test(t, lifecycle_and_labels);
	tcase_add_test(t, traffic);
	tcase_add_test(t, state_disk_is_the_workdir);
	tcase_add_loop_test(t, mistake, 0, (int)array_size(mistakes));
	tcase_add_test(t, key_before_section);
	tcase_add_test(t, missing_keys);
	tcase_add_test(t, digests);
	tcase_add_test(t, names);
	tcase_add_test(t, users);
	tcase_add_test(t, commands);
	tcase_add_test(t, words);
	tcase_add_test(t, word_count);
	tcase_add_test(t, env_count);
	tcase_add_test(t, label_count);
	tcase_add_test(t, line_length);
	tcase_add_test(t, long_values_are_shown_short);
	tcase_add_test(t, bytes);
	tcase_add_test(t, size_of_the_whole);
	tcase_add_test(t, truncated);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
