#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "copy.h"
#include "exec.h"
#include "guest_peer.h"
#include "service.h"
#include "tar.h"

/* Copies, against tar(1) on the other side, in a directory that is the whole guest for them. */
static struct loop *loop;
static struct reaper reaper;
static struct service service;
static struct command command;
static struct agent agent;
static struct peer peer;
static char root[64];
static char script[8192];

/* Runs a shell in the directory; its output is `script` then. */
static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
{
	char line[4096];
	size_t n = 0;
	va_list ap;
	FILE *p;

	n = (size_t)snprintf(line, sizeof(line), "exec 2>&1; set -e; cd %s; ", root);
	va_start(ap, fmt);
	(void)vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	(void)signal(SIGCHLD, SIG_DFL);
	p = popen(line, "r");
	ck_assert_ptr_nonnull(p);
	n = fread(script, 1, sizeof(script) - 1, p);
	script[n] = '\0';
	ck_assert_msg(pclose(p) == 0, "%s: %s", line, script);
}

static void setup(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)strcpy(root, "/tmp/kosvm-copy-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(chmod(root, 0755), 0);
	(void)umask(022);
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
	ck_assert_int_eq(reaper_start(&reaper, loop, NULL), 0);
	command.user = strdup("1234:2345");
	agent_init(&agent, loop, NULL, peer_dial);
	service_init(&service, loop, &reaper, &command, &agent);
	service.copy_root = root;
	service_take(&service, peer_open(&peer, loop));
}

static void teardown(void)
{
	peer_close(&peer);
	for (int i = 0; (service.count || service.running) && i < 1000; i++)
		ck_assert_int_eq(loop_step(loop, 10, NULL), 0);
	ck_assert_uint_eq(service.running, 0);
	ck_assert_uint_eq(service.count, 0);
	service_done(&service);
	reaper_done(&reaper);
	command_done(&command);
	loop_free(loop);
	sh("cd /; rm -rf %s", root);
}

static void ask(enum guest_frame_type type, const char *path, bool owners)
{
	static uint8_t buf[8192];

	peer_close(&peer);
	service_take(&service, peer_open(&peer, loop));
	peer_send_raw(&peer, buf, (size_t)guest_make_copy(buf, sizeof(buf), type, path, owners));
}

/* Copies out into a file; the type of the last frame. */
static int out(const char *path, const char *to)
{
	_cleanup_close_ int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int type;

	ck_assert_int_ge(fd, 0);
	ask(GUEST_COPY_OUT, path, false);
	while ((type = peer_next(&peer, 20000)) == GUEST_STDOUT)
		ck_assert_int_eq(io_write_full(fd, peer_payload(&peer), peer.h.len), 0);
	return type;
}

/* Copies a file in; the type of the last frame. */
static int in(const char *from, const char *path, bool owners)
{
	static uint8_t block[60000];
	_cleanup_close_ int fd = open(from, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	ask(GUEST_COPY_IN, path, owners);
	while ((n = read(fd, block, sizeof(block))) > 0)
		peer_send(&peer, GUEST_STDIN, block, (size_t)n);
	peer_send(&peer, GUEST_STDIN, NULL, 0);
	return peer_next(&peer, 20000);
}

static void refused(int type, const char *why)
{
	ck_assert_int_eq(type, GUEST_ERROR);
	ck_assert_msg(peer_has_text(&peer, why), "not \"%s\" but: %.*s", why, (int)peer.h.len - 20,
		(const char *)peer_payload(&peer) + 20);
}

static const char *at(const char *name)
{
	static char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

/* Modes, owners, times, links, names of any length and any bytes; both ways, to the bit. */
START_TEST(a_tree_there_and_back)
{
	sh("mkdir -p w/tree/sub/empty w/back; cd w/tree; echo a >a; head -c 1000000 /dev/urandom >big;"
	   "chmod 4751 a; chown 77:88 a; ln -s ../a sub/l; ln -s /nowhere abs; : >none;"
	   "mkdir -p $(printf 'd%%.0s' $(seq 120))/$(printf 'e%%.0s' $(seq 200));"
	   "echo deep >$(printf 'd%%.0s' $(seq 120))/$(printf 'e%%.0s' $(seq 200))/f;"
	   "ln -s $(printf 'x%%.0s' $(seq 300)) long; printf x >\"$(printf 'n\\303\\244\\377\\n.')\";"
	   "chown 3000000:4000000 big; touch -h -d @1000000000 sub/l; touch -d @-5 none;"
	   "mkfifo pipe; chmod 711 sub; touch -d @1500000000 a big sub/empty sub .");
	ck_assert_int_eq(out("/w/tree", at("out.tar")), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 0);
	sh("rm w/tree/pipe; touch -d @1500000000 w/tree; mkdir x; tar -xpf out.tar -C x --numeric-owner --warning=no-timestamp;"
	   "f() { (cd $1; find . -printf '%%p %%m %%U %%G %%s %%Ts %%l\\n' | grep -av ' 4096 \\|^\\. ' | sort;"
	   "find . -type f -exec b2sum {} + | sort); }; f w/tree >1; f x/tree >2; cmp 1 2; wc -l <1");
	ck_assert_msg(atoi(script) >= 12, "%s", script);
	/* And in again, from what tar(1) makes of it. */
	sh("tar -C w -cf in.tar --format=gnu tree; tar -C w -cf pax.tar --format=pax tree");
	ck_assert_int_eq(in(at("in.tar"), "/w/back", true), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 0);
	ck_assert_int_eq(in(at("pax.tar"), "/w/new", true), GUEST_EXITED);
	sh("f() { (cd $1; find . -printf '%%p %%m %%U %%G %%s %%Ts %%l\\n' | sort;"
	   "find . -type f -exec b2sum {} + | sort); }; f w/tree >1; f w/back/tree >2; f w/new >3;"
	   "cmp 1 2; cmp 1 3");
	/* What we wrote is what we read. */
	ck_assert_int_eq(in(at("out.tar"), "/w/third", true), GUEST_EXITED);
	sh("f() { (cd $1; find . -printf '%%p %%m %%U %%G %%s %%Ts %%l\\n' | sort;"
	   "find . -type f -exec b2sum {} + | sort); }; f w/third >3; cmp 1 3");
}
END_TEST

START_TEST(it_belongs_to_the_agent)
{
	sh("mkdir s d; echo x >s/f; ln -s f s/l; chown 7:8 s/f; chmod 6755 s/f; tar -C s -cf t.tar f l");
	ck_assert_int_eq(in(at("t.tar"), "/d", false), GUEST_EXITED);
	sh("stat -c '%%a %%u %%g' d/f; stat -c '%%u %%g' d/l d");
	ck_assert_str_eq(script, "755 1234 2345\n1234 2345\n0 0\n");
}
END_TEST

START_TEST(one_file_and_its_new_name)
{
	sh("mkdir d; echo new >f; echo old >d/g; tar -cf t.tar f");
	ck_assert_int_eq(in(at("t.tar"), "/d/g", false), GUEST_EXITED);
	ck_assert_int_eq(in(at("t.tar"), "/d", false), GUEST_EXITED);
	ck_assert_int_eq(in(at("t.tar"), "/d/h", false), GUEST_EXITED);
	sh("cat d/g d/f d/h; ls d | wc -l");
	ck_assert_str_eq(script, "new\nnew\nnew\n3\n");
	refused(in(at("t.tar"), "/d/nothing/", false), "No such file");
	refused(in(at("t.tar"), "/nothing/f", false), "No such file");
	refused(in(at("t.tar"), "/d/g/f", false), "Not a directory");
	sh("tar -cf t.tar f d");
	refused(in(at("t.tar"), "/two", false), "more than one thing");
	sh("mkdir d/f2; rm -f f2; echo x >f2; tar -cf t.tar f2");
	refused(in(at("t.tar"), "/d", false), "a directory is in the way");
	/* Content of a directory, named by its dot. */
	sh("mkdir e; tar -C d -cf t.tar .");
	ck_assert_int_eq(in(at("t.tar"), "/e", false), GUEST_EXITED);
	refused(in(at("t.tar"), "/e/none", false), "needs a directory");
	ck_assert_int_eq(out("/d/.", at("o.tar")), GUEST_EXITED);
	sh("tar -tf o.tar | sort | tr '\\n' ' '");
	ck_assert_str_eq(script, "./ ./f ./f2/ ./g ./h ");
	ck_assert_int_eq(out("/d/g", at("o.tar")), GUEST_EXITED);
	sh("tar -tf o.tar");
	ck_assert_str_eq(script, "g\n");
	refused(out("/d/none", at("o.tar")), "No such file");
	refused(out("/d/g/", at("o.tar")), "Not a directory");
	sh("ln -s d l; mkfifo p");
	ck_assert_int_eq(out("/l", at("o.tar")), GUEST_EXITED);
	sh("tar -tvf o.tar | grep -o 'l -> d'");
	ck_assert_int_eq(out("/l/", at("o.tar")), GUEST_EXITED);
	sh("tar -tf o.tar | sed -n 1p");
	ck_assert_str_eq(script, "l/\n");
	refused(out("/p", at("o.tar")), "only files");
}
END_TEST

/* Whatever is in the stream and whatever is in the tree: nothing outside is touched. */
START_TEST(no_way_out)
{
	static const struct {
		const char *make, *why;
	} cases[] = {
		{ "tar -cPf t.tar --transform 's,^f$,../out/f,' f", "with .." },
		{ "tar -cPf t.tar --transform 's,^f$,/out/f,' f", "absolute" },
		{ "tar -cPf t.tar --transform 's,^f$,a/../../out/f,' f", "with .." },
		{ "ln -s ../out d/link; tar -cf t.tar --transform 's,^f$,link/f,' f",
			"in the way" },
		{ "ln -s ../out link; mkdir x; echo y >x/f;"
		  "tar -cf t.tar link; tar -rf t.tar --transform 's,^x,link,' x/f",
			"in the way" },
		{ "ln -s /out d/dir; mkdir dir; tar -cf t.tar dir", "in the way" },
		{ "mknod dev c 1 3; tar -cf t.tar dev", "only files" },
		{ "mkfifo fifo; tar -cf t.tar fifo", "only files" },
		{ "ln -s ../out/secret l; ln l h; tar -cf t.tar l h", "what is no file" },
		{ "ln f g; tar -cPf t.tar f g; sed -i 's,f\\x00\\(.*\\)ustar,f\\x00\\1ustar,' t.tar;"
		  "tar -cPf t.tar --transform 's,^f$,../out/secret,h' f g",
			"with .." },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		sh("rm -rf ./*; mkdir d out; echo secret >out/secret; echo f >f; %s",
			cases[i].make);
		refused(in(at("t.tar"), "/d", false), cases[i].why);
		sh("ls out; cat out/secret; stat -c %%U out out/secret");
		ck_assert_str_eq(script, "secret\nsecret\nroot\nroot\n");
	}
	/* A file in the place of a link replaces it. */
	sh("rm -rf ./*; mkdir d out; echo secret >out/secret; echo f >f; ln -s ../out/secret d/f;"
	   "tar -cf t.tar f");
	ck_assert_int_eq(in(at("t.tar"), "/d", false), GUEST_EXITED);
	sh("cat out/secret d/f; test ! -L d/f");
	ck_assert_str_eq(script, "secret\nf\n");
	/* Out: links in the tree are copied as links. */
	sh("ln -s ../out d/l; echo >t.tar");
	ck_assert_int_eq(out("/d", at("t.tar")), GUEST_EXITED);
	sh("tar -tf t.tar | grep -c secret || true");
	ck_assert_str_eq(script, "0\n");
}
END_TEST

START_TEST(streams_that_are_none)
{
	sh("mkdir d; head -c 100000 /dev/urandom >t.tar");
	refused(in(at("t.tar"), "/d", false), "malformed");
	sh("echo x >f; tar -cf u.tar f; head -c 512 u.tar >t.tar");
	refused(in(at("t.tar"), "/d", false), "cut short");
	sh("sed '1s/^f/g/' u.tar >t.tar"); /* a header that its sum does not fit */
	refused(in(at("t.tar"), "/d", false), "malformed");
	sh("head -c 1024 u.tar >t.tar");
	refused(in(at("t.tar"), "/d", false), "cut short");
	sh(": >t.tar");
	refused(in(at("t.tar"), "/d", false), "cut short");
	sh("truncate -s 1M f; echo x >>f; tar --sparse --format=pax -cf t.tar f");
	refused(in(at("t.tar"), "/d", false), "without --sparse");
	sh("tar --sparse --format=gnu -cf t.tar f");
	refused(in(at("t.tar"), "/d", false), "only files");
	sh("head -c 3000000 /dev/zero >f; tar -cf t.tar f; truncate -s 2000000 t.tar; rm f");
	refused(in(at("t.tar"), "/d", false), "cut short");
	sh("tar -cf t.tar -T /dev/null; ls d");
	ck_assert_int_eq(in(at("t.tar"), "/d", false), GUEST_EXITED);
	peer_close(&peer);
	service_take(&service, peer_open(&peer, loop));
	peer_send(&peer, GUEST_COPY_OUT, "\x15\0\0\0\x01\0\0\0x", 9);
	refused(peer_next(&peer, 5000), "absolute path");
	ask(GUEST_COPY_OUT, "", false);
	refused(peer_next(&peer, 5000), "absolute path");
	service.stopping = true;
	ask(GUEST_COPY_OUT, "/", false);
	refused(peer_next(&peer, 5000), "shutting down");
}
END_TEST

/* The agent writes while it is copied. */
START_TEST(a_tree_that_changes)
{
	sh("mkdir -p d/s; head -c 8000000 /dev/zero >d/big; for i in $(seq 300); do echo $i >d/s/$i; done");
	ask(GUEST_COPY_OUT, "/d", false);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
	sh("truncate -s 10 d/big; rm -rf d/s; ln -s /etc d/s");
	{
		_cleanup_close_ int fd = open(at("o.tar"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		int type = GUEST_STDOUT;

		do
			ck_assert_int_eq(io_write_full(fd, peer_payload(&peer), peer.h.len), 0);
		while ((type = peer_next(&peer, 20000)) == GUEST_STDOUT);
		ck_assert_int_eq(type, GUEST_EXITED);
	}
	sh("tar -tf o.tar | grep -c passwd || true");
	ck_assert_str_eq(script, "0\n");
}
END_TEST

/* In a process that belongs to the agent: what it does again and again until it is killed. */
static pid_t attack_with(void (*once)(const char *a, const char *b), const char *a, const char *b)
{
	pid_t pid = fork();

	if (pid == 0) {
		ck_assert_int_eq(chdir(root), 0);
		for (;;)
			once(a, b);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static void swap(const char *a, const char *b)
{
	(void)renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

static void attack_end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

/* A directory becomes a link to elsewhere, and a directory again, while it is copied in and out. */
START_TEST(a_directory_that_turns_into_a_link)
{
	unsigned refusals = 0;
	pid_t pid;

	sh("mkdir -p d/s out t/s; ln -s ../out d/x; echo hidden >out/secret; echo mine >d/s/secret;"
	   "for i in $(seq 200); do echo $i >t/s/$i; ln -s $i t/s/l$i; mkdir t/s/d$i; done;"
	   "tar -C t -cf t.tar s; cp -a out was");
	pid = attack_with(swap, "d/s", "d/x");
	for (int i = 0; i < 20; i++) {
		_cleanup_close_ int fd = -1;
		int type;

		type = in(at("t.tar"), "/d", true);
		if (type == GUEST_ERROR)
			refusals++;
		else
			ck_assert_int_eq(type, GUEST_EXITED);
		type = out("/d", at("o.tar"));
		ck_assert_int_eq(type, GUEST_EXITED);
		sh("! grep -aq hidden o.tar");
	}
	attack_end(pid);
	ck_assert_uint_gt(refusals, 0); /* it was there at the right moment */
	sh("diff -r out was; stat -c '%%u %%a' out out/secret; ls out");
	ck_assert_str_eq(script, "0 755\n0 644\nsecret\n");
}
END_TEST

/* a is made, and at once it is b, and b a; then all is as before, without a. */
static void swap_fresh(const char *a, const char *b)
{
	while (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0)
		;
	(void)rmdir(b);
	(void)renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE);
}

static void plant_link(const char *a, const char *b)
{
	while (symlink(b, a) < 0)
		;
}

/* A directory of root's takes the place of one that was just made: it stays root's. */
START_TEST(a_directory_in_the_place_of_a_fresh_one)
{
	pid_t pid;

	sh("mkdir d s d/keep; chown 1234 d; chmod 700 d/keep; echo x >d/keep/f; stat -c %%i d/keep >was;"
	   "yes s | head -n 10000 >names; tar -cf t.tar -T names");
	pid = attack_with(swap_fresh, "d/s", "d/keep");
	for (int n = 0; n < 6; n++) {
		int type = in(at("t.tar"), "/d", false);

		ck_assert(type == GUEST_EXITED || type == GUEST_ERROR);
	}
	attack_end(pid);
	sh("find d -inum $(cat was) -printf '%%U\\n'");
	ck_assert_str_eq(script, "0\n");
}
END_TEST

/* A link appears where a file is about to be made. */
START_TEST(a_link_where_a_file_goes)
{
	pid_t pid;

	sh("mkdir d out; echo secret >out/secret; echo mine >f; yes f | head -n 5000 >names;"
	   "tar -cf t.tar -T names");
	pid = attack_with(plant_link, "d/f", "../out/secret");
	for (int n = 0; n < 4; n++) {
		int type = in(at("t.tar"), "/d", false);

		ck_assert(type == GUEST_EXITED || type == GUEST_ERROR);
	}
	attack_end(pid);
	sh("cat out/secret; stat -c %%u out/secret");
	ck_assert_str_eq(script, "secret\n0\n");
}
END_TEST

/* The state of the process that copies: it waits for input that does not come. */
static void copier_status(char *ret, size_t size)
{
	char path[64];
	char pid[32] = "";
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(pid, sizeof(pid), f));
	(void)fclose(f);
	(void)snprintf(path, sizeof(path), "/proc/%d/status", atoi(pid));
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	n = fread(ret, 1, size - 1, f);
	ret[n] = '\0';
	(void)fclose(f);
}

/* It is root's, and cannot do much: see to files, and that is all; for good. */
START_TEST(the_process_that_copies)
{
	static char status[8192];

	sh("mkdir d");
	ask(GUEST_COPY_IN, "/d", false);
	peer_pass(loop, 300);
	copier_status(status, sizeof(status));
	/* chown, dac_override, dac_read_search, fowner, fsetid (capabilities(7)) */
	ck_assert_ptr_nonnull(strstr(status, "CapEff:\t000000000000001f\n"));
	ck_assert_ptr_nonnull(strstr(status, "CapPrm:\t000000000000001f\n"));
	ck_assert_ptr_nonnull(strstr(status, "CapInh:\t0000000000000000\n"));
	ck_assert_ptr_nonnull(strstr(status, "CapBnd:\t0000000000000000\n"));
	ck_assert_ptr_nonnull(strstr(status, "NoNewPrivs:\t1\n"));
}
END_TEST

/* Of the whole system, but not of what is no file in it. */
START_TEST(what_is_not_there_for_a_copy)
{
	static const char *const paths[] = { "/proc/self/status", "/proc/1/root/etc/passwd",
		"/dev/null", "/sys/kernel/notes" };
	int type;

	service.copy_root = NULL;
	type = out("/etc/passwd", at("o.tar"));
	if (type == GUEST_ERROR && peer_has_text(&peer, "own mounts"))
		return; /* a container that may not; elsewhere it counts */
	ck_assert_int_eq(type, GUEST_EXITED);
	for (size_t i = 0; i < array_size(paths); i++)
		refused(out(paths[i], at("o.tar")), "No such file");
	/* For us they are. */
	ck_assert_int_eq(access("/proc/self/status", R_OK), 0);
	ck_assert_int_eq(access("/dev/null", R_OK), 0);
}
END_TEST

/* A tar stream with one pax header of that size and content. */
static void pax_stream(const char *records, size_t size)
{
	static uint8_t stream[1 << 17];
	static struct tar_entry t = { .type = TAR_FILE, .name = "f", .mode = 0644 };
	static uint8_t plain[TAR_HEADERS_MAX];
	_cleanup_close_ int fd = open(at("t.tar"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	unsigned sum = 0;
	size_t at_byte = TAR_BLOCK;

	memset(stream, 0, sizeof(stream));
	(void)tar_encode(&t, plain);
	memcpy(stream, plain, TAR_BLOCK);
	stream[156] = 'x';
	(void)snprintf((char *)stream + 124, 12, "%011o", (unsigned)size);
	memset(stream + 148, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += stream[i];
	(void)snprintf((char *)stream + 148, 7, "%06o", sum);
	memset(stream + at_byte, ' ', size);
	memcpy(stream + at_byte, records, strlen(records));
	at_byte += size + tar_padding(size);
	memcpy(stream + at_byte, plain, TAR_BLOCK);
	at_byte += 3 * (size_t)TAR_BLOCK;
	ck_assert_int_eq(io_write_full(fd, stream, at_byte), 0);
}

static void huge_size(void)
{
	static struct tar_entry t = { .type = TAR_FILE, .name = "f", .mode = 0644 };
	static uint8_t plain[TAR_HEADERS_MAX];
	_cleanup_close_ int fd = open(at("t.tar"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	unsigned sum = 0;

	(void)tar_encode(&t, plain);
	memset(plain + 124, 0, 12);
	plain[124] = 0x80;
	plain[130] = 2; /* 2^41 */
	memset(plain + 148, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += plain[i];
	(void)snprintf((char *)plain + 148, 7, "%06o", sum);
	ck_assert_int_eq(io_write_full(fd, plain, TAR_BLOCK), 0);
}

/* Headers of headers: too long, lying about their length, with numbers that nothing holds. */
START_TEST(pax_headers_that_lie)
{
	static const struct {
		const char *records;
		size_t size; /* 0: their own */
	} cases[] = {
		{ "", TAR_PAX_MAX + 1 },
		{ "", 100000 },
		{ "9 path=g\n", 12 },
		{ "99 path=g\n", 0 },
		{ "8 path=g\n", 0 },
		{ "4294967305 path=g\n", 0 },
		{ "18446744073709551625 path=g\n", 0 },
		{ "-9 path=g\n", 0 },
		{ "path=g\n", 0 },
		{ "7 path\n", 0 },
		{ "23 size=1099511627777\n", 0 },
		{ "30 size=18446744073709551617\n", 0 },
		{ "11 size=-1\n", 0 },
		{ "11 size=0x\n", 0 },
		{ "18 uid=4294967295\n", 0 },
		{ "8 gid=-1\n", 0 },
		{ "10 gid=-1\n", 0 },
		{ "23 mtime=9999999999999\n", 0 },
		{ "9 mtime=\n", 0 },
	};

	sh("mkdir d");
	for (size_t i = 0; i < array_size(cases); i++) {
		pax_stream(
			cases[i].records, cases[i].size ? cases[i].size : strlen(cases[i].records));
		refused(in(at("t.tar"), "/d", false), "malformed");
	}
	/* Or the size is in base 256, and more than there is. */
	huge_size();
	refused(in(at("t.tar"), "/d", false), "malformed");
	/* And one that does not. */
	pax_stream("11 path=ok\n", 11);
	ck_assert_int_eq(in(at("t.tar"), "/d", false), GUEST_EXITED);
	sh("ls d");
	ck_assert_str_eq(script, "ok\n");
}
END_TEST

/* A tree that is deeper than there are descriptors for it. */
START_TEST(too_deep)
{
	sh("d=d; for i in $(seq 300); do d=$d/d; done; mkdir -p $d");
	refused(out("/d", at("o.tar")), "directories deep");
}
END_TEST

/* Who put a pipe where a file was when we looked holds nobody up. */
START_TEST(a_file_that_turns_into_a_pipe)
{
	pid_t pid;

	sh("mkdir d; echo x >d/f; mkfifo p");
	pid = attack_with(swap, "d/f", "p");
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(out("/d", at("o.tar")), GUEST_EXITED);
	attack_end(pid);
}
END_TEST

START_TEST(the_host_leaves)
{
	sh("head -c 30000000 /dev/zero >big; mkdir d");
	ask(GUEST_COPY_OUT, "/big", false);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
	peer_close(&peer);
	peer_pass(loop, 300);
	ck_assert_uint_eq(service.running, 0);
	ask(GUEST_COPY_IN, "/d", false);
	peer_pass(loop, 50);
	ck_assert_uint_eq(service.running, 1);
	peer_close(&peer);
	peer_pass(loop, 300);
	ck_assert_uint_eq(service.running, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_copy");
	TCase *t = tcase_create("guest_copy");
	SRunner *sr;
	int failed;

	if (geteuid() != 0) {
		(void)fprintf(stderr, "needs root: chroot, owners\n");
		return 77;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_tree_there_and_back);
	tcase_add_test(t, it_belongs_to_the_agent);
	tcase_add_test(t, one_file_and_its_new_name);
	tcase_add_test(t, no_way_out);
	tcase_add_test(t, streams_that_are_none);
	tcase_add_test(t, a_tree_that_changes);
	tcase_add_test(t, a_directory_that_turns_into_a_link);
	tcase_add_test(t, a_directory_in_the_place_of_a_fresh_one);
	tcase_add_test(t, a_link_where_a_file_goes);
	tcase_add_test(t, a_file_that_turns_into_a_pipe);
	tcase_add_test(t, the_process_that_copies);
	tcase_add_test(t, what_is_not_there_for_a_copy);
	tcase_add_test(t, pax_headers_that_lie);
	tcase_add_test(t, too_deep);
	tcase_add_test(t, the_host_leaves);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
