"""What must be true of processes, files, database and logs while no request is on its way."""
import glob
import os
import re
import sqlite3
import time

from host import Failure, read_text, stat_fields
from model import read_records

STATE_FILES = re.compile(r"kosvmd\.(lock|db|db-wal|db-shm|db-journal|db-reserve)|images|keys|agents")
RUN_FILES = re.compile(r"kosvmd\.(lock|sock|fds)")
AGENT_FILES = re.compile(r"state\.img|agent\.log|agent\.log\.1|console\.log|vmm\.log|vmm\.end|vmm\.sock")
LINE = re.compile(r"([0-9a-f]{8}) (out|err|end) (\d+) ?-*$")


def fail_if(wrong, what):
    if wrong:
        raise Failure("%s: %s" % (what, ", ".join(str(w) for w in wrong)))


def ticks(pid):
    return sum(int(f) for f in stat_fields(pid)[11:13])


class Checks:
    """Each method is one look; the first failure of its kind is kept, and how often it was looked."""

    def __init__(self, host, cast):
        self.host, self.cast = host, cast
        self.seen_paused = 0
        self.looks, self.failures = {}, {}
        self.images = set(os.listdir(os.path.join(host.state, "images")))
        self.mounts = read_text("/proc/self/mountinfo")
        self.lines = self.acknowledged = 0

    def look(self, name, function, *args):
        self.looks[name] = self.looks.get(name, 0) + 1
        try:
            return function(*args)
        except Failure as e:
            self.failures.setdefault(name, str(e))
            return None

    # ---- processes ----

    def processes(self, listed, vmms):
        dirs = {self.host.directory_of(o) for o in listed.values() if o["state"] == "running"}
        fail_if(sorted(set(vmms) - dirs), "VMMs of agents that do not run")
        known = {pid for all_of in vmms.values() for pid, _ in all_of}
        for attempt in range(50):
            self.host.reap()
            serving = self.host.kosvmd_pids()
            strange = [c for c in self.host.children() if c[3] != self.host.session and c[1] != "Z"
                       and c[0] not in known and c[0] not in serving]
            strange += [("child of kosvmd", c) for pid in serving for c in self.children_of(pid) if c not in known]
            if not strange and len(serving) == 1 and not self.host.crashes:
                return
            time.sleep(0.1)  # a worker that is just being reaped, a second kosvmd that is just being refused
        fail_if(strange, "orphans")
        fail_if(self.host.crashes, "crashed")
        raise Failure("%d kosvmd instead of one: %s" % (len(serving), serving))

    @staticmethod
    def children_of(pid):
        return [int(p) for p in read_text("/proc/%d/task/%d/children" % (pid, pid)).split()]

    def descriptors(self, expected, exactly):
        """Of kosvmd with no agent running; it may keep none for those that are gone."""
        pid = self.host.kosvmd_pids()[0]
        for attempt in range(50):
            found = sorted(os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid))
            if expected is None or len(found) == expected or (not exactly and len(found) < expected):
                return len(found)
            time.sleep(0.1)  # a client's connection that is just being closed
        raise Failure("kosvmd has %d descriptors instead of %d: %s" % (len(found), expected, found))

    # ---- pauses ----

    def paused(self):
        """They come at any moment: looked at until both words agree."""
        for attempt in range(30):
            listed = self.host.ps()
            wrong = self.wrong_pauses(listed)
            if not wrong:
                self.seen_paused += sum(bool(o["paused"]) for o in listed.values())
                return
            time.sleep(0.1)
        fail_if(wrong, "paused or not")

    def wrong_pauses(self, listed):
        """A stand-in shows it in its name; a real VMM that is paused uses no processor."""
        vmms = {o["name"]: (o["paused"], vmm[0]) for o in listed.values() if o["state"] == "running"
                for vmm in self.host.vmms().get(self.host.directory_of(o), [])}
        if not self.cast.real:
            said = {n: (p, read_text("/proc/%d/comm" % pid).strip()) for n, (p, pid) in vmms.items()}
            return ["kosvmd says %r and its VMM %r" % s for s in said.values() if s[1] and bool(s[0]) != s[1].endswith(" paused")]
        still = {n: pid for n, (p, pid) in vmms.items() if p}
        before = {n: ticks(pid) for n, pid in still.items()}
        time.sleep(0.5 if still else 0)
        return ["%s used %d ticks" % (n, ticks(pid) - before[n]) for n, pid in still.items() if ticks(pid) - before[n] > 2]

    # ---- files ----

    def files(self, listed):
        host = self.host
        fail_if([n for n in os.listdir(host.state) if not STATE_FILES.fullmatch(n)], "left in the state directory")
        fail_if([n for n in os.listdir(host.run_dir) if not RUN_FILES.fullmatch(n)], "left in the run directory")
        fail_if(set(os.listdir(os.path.join(host.state, "images"))) ^ self.images, "other images than before")
        dirs = {host.directory_of(o): o for o in listed.values()}
        fail_if(set(os.listdir(host.agents)) ^ set(dirs), "directories and agents differ")
        for name, o in dirs.items():
            found = os.listdir(os.path.join(host.agents, name))
            fail_if([n for n in found if not AGENT_FILES.fullmatch(n)], "left in the directory of %s" % o["name"])
            if o["state"] != "running" and "vmm.sock" in found:
                raise Failure("%s is %s and has a vmm.sock" % (o["name"], o["state"]))
        if read_text("/proc/self/mountinfo") != self.mounts:
            raise Failure("other mounts than before")

    def cgroups(self):
        """kosvmd stays where it is; each VMM is in one of its agent's, and there is no other. Without controllers there is none."""
        own = read_text("/proc/self/cgroup")
        fail_if([p for p in self.host.processes("kosvmd") if stat_fields(p) and read_text("/proc/%d/cgroup" % p) not in ("", own)], "kosvmd moved")
        there = "/sys/fs/cgroup/cgroup.controllers"
        groups = os.path.exists(there) and "cpu" in read_text(there).split()
        for attempt in range(50):
            wrong = self.wrong_cgroups(own, groups)
            if not wrong:
                return
            time.sleep(0.1)  # one that is just ending
        fail_if(wrong, "in a wrong cgroup, or left over")

    def wrong_cgroups(self, own, groups):
        vmms = {(d, pid): read_text("/proc/%d/cgroup" % pid) for d, all_of in self.host.vmms().items() for pid, _ in all_of}
        if not groups:
            return [v for v, there in vmms.items() if there not in ("", own)]
        made = sorted(os.path.basename(g) for g in glob.glob("/sys/fs/cgroup/kosvm/agents-*/*") if os.path.isdir(g))
        strays = [v for v, there in vmms.items() if there and not re.fullmatch("0::/kosvm/agents-[0-9a-f]+-[0-9a-f]+/%s\n" % v[0], there)]
        return strays or ([made, sorted(vmms)] if made != sorted({d for d, _ in vmms}) else [])

    # ---- database ----

    def database(self, vmms):
        db = sqlite3.connect("file:%s?mode=ro" % os.path.join(self.host.state, "kosvmd.db"), uri=True, timeout=10)
        try:
            self.check_database(db, vmms)
        except sqlite3.Error as e:
            raise Failure("database: %s" % e) from e
        finally:
            db.close()

    @staticmethod
    def check_database(db, vmms):
        answer = db.execute("PRAGMA integrity_check").fetchall()
        if answer != [("ok",)]:
            raise Failure("integrity_check: %s" % answer)
        fail_if(db.execute("PRAGMA foreign_key_check").fetchall(), "foreign_key_check")
        states = dict(db.execute("SELECT id, state FROM agents"))
        last = {}
        for agent, old, event, new in db.execute("SELECT agent, from_state, event, to_state FROM transitions ORDER BY seq"):
            if agent in states and old and old != last.get(agent, old):
                raise Failure("agent %s moved from %s by %s, and was %s" % (agent, old, event, last[agent]))
            last[agent] = new
        fail_if([(a, s, last[a]) for a, s in states.items() if a in last and last[a] != s], "state and last move differ")
        if db.execute("PRAGMA table_info(boots)").fetchall():
            Checks.check_boots(db, states, vmms)

    @staticmethod
    def check_boots(db, states, vmms):
        seen = {}
        for agent, generation, ended, pid, start in db.execute(
                "SELECT agent, generation, ended_ns, pid, pid_start FROM boots ORDER BY agent, generation"):
            if agent in seen and not seen[agent][1]:
                raise Failure("agent %s: generation %d was begun before %d had an end" % (agent, generation, seen[agent][0]))
            if agent in seen and generation <= seen[agent][0]:
                raise Failure("agent %s: generation %d after %d" % (agent, generation, seen[agent][0]))
            seen[agent] = (generation, ended, (pid, start))
        for agent, generation in db.execute("SELECT id, generation FROM agents"):
            last = seen.get(agent)
            if last and last[0] > generation:
                raise Failure("agent %s: generation %d, and there was a boot %d" % (agent, generation, last[0]))
            if states[agent] == "running" and (not last or last[1] or [last[2]] != vmms.get(str(agent))):
                raise Failure("agent %s runs as %s, and its last boot is %s" % (agent, vmms.get(str(agent)), last))
            if states[agent] != "running" and last and not last[1]:
                raise Failure("agent %s is %s, and its boot %d has no end" % (agent, states[agent], last[0]))

    # ---- logs ----

    def logs(self, listed):
        for o in listed.values():
            directory = os.path.join(self.host.agents, self.host.directory_of(o))
            # What the guest was told to be on disk, before looking whether it is.
            acked = dict((m[0], (int(m[1]), int(m[2]))) for m in re.findall(
                r"^acked ([0-9a-f]{8}) (\d+) (\d+)$", read_text(os.path.join(directory, "console.log")), re.M))
            last = self.read_lines(o["name"], directory)
            self.acknowledged += len(acked)
            for tag, (out, err) in acked.items():
                have = last.get((tag, "out"), 0), last.get((tag, "err"), 0)
                if have[0] < out or have[1] < err:
                    raise Failure("%s: acknowledged up to %s, in the log up to %s" % (o["name"], (out, err), have))

    def said(self, o):
        """A real guest tells what its agent has written; all of it comes to the log."""
        r = self.host.kosvm("exec", o["name"], "cat", "/tmp/said")
        if r.code != 0:
            raise Failure("%s, while all is quiet" % r)
        tag, out, err = r.out.split()
        directory = os.path.join(self.host.agents, self.host.directory_of(o))
        end = time.monotonic() + 30
        while True:
            last = self.read_lines(o["name"], directory)
            have = last.get((tag, "out"), 0), last.get((tag, "err"), 0)
            if have[0] >= int(out) and have[1] >= int(err):
                break
            if time.monotonic() > end:
                raise Failure("%s has written up to %s, in the log up to %s" % (o["name"], (out, err), have))
            time.sleep(0.2)
        self.acknowledged += 1

    def read_lines(self, name, directory):
        """Each number comes after the one before it; one that was sent again may be there again."""
        last = {}
        rotated = os.path.exists(os.path.join(directory, "agent.log.1"))
        for stream, text in read_records(directory):
            m = LINE.search(text)
            if not m:
                continue  # a line that was cut off by the end of its VM
            key = m[1], "err" if m[2] == "err" else "out"
            number = int(m[3])
            if (stream == "stderr") != (m[2] == "err"):
                raise Failure("%s: %r is in %s" % (name, text, stream))
            if number > last.get(key, number - 1 if rotated else 0) + 1:
                raise Failure("%s: %r comes after line %d" % (name, text, last.get(key, 0)))
            last[key] = max(number, last.get(key, 0))
            self.lines += 1
        return last
