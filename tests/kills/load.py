"""The mixed workload: each worker has agents of its own and knows what was acknowledged of them."""
import random
import threading
import time

from host import Failure
from stage import KINDS


class Gate:
    """Lets the workers run, or holds all of them between two operations."""

    def __init__(self, workers):
        self.condition = threading.Condition()
        self.open, self.over, self.inside = False, False, 0

    def enter(self):
        with self.condition:
            self.condition.wait_for(lambda: self.open or self.over)
            if self.over:
                return False
            self.inside += 1
            return True

    def leave(self):
        with self.condition:
            self.inside -= 1
            self.condition.notify_all()

    def set(self, is_open, over=False):
        """Closing returns when nobody is inside any more."""
        with self.condition:
            self.open, self.over = is_open, over
            self.condition.notify_all()
            if not is_open:
                self.condition.wait_for(lambda: self.inside == 0)


class Worker(threading.Thread):
    def __init__(self, number, seed, host, model, gate, kinds, manifests, names):
        super().__init__(daemon=True, name="worker %d" % number)
        self.random = random.Random("%d worker %d" % (seed, number))
        self.host, self.model, self.gate = host, model, gate
        self.kinds, self.manifests, self.names = kinds, manifests, names
        self.failure = None
        self.counts = {}  # verb -> [acknowledged, in doubt, refused as it may be]

    def run(self):
        while self.gate.enter():
            try:
                if self.failure is None:
                    self.turn()
            except Failure as e:
                self.failure = str(e)
            except Exception as e:  # pylint: disable=broad-except # a mistake of the test's is a failure too
                self.failure = "%s: %r" % (self.name, e)
            finally:
                self.gate.leave()
            time.sleep(self.random.random() * 0.05)

    def turn(self):
        # What is in doubt is told apart when all is quiet; until then the worker is busy with its others.
        x = self.model.agents[self.random.choice([n for n in self.names if self.model.agents[n].is_clear] or self.names)]
        if not x.is_clear:
            self.look(x)
        elif x.kind is None:
            self.begin(x)
        elif x.want == "run":
            self.random.choice([self.execute, self.execute, self.execute, self.stop, self.stop, self.look, self.read_log,
                                self.remove_by_force])(x)
        else:
            self.random.choice([self.launch, self.launch, self.launch, self.remove, self.look, self.read_log])(x)

    # ---- outcomes ----

    def done(self, x, r, changes):
        """True: acknowledged. False: in doubt, or refused for a reason that there is. Else a failure."""
        count = self.counts.setdefault(r.argv[0], [0, 0, 0])
        if r.code == 0:
            count[0] += 1
            return True
        if self.model.was_disturbed(r.begun, r.ended):
            count[1] += 1
            x.doubt = x.doubt or changes
            return False
        if x.kind is not None and x.may_have_ended:
            count[2] += 1
            x.doubt, x.refused = x.doubt or changes, True
            return False
        raise Failure("%s (%s; kosvmd was there all the time, %.3f to %.3f)" % (r, x, r.begun, r.ended))

    def remember_vmm(self, x):
        """As the system sees it; ps is not asked."""
        found = self.host.vmms_named(x.name)
        if len(found) == 1:
            x.vmm = found[0]

    # ---- operations ----

    def begin(self, x, kind=None):
        kind = kind or self.random.choice(self.kinds)
        x.begin()
        x.kind, x.want = kind, "run"
        r = self.host.kosvm("run", "-d", self.manifests[x.name, kind])
        if self.done(x, r, True):
            self.remember_vmm(x)

    def launch(self, x):
        x.begin()
        x.want = "run"
        if self.done(x, self.host.kosvm("start", x.name), True):
            self.remember_vmm(x)

    def stop(self, x):
        how = self.random.choice([[], [], ["-t", "100ms"], ["--kill"]])
        if "kill_only" in KINDS[x.kind]:
            how = ["--kill"]
        if self.done(x, self.host.kosvm("stop", *how, x.name), True):
            x.want = "stop"

    def remove(self, x):
        if self.done(x, self.host.kosvm("rm", x.name), True):
            x.kind, x.identity = None, None
            x.begin()

    def remove_by_force(self, x):
        if self.done(x, self.host.kosvm("rm", "--force", x.name), True):
            x.kind, x.identity = None, None
            x.begin()

    def execute(self, x):
        token = "%08x" % self.random.getrandbits(32)
        code = self.random.choice([0, 0, 7])
        script = "echo out-%s; echo err-%s >&2; %sexit %d" % (token, token, self.random.choice(["", "sleep 0.1; "]), code)
        r = self.host.kosvm("exec", x.name, "sh", "-c", script)
        if r.code == code:
            if r.out != "out-%s\n" % token or "err-%s\n" % token not in r.err:
                raise Failure("exec gave the right code and not the right output: %r %r" % (r.out, r.err))
            r.code = 0
        elif r.code == 0:
            raise Failure("exec gave code 0 instead of %d" % code)
        self.done(x, r, False)

    def look(self, x):
        r = self.host.kosvm("ps", "-a", "--format", "json")
        if not self.done(x, r, False):
            return
        seen = self.host.parse_ps(r.out)
        for name in self.names:
            mine = self.model.agents[name]
            if not mine.doubt and (mine.kind is not None) != (name in seen):
                raise Failure("%s is %sin ps" % (mine, "" if name in seen else "not "))

    def read_log(self, x):
        self.done(x, self.host.kosvm("logs", x.name), False)
