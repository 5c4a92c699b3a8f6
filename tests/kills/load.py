"""The mixed workload: each worker has agents of its own and knows what was acknowledged of them."""
import os
import random
import threading
import time

from host import Failure


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
    def __init__(self, number, seed, host, model, gate, cast, manifests, names):
        super().__init__(daemon=True, name="worker %d" % number)
        self.random = random.Random("%d worker %d" % (seed, number))
        self.host, self.model, self.gate = host, model, gate
        self.cast, self.manifests, self.names = cast, manifests, names
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
            choice = [self.execute] * 3 + [self.stop] * 2 + [self.restart, self.look, self.read_log, self.remove_by_force]
            if self.cast.real:
                choice += [self.copy] + ([self.keep, self.keep] if "state" in x.spec else [])
            self.random.choice(choice)(x)
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
        found = self.host.vmms_of(x.name) if self.cast.real else self.host.vmms_named(x.name)
        if len(found) == 1:
            x.vmm = found[0]

    # ---- operations ----

    def begin(self, x, kind=None):
        kind = kind or self.random.choice(list(self.cast.kinds))
        x.begin()
        x.kind, x.want = kind, "run"
        r = self.host.kosvm("run", "-d", "--name", x.name, self.manifests[kind])
        if self.done(x, r, True):
            self.remember_vmm(x)

    def launch(self, x):
        x.begin()
        x.want = "run"
        if self.done(x, self.host.kosvm("start", x.name), True):
            self.remember_vmm(x)

    def restart(self, x):
        if "kill_only" in x.spec:
            return
        x.begin()
        if self.done(x, self.host.kosvm("restart", *self.random.choice([[], ["-t", "100ms"]]), x.name), True):
            self.remember_vmm(x)

    def stop(self, x):
        how = self.random.choice([[], [], ["-t", "100ms"], ["--kill"]])
        if "kill_only" in x.spec:
            how = ["--kill"]
        if self.done(x, self.host.kosvm("stop", *how, x.name), True):
            x.want = "stop"

    def remove(self, x):
        if self.done(x, self.host.kosvm("rm", x.name), True):
            x.is_no_more()

    def remove_by_force(self, x):
        if self.done(x, self.host.kosvm("rm", "--force", x.name), True):
            x.is_no_more()

    def execute(self, x):
        token = "%08x" % self.random.getrandbits(32)
        code = self.random.choice([0, 0, 7])
        script = "echo out-%s; echo err-%s >&2; %sexit %d" % (token, token, self.random.choice(self.cast.pause), code)
        r = self.host.kosvm("exec", x.name, "sh", "-c", script)
        if r.code == code:
            if r.out != "out-%s\n" % token or "err-%s\n" % token not in r.err:
                raise Failure("exec gave the right code and not the right output: %r %r" % (r.out, r.err))
            r.code = 0
        elif r.code == 0:
            raise Failure("exec gave code 0 instead of %d" % code)
        self.done(x, r, False)

    def keep(self, x):
        """What was synced in the guest is there in its next lives, however the one before ended."""
        if x.kept is not None:
            r = self.host.kosvm("exec", x.name, "cat", "/state/kept")
            if self.done(x, r, False) and r.out != x.kept + "\n":
                raise Failure("%s kept %r, and now it is %r" % (x, x.kept, r.out))
            return
        token = "%08x" % self.random.getrandbits(32)
        if self.done(x, self.host.kosvm("exec", x.name, "sh", "-c", "echo %s >/state/kept && sync" % token), False):
            x.kept = token

    def copy(self, x):
        """There and back again."""
        token = "%08x" % self.random.getrandbits(32)
        there, here, back = "/tmp/" + token, *(os.path.join(self.host.work, n % token) for n in ("copy.%s", "back.%s"))
        content = self.random.randbytes(self.random.choice([0, 1000, 300000]))
        with open(here, "wb") as f:
            f.write(content)
        try:
            if not self.done(x, self.host.kosvm("cp", here, "%s:%s" % (x.name, there)), False):
                return
            if not self.done(x, self.host.kosvm("cp", "%s:%s" % (x.name, there), back), False):
                return
            with open(back, "rb") as f:
                if f.read() != content:
                    raise Failure("%s: %d bytes came back as others from a copy" % (x, len(content)))
        finally:
            for path in here, back:
                if os.path.exists(path):
                    os.unlink(path)
        self.done(x, self.host.kosvm("exec", x.name, "rm", there), False)

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
