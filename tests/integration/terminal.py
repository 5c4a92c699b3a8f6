"""terminal.py: kosvm on a real terminal (pty), with real guests: the agent mill runs, with a shell; talk runs `cat` on a
terminal of its own. Prints a line "ok NAME" or "bad NAME: WHY" for each test."""
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from terminal import PATIENCE, Failed, Terminal, run  # noqa: E402

READY = "echo rea''dy; "


def exec_it(script, first="", **more):
    """first: before it says that it is ready."""
    return Terminal("exec", "-it", "mill", "/bin/sh", "-c", first + READY + script, **more)


def in_guest(*argv):
    return subprocess.run(["kosvm", "exec", "mill", *argv], stdout=subprocess.PIPE, timeout=PATIENCE, check=False).stdout.decode()


def is_a_terminal():
    t = exec_it("[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && tty; ps_group=$(cut -d ' ' -f 5,8 /proc/$$/stat); echo group:$ps_group; exit 7")
    t.wait_for(rb"ready\r\n/dev/pts/\d+\r\ngroup:(\d+) \1\r\n")
    t.end(7)


def size_and_its_change():
    t = exec_it("stty size; while :; do read x; done", first="trap 'stty size' WINCH; ", rows=33, cols=101)
    t.wait_for(b"ready\r\n33 101\r\n")
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


def interrupt_ends_a_pipeline():
    t = exec_it("sleep 1000 | cat")
    t.wait_for(b"ready")
    t.type(b"\x03")
    t.end(130)


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


def bytes_are_raw():
    t = exec_it("stty raw -echo; echo now; head -c 6 | od -An -tx1")
    t.wait_for(b"now")
    t.type(b"\x03\x04\xff\x80\x1a\r")
    t.wait_for(b"03 04 ff 80 1a 0d")
    t.end(0)


def much_output():
    t = exec_it("i=0; while [ $i -lt 20000 ]; do echo line-$i; i=$((i+1)); done; exit 5")
    t.wait_for(b"line-19999\r\n")
    t.end(5)
    lines = [int(w[5:]) for w in t.shown.split() if w.startswith(b"line-")]
    if lines != list(range(20000)):
        raise Failed("%d lines, or not in their order" % len(lines))


def hang_up():
    """The window is closed: the command in the guest ends too.

    It does not read: a read may fail before the signal is there."""
    t = exec_it("while :; do sleep 1; done", first="trap 'touch /tmp/hung-up; exit' HUP; ")
    t.wait_for(b"ready")
    t.until_raw()
    os.close(t.main)
    t.child.wait(PATIENCE)
    end = time.time() + PATIENCE
    while "there" not in in_guest("/bin/sh", "-c", "[ -e /tmp/hung-up ] && echo there"):
        if time.time() > end:
            raise Failed("the command goes on")
        time.sleep(0.2)


def a_shell():
    t = Terminal("shell", "-e", "PS1=prompt: ", "mill")
    t.until_raw()
    t.type(b"echo in-the-$((40 + 2)); exit 3\r")
    t.wait_for(b"in-the-42")
    t.end(3)


def a_screen():
    """tmux, a terminal that somebody else wrote."""
    def tmux(*argv):
        return subprocess.run(["tmux", "-L", "kosvm-test", *argv], stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout.decode()
    tmux("-f", "/dev/null", "new-session", "-d", "-x", "91", "-y", "27", "-s", "t", "kosvm shell -e 'PS1=prompt: ' mill; sleep 1000")
    try:
        def shows(text):
            end = time.time() + PATIENCE
            while text not in tmux("capture-pane", "-p", "-t", "t"):
                if time.time() > end:
                    raise Failed("no %r in %r" % (text, tmux("capture-pane", "-p", "-t", "t")))
                time.sleep(0.1)
        shows("prompt:")
        tmux("send-keys", "-t", "t", "stty size", "Enter")
        shows("27 91") if "27 91" in tmux("capture-pane", "-p", "-t", "t") else shows("26 91")  # less a status line
        tmux("resize-window", "-t", "t", "-x", "70", "-y", "20")
        time.sleep(1)
        tmux("send-keys", "-t", "t", "stty size", "Enter")
        shows(" 70")
        tmux("send-keys", "-t", "t", "sleep 1000", "Enter")
        time.sleep(1)
        tmux("send-keys", "-t", "t", "C-c")
        tmux("send-keys", "-t", "t", "echo ended-$?", "Enter")
        shows("ended-130")
    finally:
        tmux("kill-server")


def attach_and_detach():
    t = Terminal("attach", "talk", rows=25, cols=81)
    t.until_raw()
    t.type(b"first\r")
    t.wait_for(b"first.*first")
    t.type(b"\x10")
    time.sleep(0.1)
    t.type(b"\x11")
    t.wait_for(b"detached")
    t.end(0)
    t = Terminal("attach", "talk")
    t.until_raw()
    t.type(b"second\r")
    t.wait_for(b"second.*second")
    t.type(b"\x10\x11")
    t.end(0)


def attached_to_the_end():
    t = Terminal("attach", "talk")
    t.until_raw()
    t.type(b"last\r\x04")
    t.wait_for(b"last.*last")
    t.end(0)


def run_it():
    """run -it: from the first byte to the exit code, on a terminal of this size."""
    t = Terminal("run", "-it", "--rm", "--name", "typed", "asks.ini", rows=29, cols=77)
    t.wait_for(b"name\\? ", 3 * PATIENCE)
    t.wait_for(b"29 77")
    t.type(b"Ada\r")
    t.wait_for(b"hello Ada")
    t.end(6, 3 * PATIENCE)


run({
    "exec -it: a terminal, of a session and foreground group of its own; the exit code": is_a_terminal,
    "exec -it: the window's size, and its change": size_and_its_change,
    "exec -it: the interrupt key reaches the command": interrupt_key,
    "exec -it: and all of a pipeline": interrupt_ends_a_pipeline,
    "exec -it: stopped, the terminal is given back; continued, it is taken again": stopped_and_continued,
    "exec -it: a guest that sets its terminal raw gets every byte": bytes_are_raw,
    "exec -it: 20000 lines, all there, in their order": much_output,
    "exec -it: the window is closed, and the command ends": hang_up,
    "shell: a login shell and its code": a_shell,
    "shell in tmux: size, resize, interrupt key": a_screen,
    "attach: what is typed comes back; ctrl-p ctrl-q; once more": attach_and_detach,
    "attach: to the agent's end": attached_to_the_end,
    "run -it: asks on the terminal, and its code": run_it,
})
