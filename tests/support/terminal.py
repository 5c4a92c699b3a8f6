"""A terminal of its own for kosvm, and what runs the tests that use one. A test is a function that returns, or raises Failed."""
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

PATIENCE = 30 * int(os.environ.get("KOSVM_TIME_FACTOR", "1"))


class Failed(Exception):
    pass


class Terminal:
    def __init__(self, *argv, rows=33, cols=101, env=None):
        self.main, self.side = os.openpty()
        self.size(rows, cols)
        self.before = termios.tcgetattr(self.side)
        self.shown = b""

        def prepare():
            for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                signal.signal(s, signal.SIG_DFL)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(["kosvm", *argv], stdin=self.side, stdout=self.side, stderr=self.side, start_new_session=True,
                                      preexec_fn=prepare, env={**os.environ, "TERM": "xterm", **(env or {})})

    def size(self, rows, cols):
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def take(self, seconds):
        while select.select([self.main], [], [], seconds)[0]:
            try:
                self.shown += os.read(self.main, 65536)
            except OSError:
                return
            seconds = 0

    def wait_for(self, pattern, seconds=PATIENCE):
        end = time.time() + seconds
        while not re.search(pattern, self.shown, re.S):
            if time.time() > end or (self.child.poll() is not None and not select.select([self.main], [], [], 0)[0]):
                raise Failed("no %r in %r" % (pattern, self.shown))
            self.take(0.1)

    def type(self, data):
        os.write(self.main, data)

    def raw(self):
        return not termios.tcgetattr(self.side)[3] & termios.ICANON

    def until_raw(self, want=True):
        end = time.time() + PATIENCE
        while self.raw() != want:
            if time.time() > end:
                raise Failed("the terminal is %s" % ("not raw" if want else "still raw"))
            time.sleep(0.02)

    def until_stopped(self):
        """As a shell learns of it. The terminal is given back before that, and who is not stopped yet cannot be continued:
        a stop signal takes away the SIGCONT that came before it."""
        end = time.time() + PATIENCE
        while not os.waitid(os.P_PID, self.child.pid, os.WSTOPPED | os.WNOHANG):
            if time.time() > end:
                raise Failed("it does not stop; shown: %r" % self.shown)
            time.sleep(0.02)

    def end(self, code, seconds=PATIENCE):
        """It ends with this code, and the terminal is as it was."""
        end = time.time() + seconds
        while self.child.poll() is None:
            if time.time() > end:
                self.child.kill()
                raise Failed("it does not end; shown: %r" % self.shown)
            self.take(0.05)
        self.take(0.05)
        if self.child.returncode != code:
            raise Failed("code %d, not %d; shown: %r" % (self.child.returncode, code, self.shown))
        if termios.tcgetattr(self.side) != self.before:
            raise Failed("the terminal is not as it was")


def run(tests):
    """Prints "ok NAME" or "bad NAME: WHY" for each."""
    for name, test in tests.items():
        try:
            test()
            print("ok", name)
        except (Failed, OSError, subprocess.TimeoutExpired) as e:
            print("bad %s: %s" % (name, e))
        sys.stdout.flush()
