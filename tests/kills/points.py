"""kosvmd dies in front of each single thing it does, counted, while it works on one request (tests/support/die_at.c)."""
import os
import signal
import time

from host import Failure
from load import Worker

MOST = 1000  # a request that does more is none of ours
SOME = 90    # of these a few are tried when not all are


class Points:
    def __init__(self, driver, library, manifests, names):
        self.driver, self.host, self.model = driver, driver.host, driver.model
        self.library, self.names = library, names
        self.armed = os.path.join(self.host.work, "armed")
        self.worker = Worker(99, driver.options.seed, self.host, self.model, None, driver.cast, manifests, names)
        self.acknowledged = False  # the panic, or its end

    # ---- one agent in the state that is asked for ----

    def absent(self, x, kind):
        if x.kind is not None:
            self.worker.remove_by_force(x)
        x.wanted_kind = kind

    def running(self, x, kind):
        if x.kind != kind:
            self.absent(x, kind)
            self.begin(x)
        elif x.want != "run":
            self.worker.launch(x)

    def stopped(self, x, kind):
        self.running(x, kind)
        self.worker.stop(x)

    def begin(self, x):
        self.worker.begin(x, x.wanted_kind)

    # ---- what kosvmd works on when it dies ----

    def vmm_dies(self, x):
        self.driver.kill_vmm_of(x.name)
        self.wait()

    def ends_itself(self, x):
        self.begin(x)
        self.wait()

    def is_told_to_end(self, _):
        for pid in self.host.kosvmd_pids():
            os.kill(pid, signal.SIGTERM)
        self.wait(2)

    def frozen(self, x, kind):
        self.running(x, kind)
        self.host.good("panic", "--freeze", "--reason", "a test")

    def panics(self, _):
        self.acknowledged = self.host.kosvm("panic", "--freeze", "--reason", "a test").code == 0

    def calms_down(self, _):
        self.acknowledged = self.host.kosvm("unpanic").code == 0

    def end_panic(self, x, is_one):
        """A panic and its end are as true as they were acknowledged; then there is none."""
        if self.acknowledged:
            self.until_paused(x, "panic" if is_one else "")
        self.host.good("unpanic")
        self.until_paused(x, "")
        self.driver.look_at_all()

    def panic_before_attached(self):
        """A freeze loses nothing, also of a VMM that has not answered its new kosvmd yet."""
        x = self.model.agents[self.names[0]]
        self.running(x, "talks")
        self.driver.end_kosvmd(signal.SIGKILL)
        (vmm, _), = self.host.vmms_of(x.name)
        os.kill(vmm, signal.SIGSTOP)
        try:
            self.host.start_kosvmd()
            self.panics(x)
        finally:
            os.kill(vmm, signal.SIGCONT)
        self.model.back()
        self.driver.note = "a panic while a VMM that is found again has not answered"
        self.driver.look_at_all()
        self.end_panic(x, True)
        self.model.away_from()

    def until_paused(self, x, how):
        end = time.monotonic() + 5
        while (self.host.ps()[x.name]["paused"] or "") != how:
            if time.monotonic() > end:
                raise Failure("%s is not paused as %r: %s" % (x, how, self.host.ps()[x.name]))
            time.sleep(0.05)

    def wait(self, seconds=1.0):
        """Long enough for what follows by itself, or until kosvmd is dead."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.host.kosvmd_pids():
            time.sleep(0.02)

    def scenarios(self):
        w = self.worker
        return {
            "run": (self.absent, "disk", self.begin),
            "start": (self.stopped, "disk", w.launch),
            "stop": (self.running, "talks", w.stop),
            "rm": (self.stopped, "disk", w.remove),
            "rm --force": (self.running, "talks", w.remove_by_force),
            "exec": (self.running, "idle", w.execute),
            "an agent that ends": (self.absent, "leaves", self.ends_itself),
            "a VMM that dies": (self.running, "idle", self.vmm_dies),
            "a restart by policy": (self.running, "comes-back", self.vmm_dies),
            "a guest that hangs": (self.absent, "hangs", self.ends_itself),
            "panic": (self.running, "talks", self.panics),
            "unpanic": (self.frozen, "talks", self.calms_down),
            "SIGTERM": (self.running, "talks", self.is_told_to_end),
            "its own start": (self.running, "talks", None),
        }

    # ---- one death ----

    def arm(self, armed):
        if armed:
            with open(self.armed, "w"):
                pass
        elif os.path.exists(self.armed):
            os.unlink(self.armed)

    def start(self, number):
        return self.host.start_kosvmd(LD_PRELOAD=self.library, KOSVM_DIE_AT=str(number), KOSVM_DIE_ARMED=self.armed)

    def try_one(self, name, number):
        """True: kosvmd died."""
        prepare, kind, act = self.scenarios()[name]
        x = self.model.agents[self.names[0]]
        self.driver.end_kosvmd(signal.SIGKILL)
        if not self.start(number):
            raise Failure("kosvmd does not start")
        self.model.back()
        prepare(x, kind)
        self.model.away_from()
        if act:
            self.arm(True)
            act(x)
            time.sleep(0.03)
        else:
            self.driver.end_kosvmd(signal.SIGKILL)
            self.arm(True)
            self.start(number)
            self.wait(0.4)
        self.arm(False)
        died = self.host.was_killed()
        self.driver.count("death of kosvmd in front of a call: %s" % name if died else "work done without a death")
        self.driver.note = "death of kosvmd in front of call %d of: %s" % (number, name)
        self.host.start_kosvmd()
        self.model.back()
        self.driver.look_at_all()
        if name in ("panic", "unpanic"):
            self.end_panic(x, name == "panic")
        self.model.away_from()
        return died

    def try_some(self, name):
        """Two deaths: where it has not so many calls, one before."""
        for most in SOME, SOME // 3:
            number = self.driver.random.randrange(1, most)
            while not self.try_one(name, number):
                if number == 1:
                    raise Failure("%s: kosvmd did nothing that is counted" % name)
                number = self.driver.random.randrange(1, number)

    def run(self, every):
        """Each call of each scenario, or a few."""
        self.model.away_from()
        self.panic_before_attached()
        for name in self.driver.options.scenario or self.scenarios():
            print("  ... dies in front of calls of: %s" % name, flush=True)
            if every:
                for number in range(1, MOST):
                    if not self.try_one(name, number):
                        break
                else:
                    raise Failure("%s: more than %d calls" % (name, MOST))
            else:
                self.try_some(name)
        self.model.back()
