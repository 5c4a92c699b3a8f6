"""terminal.py: kosvm on a real terminal (pty), against fake-kosvmd, whose agent "host" is this machine. Prints a line
"ok NAME" or "bad NAME: WHY" for each test. KOSVM_RUN says where the fake listens; its process id is the argument."""
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

SHELL_READY = "echo rea''dy; "


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

    def wait_for(self, pattern, seconds=20):
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
        end = time.time() + 20
        while self.raw() != want:
            if time.time() > end:
                raise Failed("the terminal is %s" % ("not raw" if want else "still raw"))
            time.sleep(0.02)

    def end(self, code, seconds=20):
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


def exec_it(script, *options, **more):
    return Terminal("exec", "-it", *options, "host", "sh", "-c", SHELL_READY + script, **more)


def size_at_first():
    t = exec_it("stty size; exit 7")
    t.wait_for(b"ready\r\n33 101\r\n")
    t.end(7)


def size_changes():
    t = exec_it("trap 'stty size' WINCH; while :; do read x; done", rows=20, cols=70)
    t.wait_for(b"ready")
    time.sleep(0.3)
    t.size(44, 132)
    t.wait_for(b"44 132")
    t.type(b"\x03")
    t.end(130)


def interrupt_key():
    t = exec_it("trap 'echo got-int; exit 9' INT; while :; do read x; done")
    t.wait_for(b"ready")
    t.type(b"\x03")
    t.wait_for(b"got-int")
    t.end(9)


def end_of_file_key():
    t = exec_it("cat; echo over")
    t.wait_for(b"ready")
    t.type(b"hello\r\x04")
    t.wait_for(b"hello.*over")
    t.end(0)


def a_signal_from_outside():
    t = exec_it("trap 'echo got-term; exit 8' TERM; while :; do read x; done")
    t.wait_for(b"ready")
    t.child.send_signal(signal.SIGTERM)
    t.wait_for(b"got-term")
    t.end(8)


def stopped_and_continued():
    t = exec_it("read x; echo got-$x; stty size")
    t.wait_for(b"ready")
    t.until_raw()
    t.child.send_signal(signal.SIGTSTP)
    t.until_raw(False)
    t.size(50, 90)
    t.child.send_signal(signal.SIGCONT)
    t.until_raw()
    t.type(b"word\r")
    t.wait_for(b"got-word\r\n50 90")
    t.end(0)


def killed_by_a_quit():
    t = exec_it("trap 'exit 6' QUIT; while :; do read x; done")
    t.wait_for(b"ready")
    t.type(b"\x1c")
    t.end(6)


def hang_up():
    t = exec_it("while :; do sleep 0.1; done")
    t.wait_for(b"ready")
    t.until_raw()
    os.close(t.main)
    t.child.wait(20)
    if t.child.returncode != 128 + signal.SIGHUP:
        raise Failed("code %d" % t.child.returncode)


def bytes_are_raw():
    t = exec_it("printf 'a\\033[31mb\\302\\233c'")
    t.wait_for(b"a\x1b\\[31mb\xc2\x9bc")
    t.end(0)
    t = Terminal("exec", "host", "printf", "a\\033[31mb\\302\\233c")
    t.wait_for(rb"a\?\[31mb\?\?c")
    t.end(0)


def signals_without_a_terminal():
    t = Terminal("exec", "host", "sh", "-c", "trap 'echo got-int; exit 5' INT; " + SHELL_READY + "while :; do sleep 0.1; done")
    t.wait_for(b"ready")
    t.type(b"\x03")
    t.wait_for(b"got-int")
    t.end(5)


def a_shell():
    t = Terminal("shell", "-e", "PS1=prompt: ", "host", env={"HOME": "/nonexistent"})
    t.until_raw()
    t.type(b"echo in-the-$((40 + 2)); exit 3\r")
    t.wait_for(b"in-the-42")
    t.end(3)


def detach_keys():
    t = Terminal("attach", "host")
    t.wait_for(b"attached")
    t.type(b"a\x10b\r")
    t.wait_for(b"a\\^?P?.*b")
    t.type(b"\x10")
    time.sleep(0.1)
    t.type(b"\x11")
    t.wait_for(b"detached")
    t.end(0)


def other_detach_keys():
    t = Terminal("attach", "--detach-keys", "ctrl-x,y", "host")
    t.wait_for(b"attached")
    t.type(b"\x10\x11")
    t.type(b"\x18y")
    t.wait_for(b"detached")
    t.end(0)


def attached_to_the_end():
    t = Terminal("attach", "host")
    t.wait_for(b"attached")
    t.type(b"\x04")
    t.end(4)


def refused_before_it_began():
    t = Terminal("exec", "-it", "refused", "ls")
    t.wait_for(rb"kosvm exec: .\[31mgone")
    t.end(127)


def top_quits():
    t = Terminal("top", rows=30, cols=120)
    t.wait_for(b"kosvm: 2 agents")
    t.wait_for(b"five\\?\\[31m")
    t.wait_for(b"50.0%")
    t.type(b"m")
    t.type(b"q")
    t.end(0)


def top_is_ended():
    for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        t = Terminal("top")
        t.wait_for(b"five")
        t.child.send_signal(signo)
        t.child.wait(20)
        t.take(0.1)
        if termios.tcgetattr(t.side) != t.before:
            raise Failed("after %s the terminal is not as it was" % signo.name)
        if not t.shown.rstrip().endswith((b"\x1b[?1049l\x1b[23;0;0t", b"\x1b[?1049l\x1b[23;0;0t\r\x1b[?1l\x1b>", b"\x1b[?1l\x1b>")):
            raise Failed("the screen was not given back: %r" % t.shown[-60:])


def top_of_an_unknown_terminal():
    t = Terminal("top", env={"TERM": "no-such-terminal"})
    t.wait_for(b"TERM=no-such-terminal: unknown terminal")
    t.end(1)


def the_vm_dies():
    """Last: it ends the fake."""
    t = exec_it("sleep 60")
    t.wait_for(b"ready")
    t.until_raw()
    u = Terminal("top")
    u.wait_for(b"five")
    os.kill(int(sys.argv[1]), signal.SIGKILL)
    t.wait_for(b"VM ended before the command did")
    t.end(125)
    u.wait_for(b"no kosvmd listens")
    u.type(b"q")
    u.end(0)


TESTS = {
    "exec -it: the window's size": size_at_first,
    "exec -it: the window changes its size": size_changes,
    "exec -it: the interrupt key reaches the command": interrupt_key,
    "exec -it: the quit key too": killed_by_a_quit,
    "exec -it: end of input by its key": end_of_file_key,
    "exec -it: SIGTERM is passed on": a_signal_from_outside,
    "exec -it: stopped, the terminal is given back; continued, it is taken again": stopped_and_continued,
    "exec -it: the terminal goes away": hang_up,
    "exec -it: escape sequences pass; without -t they do not": bytes_are_raw,
    "exec without -t: the interrupt key is a signal for the command": signals_without_a_terminal,
    "exec -it: a refusal": refused_before_it_began,
    "shell": a_shell,
    "attach: ctrl-p ctrl-q": detach_keys,
    "attach: other keys": other_detach_keys,
    "attach: to the agent's end, with its code": attached_to_the_end,
    "top: shows, sorts, quits": top_quits,
    "top: signals give the screen back": top_is_ended,
    "top: an unknown terminal": top_of_an_unknown_terminal,
    "exec -it and top: the VM and kosvmd die": the_vm_dies,
}
for name, test in TESTS.items():
    try:
        test()
        print("ok", name)
    except (Failed, OSError, subprocess.TimeoutExpired) as e:
        print("bad %s: %s" % (name, e))
    sys.stdout.flush()
