"""A kosvm installed below a directory of its own, seen from outside: its command, its processes, its files."""
import ctypes
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time

PATIENCE = 120  # seconds for any one command
PR_SET_CHILD_SUBREAPER = 36


class Failure(Exception):
    """Something that must be true is not."""


class Result:
    def __init__(self, argv, code, out, err, begun, ended):
        self.argv, self.code, self.out, self.err = argv, code, out, err
        self.begun, self.ended = begun, ended

    def __str__(self):
        return "kosvm %s: code %d: %s" % (" ".join(self.argv), self.code, self.err.strip()[-300:])


def read_text(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def stat_fields(pid):
    """proc(5): state, ppid, pgrp, session, ... of /proc/PID/stat; [] when it is gone."""
    text = read_text("/proc/%d/stat" % pid)
    return text.rpartition(")")[2].split() if text else []


class Host:
    def __init__(self, prefix, work):
        self.prefix, self.work = prefix, work
        self.state, self.run_dir = os.path.join(work, "state"), os.path.join(work, "run")
        self.agents = os.path.join(self.state, "agents")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("KOSVM_")}
        self.env.update(KOSVM_STATE=self.state, KOSVM_RUN=self.run_dir, LC_ALL="C.UTF-8")
        self.log = os.path.join(work, "kosvmd.log")
        self.session = os.getsid(0)
        self.power = threading.Lock()  # held while the machine is off: no command begins
        self.numbers = {}  # of rows, by the id that people see
        self.crashes = []  # of kosvmd and its VMMs, by themselves
        self.kosvmd, self.deaths = None, {}  # the last that was started here; how foster children ended
        # Whoever loses its parent becomes a child of this process: no orphan goes unseen.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")

    # ---- the command ----

    def kosvm(self, *argv):
        """Runs it to its end; never fails."""
        begun = time.monotonic()
        # Files, not pipes: a kosvmd that it starts must not keep us waiting for their end.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with self.power:
                process = subprocess.Popen([os.path.join(self.prefix, "bin/kosvm"), *argv], stdin=subprocess.DEVNULL,
                                           stdout=out, stderr=err, env=self.env, cwd=self.work)
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = None
            out.seek(0)
            err.seek(0)
            result = Result(argv, code, out.read().decode(errors="replace"), err.read().decode(errors="replace"), begun,
                            time.monotonic())
        if code is None:
            raise Failure("kosvm %s: no answer within %d s" % (" ".join(argv), PATIENCE))
        return result

    def good(self, *argv):
        r = self.kosvm(*argv)
        if r.code != 0:
            raise Failure(str(r))
        return r.out.strip()

    def ps(self):
        """All agents by name, as kosvmd has them."""
        return self.parse_ps(self.good("ps", "-a", "--format", "json"))

    @staticmethod
    def parse_ps(text):
        found = {}
        for line in text.splitlines():
            item = json.loads(line)
            for o in item if isinstance(item, list) else item.get("agents", [item]):
                found[o["name"]] = o
        return found

    # ---- kosvmd ----

    def start_kosvmd(self, **variables):
        """Starts one and waits until it serves. False when it did not come to that."""
        reader, writer = os.pipe()
        with open(self.log, "a") as log:
            process = subprocess.Popen([os.path.join(self.prefix, "bin/kosvmd"), "--ready-fd", str(writer)],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writer],
                                       env=dict(self.env, **variables), cwd="/", start_new_session=True)
        os.close(writer)
        with os.fdopen(reader, "rb") as f:
            word = f.read(1)
        self.kosvmd, process.returncode = process.pid, 0  # whoever it is by then, reap() waits for it
        return word == b"1"

    def spawn_kosvmd(self):
        """Starts one and does not wait for anything."""
        with open(self.log, "a") as log:
            process = subprocess.Popen([os.path.join(self.prefix, "bin/kosvmd")], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, env=self.env, cwd="/", start_new_session=True)
        process.returncode = 0
        return process.pid

    def was_killed(self):
        """The last kosvmd that was started here died by a signal."""
        self.reap()
        return os.WIFSIGNALED(self.deaths.get(self.kosvmd, 0))

    def kosvmd_pids(self):
        """Those that serve or are about to: workers are their children and no kosvmd of their own."""
        pids = self.processes("kosvmd")
        return [p for p in pids if (stat_fields(p) or ["", "0"])[1] not in map(str, pids)]

    # ---- processes ----

    def processes(self, name):
        """Pids of what runs the installed program of that name."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                exe = os.readlink("/proc/%s/exe" % entry)
            except OSError:
                continue
            if exe.startswith(self.prefix + "/") and os.path.basename(exe).removesuffix(" (deleted)") == name:
                if stat_fields(int(entry))[:1] not in ([], ["Z"]):
                    found.append(int(entry))
        return sorted(found)

    def vmms(self):
        """Pid and start time of each VMM by the directory of its agent: its standard error is vmm.log there."""
        found = {}
        for pid in self.processes("kosvm-vmm"):
            try:
                where = os.path.dirname(os.readlink("/proc/%d/fd/2" % pid).removesuffix(" (deleted)"))
            except OSError:
                continue
            fields = stat_fields(pid)
            if fields and fields[0] != "Z" and os.path.dirname(where) == self.agents:
                found.setdefault(os.path.basename(where), []).append((pid, int(fields[19])))
        return found

    def vmms_named(self, name):
        """Those whose guest has taken that host name: the stand-in names its process so."""
        return [v for all_of in self.vmms().values() for v in all_of if read_text("/proc/%d/comm" % v[0]).split()[:1] == [name]]

    def vmms_of(self, name):
        """Those below the directory of the agent of that name."""
        names = self.names_by_directory()
        return [v for directory, all_of in self.vmms().items() for v in all_of if names.get(directory) == name]

    def directory_of(self, o):
        """The name of an agent's directory: the number of its row, which is never used twice."""
        key = str(o["id"])
        if key not in self.numbers:
            self.numbers.update((str(r.get("uid", r["id"])), str(r["id"])) for r in self.rows())
        return self.numbers.get(key, key)

    def rows(self):
        """What the database has of each agent: columns that this version knows."""
        db = sqlite3.connect("file:%s?mode=ro" % os.path.join(self.state, "kosvmd.db"), uri=True, timeout=10)
        db.row_factory = sqlite3.Row
        try:
            return [dict(r) for r in db.execute("SELECT * FROM agents")]
        finally:
            db.close()

    def names_by_directory(self):
        return {str(r["id"]): r["name"] for r in self.rows()}

    def children(self):
        """Pid, state, command and session of our own children."""
        found = []
        for entry in os.listdir("/proc"):
            fields = stat_fields(int(entry)) if entry.isdigit() else []
            if fields and int(fields[1]) == os.getpid():
                found.append((int(entry), fields[0], read_text("/proc/%s/comm" % entry).strip(), int(fields[3])))
        return found

    def reap(self):
        """Waits for those that died as our foster children: the system's first process would. Ours are in our session."""
        for pid, state, command, session in self.children():
            if state == "Z" and session != self.session:
                try:
                    status = self.deaths[pid] = os.waitpid(pid, os.WNOHANG)[1]
                except ChildProcessError:
                    continue
                signo = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                # Whom kosvmd left behind are VMMs: agents of the kind "crashes" abort.
                if signo not in (0, signal.SIGKILL, 0 if command == "kosvmd" else signal.SIGABRT):
                    self.crashes.append("%s %d by signal %d" % (command, pid, signo))

    def kill(self, pid, signo=signal.SIGKILL):
        """Signals, and waits until it is gone."""
        try:
            os.kill(pid, signo)
        except ProcessLookupError:
            return
        end = time.monotonic() + PATIENCE
        while True:
            fields = stat_fields(pid)
            if not fields or fields[0] in "ZX":
                return
            if time.monotonic() > end:
                raise Failure("process %d does not end by signal %d" % (pid, signo))
            time.sleep(0.002)
