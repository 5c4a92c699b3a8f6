#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/log.h>
#include <base/units.h>
#include <images/store.h>

#include "agent.h"
#include "tree.h"

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static bool known(struct sup *s, uint64_t id)
{
	struct agent *a;

	LIST_FOREACH(a, &s->agents, link)
	{
		if ((uint64_t)a->row.id == id)
			return true;
	}
	return false;
}

int sweep_directories(struct sup *s, struct kerr *e)
{
	_cleanup_(closedirp) DIR *d = NULL;
	_cleanup_close_ int fd = openat(s->agents_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	int64_t last;
	int r = db_agent_last_id(s->db, &last, e);

	if (r < 0)
		return r;
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return kerr_errno(e, errno, "agents: open");
	(void)steal_fd(&fd);
	while ((entry = readdir(d))) {
		struct kerr err = { 0 };
		uint64_t id;

		if (entry->d_name[0] == '.')
			continue;
		if (units_parse_u64(entry->d_name, INT64_MAX, &id) < 0 || id > (uint64_t)last) {
			log_warn("%s/agents/%s: not of this database: left as it is",
				s->paths.state_dir, entry->d_name);
			continue;
		}
		if (known(s, id))
			continue;
		log_warn("agents/%s: of an agent that was removed: swept", entry->d_name);
		if (tree_remove(s->agents_fd, entry->d_name, &err) < 0)
			log_error("%s", err.msg);
	}
	return 0;
}

void sweep_agent(struct agent *a)
{
	struct kerr err = { 0 };

	if (unlinkat(a->dirfd, VMM_SOCKET_NAME, 0) < 0 && errno != ENOENT)
		log_warn("agent %s: %s: %s", a->row.name, VMM_SOCKET_NAME, strerror(errno));
	if (store_clean(a->dirfd, &err) < 0)
		log_warn("agent %s: %s", a->row.name, err.msg);
}
