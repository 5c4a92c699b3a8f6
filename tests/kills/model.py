"""What must be true of the agents, from what kosvm acknowledged and what was done to it."""
import os
import re
import threading
import time

from host import Failure

FLUX = {"starting", "stopping", "purging", "sleeping", "waking"}
KILLED = r"signal 9"
# A process's status is for its parent: nobody can say how a VMM ended that an earlier kosvmd started.
UNKNOWN = KILLED + r"|not known|while kosvmd was away"
REBOOTED = r"the machine went down"
# A worker that kosvmd has just forked holds its listener until it has closed what is not its own: for so long in s whoever
# connects may be told that kosvmd ended, though it was killed before.
HELD = 0.5


class Expect:
    """One agent. Its worker changes it while the load runs, the driver only adds harm."""

    def __init__(self, name, kinds):
        self.name, self.kinds = name, kinds
        self.kind = None      # None: it does not exist
        self.want = "stop"    # or "run": what was acknowledged last
        self.doubt = False    # the last change was not acknowledged
        self.refused = False  # it may have ended by itself: its worker leaves it alone until all is quiet
        self.vmm = None       # (pid, start time) when it was last seen
        self.harm = []        # patterns of the reasons that what was done to its VMM may have
        self.identity = None  # id, generation, restarts and VMM when it was last seen
        self.kept = None      # what its state disk holds; None: not known

    def begin(self):
        """A new life is asked for."""
        self.vmm, self.harm = None, []

    def is_no_more(self):
        self.kind, self.doubt, self.refused, self.identity, self.kept = None, False, False, None, None
        self.begin()

    @property
    def spec(self):
        return self.kinds.get(self.kind, {})

    @property
    def is_clear(self):
        """What to expect of it is known."""
        return not self.doubt and not self.refused

    @property
    def policy(self):
        return "restart" in self.spec.get("lifecycle", {})

    @property
    def may_have_ended(self):
        """An operation on it may be refused without anybody's fault."""
        return bool(self.harm) or "ends" in self.spec or "unsteady" in self.spec

    def __str__(self):
        return "%s (%s, %s%s%s, VMM %s)" % (self.name, self.kind, self.want, ", in doubt" if self.doubt else "",
                                            ", harmed: %s" % self.harm if self.harm else "", self.vmm)


class Model:
    def __init__(self, host, names, cast):
        self.host, self.patience = host, cast.settle
        self.agents = {n: Expect(n, cast.kinds) for n in names}
        self.lock = threading.Lock()
        self.disturbed = []  # (from, until) when kosvmd was not there, monotonic

    # ---- disturbances ----

    def away_from(self):
        with self.lock:
            self.disturbed.append([time.monotonic(), None])

    def back(self):
        with self.lock:
            self.disturbed[-1][1] = time.monotonic()

    def was_disturbed(self, begun, ended):
        """A kosvmd died in that time. One that had not come back before is no excuse: the command starts one."""
        with self.lock:
            return any(begun <= a + 0.05 and a <= ended + 0.05 or a <= begun <= (b or ended) + HELD for a, b in self.disturbed)

    def harm(self, name, pattern):
        with self.lock:
            if name in self.agents:
                self.agents[name].harm.append(pattern)

    # ---- truth ----

    def directories(self, listed):
        """Agent by the name of its directory."""
        return {self.host.directory_of(o): o for o in listed.values()}

    def settle(self):
        """Waits until no agent moves; returns what ps says then."""
        end = time.monotonic() + self.patience
        while True:
            listed = self.host.ps()
            moving = [o for o in listed.values() if self.moves(o)]
            if not moving:
                return listed
            if time.monotonic() > end:
                raise Failure("still moving after %d s: %s" % (self.patience, ["%s %s %s" % (o["name"], o["state"], o["reason"])
                                                                        for o in moving]))
            time.sleep(0.05)

    def moves(self, o):
        """It is on its way somewhere, or will be without anybody's doing."""
        if o["state"] in FLUX or o.get("restart_at_ns"):
            return True
        spec = self.agents[o["name"]].spec if o["name"] in self.agents else {}
        age = time.time() - o["started_ns"] / 1e9
        return o["state"] == "running" and ("ends" in spec or age < spec.get("unsteady", 0))

    def check(self, listed, vmms):
        """Compares; takes what was in doubt for what it turned out to be."""
        wrong = []
        for name in sorted(set(listed) - set(self.agents)):
            wrong.append("agent %s is there and was never made" % name)
        for x in self.agents.values():
            o = listed.get(x.name)
            try:
                self.check_one(x, o, vmms.get(self.host.directory_of(o), []) if o else [])
            except Failure as e:
                wrong.append("%s: %s; kosvmd says: %s" % (x, e, o and {k: o.get(k) for k in (
                    "state", "reason", "pid", "generation", "restarts", "exit_code", "exit_signal")}))
        if wrong:
            raise Failure("; ".join(wrong))

    def check_one(self, x, o, vmms):
        if o is None:
            if x.kind is not None and not x.doubt:
                raise Failure("it is acknowledged and not there")
            x.is_no_more()
            return
        if x.kind is None:
            raise Failure("its removal was acknowledged and it is there")
        running = o["state"] == "running"
        if len(vmms) != (1 if running else 0):
            raise Failure("it is %s and has the VMMs %s" % (o["state"], vmms))
        if running and "pid" in o and o["pid"] != vmms[0][0]:
            raise Failure("pid %s, and its VMM is %d" % (o["pid"], vmms[0][0]))
        if not x.doubt:
            self.check_acknowledged(x, o, vmms)
        self.check_counts(x, o, vmms)
        x.want, x.doubt = ("run" if running else "stop"), False
        x.refused = False
        x.vmm, x.harm = (vmms[0] if running else None), []

    def check_acknowledged(self, x, o, vmms):
        state, reason = o["state"], o["reason"] or ""
        if x.want == "stop":
            if state not in ("stopped", "failed", "created"):
                raise Failure("its end was acknowledged")
            return
        if state == "running":
            if x.vmm and not x.harm and vmms[0] != x.vmm and "unsteady" not in x.spec:
                raise Failure("it has another VMM than before, and nobody touched the one before")
            if x.vmm and x.harm and vmms[0] != x.vmm and not x.policy:
                raise Failure("it was started again without a policy that says so")
            return
        if x.policy:
            raise Failure("its policy is to be restarted")
        ends = x.spec.get("ends")
        if ends and state == ends[0] and re.search(ends[2], reason) and ends[1] in (None, o["exit_code"]):
            return
        if not x.harm:
            raise Failure("nobody ended it")
        if state != "failed" or not any(re.search(p, reason) for p in x.harm):
            raise Failure("this is not what happened")

    def check_counts(self, x, o, vmms):
        """The generation is another one exactly when the VMM is."""
        now = {k: o[k] for k in ("id", "generation", "restarts") if k in o}
        now["vmm"] = vmms[0] if vmms else None
        before, x.identity = x.identity, now
        if now.get("restarts", 0) > (now.get("generation", 0) if x.policy else 0):
            raise Failure("it has that many restarts")
        if "generation" not in now or before is None or before["id"] != now["id"]:
            return
        more = now["generation"] - before["generation"]
        if more < 0:
            raise Failure("its generation went back from %d" % before["generation"])
        if now["vmm"] and before["vmm"] and (more == 0) != (now["vmm"] == before["vmm"]):
            raise Failure("it was generation %d with VMM %s" % (before["generation"], before["vmm"]))


def names_for(workers, each):
    return ["w%d-%d" % (w, i) for w in range(workers) for i in range(each)]


def read_records(directory):
    """The text of the agent's log, lines joined from their parts, as CRI readers do."""
    parts = {"stdout": "", "stderr": ""}
    for name in ("agent.log.1", "agent.log"):
        try:
            f = open(os.path.join(directory, name), errors="replace")
        except OSError:
            continue
        with f:
            for line in f:
                words = line.rstrip("\n").split(" ", 3)
                if len(words) < 4 or words[1] not in parts:
                    continue
                parts[words[1]] += words[3]
                if words[2] == "F":
                    yield words[1], parts[words[1]]
                    parts[words[1]] = ""
