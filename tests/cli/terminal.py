"""terminal.py: kosvm on a real terminal (pty), against fake-kosvmd, whose agent "host" is this machine. Prints a line
"ok NAME" or "bad NAME: WHY" for each test. KOSVM_RUN says where the fake listens; its process id is the argument."""
import os
import signal
import sys
import termios
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from terminal import Failed, Terminal, run  # noqa: E402

SHELL_READY = "echo rea''dy; "


def exec_it(script, *options, first="", **more):
    """first: before it says that it is ready."""
    return Terminal("exec", "-it", *options, "host", "sh", "-c", first + SHELL_READY + script, **more)


def size_at_first():
    t = exec_it("stty size; exit 7")
    t.wait_for(b"ready\r\n33 101\r\n")
    t.end(7)


def size_changes():
    t = exec_it("while :; do read x; done", first="trap 'stty size' WINCH; ", rows=20, cols=70)
    t.wait_for(b"ready")
    time.sleep(0.3)
    t.size(44, 132)
    t.wait_for(b"44 132")
    t.type(b"\x03")
    t.end(130)


def interrupt_key():
    t = exec_it("while :; do read x; done", first="trap 'echo got-int; exit 9' INT; ")
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
    t = exec_it("while :; do read x; done", first="trap 'echo got-term; exit 8' TERM; ")
    t.wait_for(b"ready")
    t.child.send_signal(signal.SIGTERM)
    t.wait_for(b"got-term")
    t.end(8)


def stopped_and_continued():
    t = exec_it("read x; echo got-$x; stty size")
    t.wait_for(b"ready")
    t.until_raw()
    t.child.send_signal(signal.SIGTSTP)
    t.until_stopped()
    t.until_raw(False)
    t.size(50, 90)
    t.child.send_signal(signal.SIGCONT)
    t.until_raw()
    t.type(b"word\r")
    t.wait_for(b"got-word\r\n50 90")
    t.end(0)


def killed_by_a_quit():
    t = exec_it("while :; do read x; done", first="trap 'exit 6' QUIT; ")
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
run(TESTS)
