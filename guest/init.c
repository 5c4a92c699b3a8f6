#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <wire/guest_proto.h>

#include "agent.h"
#include "command.h"
#include "disks.h"
#include "link.h"
#include "modules.h"
#include "mounts.h"
#include "service.h"
#include "shutdown.h"
#include "vsock.h"

#define DISK_MS   5000u
#define CONFIG_MS 30000u
#define LAST_MS   10000u /* from the agent's end to a power-off of our own */
#define DRAIN_MS  2000u

/* The one machine this process is the first process of. */
struct init {
	struct loop *loop;
	struct reaper reaper;
	struct link link;
	struct agent agent;
	struct service service;
	struct shutdown shutdown;
	struct loop_timer deadline; /* for CONFIG; later for SHUTDOWN */
	struct command command;
	bool dialling;
	bool configured;
	bool failed; /* ERROR was said: nothing is started any more */
	bool state_mounted;
};

static struct init the_init;

/*
 * How long the host may be silent: it has to say CONFIG, and in the end
 * SHUTDOWN. While the link is down nobody can, and kosvmd may be away for long.
 */
static void init_watch(struct init *in)
{
	unsigned ms = 0;

	if (in->service.stopping)
		return;
	if (!chan_is_open(&in->link.chan))
		ms = 0;
	else if (in->failed || in->link.phase == GUEST_PHASE_ENDED)
		ms = LAST_MS;
	else if (!in->configured)
		ms = CONFIG_MS;
	(void)loop_timer_set(in->loop, &in->deadline, ms * CLOCK_NS_PER_MS, 0);
}

/* Ends every process; the loop quits when they are gone. */
static void init_stop(struct init *in, uint32_t grace_ms)
{
	in->service.stopping = true;
	loop_timer_done(&in->deadline);
	shutdown_begin(&in->shutdown, grace_ms);
}

/* It cannot go on: tells everybody. */
static void init_fail(struct init *in, const char *why)
{
	in->failed = true;
	log_error("%s", why);
	link_failed(&in->link, why);
	init_watch(in);
}

static void agent_ready(struct agent *a, uint32_t pid)
{
	log_debug("agent runs, pid %u", pid);
	link_ready(&container_of(a, struct init, agent)->link, pid);
}

static void agent_failed(struct agent *a, const char *why)
{
	init_fail(container_of(a, struct init, agent), why);
}

static void agent_exited(struct agent *a, int status)
{
	struct init *in = container_of(a, struct init, agent);

	log_debug("agent ended, wait status 0x%x", (unsigned)status);
	link_exited(&in->link, status);
	init_watch(in);
}

static const struct agent_ops agent_ops = {
	.ready = agent_ready,
	.failed = agent_failed,
	.exited = agent_exited,
};

static void loopback_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_name = "lo" };

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &req) < 0)
		return; /* a kernel without networks */
	req.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		log_warn("loopback interface: %s", strerror(errno));
}

static void clock_follow(uint64_t time_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(time_ns / CLOCK_NS_PER_S),
		.tv_nsec = (long)(time_ns % CLOCK_NS_PER_S),
	};

	if (time_ns && clock_settime(CLOCK_REALTIME, &ts) < 0)
		log_warn("clock: %s", strerror(errno));
}

static void identity_set(const struct command *c)
{
	clock_follow(c->time_ns);
	if (c->hostname && sethostname(c->hostname, strlen(c->hostname)) < 0)
		log_warn("hostname %s: %s", c->hostname, strerror(errno));
	loopback_up();
}

static int state_up(struct init *in, const struct user *user, struct kerr *e)
{
	char device[DISK_PATH_MAX];
	int r;

	if (!in->command.has_state)
		return 0;
	/* /sys is there still: it is mounted in the new root too. */
	r = disk_wait(DISK_STATE, DISK_MS, device, e);
	if (r == 0)
		r = mounts_state(device, user->uid, user->gid, e);
	in->state_mounted = r == 0;
	return r;
}

static int agent_up(struct init *in, struct kerr *e)
{
	const struct command *c = &in->command;
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct user user;
	int listen_fd;
	int r;

	r = root < 0 ? kerr_errno(e, errno, "/") : 0;
	if (r == 0)
		r = user_resolve_at(root, c->user ? c->user : "", false, &user, e);
	if (r == 0)
		r = state_up(in, &user, e);
	if (r < 0)
		return r;
	listen_fd = vsock_listen(GUEST_PORT_EXEC, e);
	if (listen_fd < 0)
		return listen_fd;
	in->service.has_state = c->has_state;
	r = service_listen(&in->service, listen_fd);
	if (r < 0)
		return kerr_errno(e, -r, "service port");
	return agent_start(&in->agent, &in->reaper, c, &user, user_home(&user, c->has_state), e);
}

static void on_config(struct link *l, const uint8_t *payload, size_t len)
{
	struct init *in = container_of(l, struct init, link);
	struct kerr e = { 0 };
	int r;

	if (in->failed || in->configured || in->service.stopping)
		return;
	in->configured = true;
	init_watch(in);
	r = command_decode(&in->command, payload, len, &e);
	if (r == 0) {
		identity_set(&in->command);
		r = agent_up(in, &e);
	}
	if (r < 0)
		init_fail(in, e.msg);
}

static void on_shutdown(struct link *l, uint32_t grace_ms)
{
	struct init *in = container_of(l, struct init, link);

	log_debug("SHUTDOWN, grace %u ms", grace_ms);
	init_stop(in, grace_ms);
}

static void on_welcome(struct link *l, uint64_t time_ns)
{
	(void)l;
	clock_follow(time_ns);
}

static void on_signal(struct link *l, int signo)
{
	agent_signal(&container_of(l, struct init, link)->agent, signo);
}

static void on_up(struct link *l)
{
	log_debug("connected to the host");
	init_watch(container_of(l, struct init, link));
}

static void on_lost(struct link *l, int err)
{
	log_warn("control stream lost (%s); dialling again",
		err ? strerror(-err) : "closed by the host");
	init_watch(container_of(l, struct init, link));
}

static const struct link_ops link_ops = {
	.config = on_config,
	.welcome = on_welcome,
	.signal = on_signal,
	.up = on_up,
	.shutdown = on_shutdown,
	.lost = on_lost,
};

static void on_deadline(struct loop_timer *t)
{
	struct init *in = container_of(t, struct init, deadline);

	if (!in->configured && !in->failed) {
		init_fail(in, "no CONFIG came from the host");
		return;
	}
	init_stop(in, 0);
}

static void on_childless(struct reaper *r)
{
	shutdown_childless(&container_of(r, struct init, reaper)->shutdown);
}

/* A console for messages, whatever the kernel gave us. */
static void console_open(void)
{
	int fd;

	if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
		return;
	(void)mkdir("/dev", 0755);
	(void)mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=755");
	fd = open("/dev/console", O_RDWR | O_NOCTTY);
	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < STDERR_FILENO)
		fd = dup(fd);
}

static void protect(void)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "-1000", 5);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)reboot(RB_DISABLE_CAD);
}

/* Everything up to the host's word; the agent starts when CONFIG comes. */
static int init_boot(struct init *in, struct kerr *e)
{
	char device[DISK_PATH_MAX];
	int r;

	r = mounts_early(e);
	if (r < 0)
		return r;
	protect();
	r = modules_load("/modules.list", e);
	if (r < 0)
		return r;
	log_debug("modules are loaded");
	r = vsock_probe(e);
	if (r < 0)
		return r;
	in->dialling = true;
	link_start(&in->link);
	r = disk_wait(DISK_ROOTFS, DISK_MS, device, e);
	if (r == 0)
		r = mounts_root(device, e);
	if (r == 0)
		r = mounts_enter(e);
	log_debug("root filesystem: %s", r == 0 ? device : e->msg);
	return r;
}

static int init_prepare(struct init *in, struct kerr *e)
{
	int r = loop_new(&in->loop, e);

	if (r < 0)
		return r;
	link_init(&in->link, in->loop, &link_ops, vsock_dial_host);
	in->deadline = (struct loop_timer){ .fn = on_deadline, .w = { .fd = -1 } };
	agent_init(&in->agent, in->loop, &agent_ops, vsock_dial_host);
	service_init(&in->service, in->loop, &in->reaper, &in->command, &in->agent);
	shutdown_init(&in->shutdown, in->loop, &in->reaper);
	r = reaper_start(&in->reaper, in->loop, e);
	in->reaper.childless = on_childless;
	return r;
}

/* All processes have ended: lets the last output leave, and closes the disk. */
static void init_finish(struct init *in)
{
	uint64_t end = clock_mono_ns() + DRAIN_MS * CLOCK_NS_PER_MS;
	struct kerr e = { 0 };

	while (!agent_quiet(&in->agent) && clock_mono_ns() < end) {
		if (loop_step(in->loop, 50, &e) < 0)
			break;
	}
	agent_log_end(&in->agent);
	if (mounts_finish(in->state_mounted, &e) < 0) {
		log_error("%s", e.msg);
		link_error(&in->link, e.msg);
	}
	link_bye(&in->link);
}

int main(void)
{
	static const char hello[] = "kosvm-init: starting\n";
	struct init *in = &the_init;
	struct kerr e = { 0 };
	int r;

	if (getpid() != 1) {
		static const char not_here[] =
			"kosvm-init is the first process of a kosvm guest and of no other system\n";

		(void)!write(STDERR_FILENO, not_here, sizeof(not_here) - 1);
		return 1;
	}
	console_open();
	(void)!write(STDERR_FILENO, hello, sizeof(hello) - 1);
	log_init("kosvm-init", log_level_from_env(LOG_LEVEL_WARN));
	(void)shutdown_catch_faults(&in->link.chan.fd);
	r = init_prepare(in, &e);
	if (r == 0) {
		r = init_boot(in, &e);
		if (r < 0) {
			init_fail(in, e.msg);
			if (!in->dialling) /* nobody will ever hear of it */
				shutdown_power_off();
		}
		r = loop_run(in->loop, &e);
	}
	if (r < 0)
		init_fail(in, e.msg);
	else
		init_finish(in);
	shutdown_power_off();
}
