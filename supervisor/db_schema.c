/*
 * The tables, as the steps that made them. A step is never changed once a
 * release has it: databases in the field came by it.
 */
#include <base/cleanup.h>

#include "db_private.h"

static const char step_1[] = "CREATE TABLE agents ("
			     "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
			     "  name TEXT NOT NULL UNIQUE,"
			     "  state TEXT NOT NULL,"
			     "  reason TEXT NOT NULL DEFAULT '',"
			     "  cid INTEGER NOT NULL UNIQUE,"
			     "  exit_code INTEGER NOT NULL DEFAULT -1,"
			     "  exit_signal INTEGER NOT NULL DEFAULT 0,"
			     "  created_ns INTEGER NOT NULL,"
			     "  started_ns INTEGER NOT NULL DEFAULT 0,"
			     "  ended_ns INTEGER NOT NULL DEFAULT 0,"
			     "  signer TEXT NOT NULL,"
			     "  manifest BLOB NOT NULL,"
			     "  signature BLOB NOT NULL);"
			     "CREATE TABLE transitions ("
			     "  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
			     "  agent INTEGER NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
			     "  time_ns INTEGER NOT NULL,"
			     "  from_state TEXT NOT NULL,"
			     "  event TEXT NOT NULL,"
			     "  to_state TEXT NOT NULL,"
			     "  reason TEXT NOT NULL);"
			     "CREATE INDEX transitions_agent ON transitions(agent);"
			     "PRAGMA user_version = 1;";

static const char step_2[] =
	"ALTER TABLE agents ADD COLUMN uid TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE agents ADD COLUMN launch TEXT NOT NULL DEFAULT '{}';"
	"ALTER TABLE agents ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE agents ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE agents ADD COLUMN restart_at_ns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE agents ADD COLUMN paused TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE agents ADD COLUMN provisional INTEGER NOT NULL DEFAULT 0;"
	"UPDATE agents SET uid = lower(hex(randomblob(16)));"
	"UPDATE agents SET generation = (SELECT count(*) FROM transitions t "
	"  WHERE t.agent = agents.id AND t.event = 'start');"
	"CREATE UNIQUE INDEX agents_uid ON agents(uid);"
	"ALTER TABLE transitions ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX transitions_time ON transitions(time_ns);"
	"CREATE TABLE boots ("
	"  agent INTEGER NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
	"  generation INTEGER NOT NULL,"
	"  pid INTEGER NOT NULL,"
	"  pid_start INTEGER NOT NULL,"
	"  boot_id BLOB NOT NULL,"
	"  host_boot_id TEXT NOT NULL,"
	"  started_ns INTEGER NOT NULL,"
	"  ended_ns INTEGER NOT NULL DEFAULT 0,"
	"  exit_code INTEGER NOT NULL DEFAULT -1,"
	"  exit_signal INTEGER NOT NULL DEFAULT 0,"
	"  reason TEXT NOT NULL DEFAULT '',"
	"  PRIMARY KEY (agent, generation)) WITHOUT ROWID;"
	"CREATE TABLE panic ("
	"  scope TEXT PRIMARY KEY,"
	"  action TEXT NOT NULL,"
	"  reason TEXT NOT NULL,"
	"  since_ns INTEGER NOT NULL) WITHOUT ROWID;"
	"PRAGMA user_version = 2;";

static const char step_3[] = "ALTER TABLE agents ADD COLUMN host_uid INTEGER;"
			     "ALTER TABLE agents ADD COLUMN overrides TEXT NOT NULL DEFAULT '{}';"
			     /* As many NULLs as there are agents without one of their own. */
			     "CREATE UNIQUE INDEX agents_host_uid ON agents(host_uid);"
			     "PRAGMA user_version = 3;";

static const char *const steps[] = { step_1, step_2, step_3 };
_Static_assert(array_size(steps) == DB_SCHEMA_VERSION, "a step for each version");

int db_migrate(struct db *db, int64_t version, struct kerr *e)
{
	int r = db_begin(db, e);

	if (r < 0)
		return r;
	for (int64_t i = version; r == 0 && i < DB_SCHEMA_VERSION; i++)
		r = db_exec(db, steps[i], "schema", e);
	return db_end(db, r, e);
}
