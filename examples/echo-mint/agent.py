#!/usr/bin/python3
"""echo-mint: answers every line it gets with the line and a number of its own.

It listens on vsock port 5000. The number of the last answer is kept in /state/counter, so that
it goes on after the agent, or the whole machine, was stopped. Needs no more than python3-minimal.
"""

import os
import signal
import socket
import sys
import threading

PORT = 5000
STATE = "/state"
LINE_MAX = 65536
CONNECTIONS_MAX = 64


class Counter:
    """A number in a file: what next() returned is on the disk before anybody sees it."""

    def __init__(self, directory):
        self.directory = directory
        self.path = os.path.join(directory, "counter")
        self.lock = threading.Lock()
        try:
            with open(self.path, encoding="ascii") as file:
                self.value = int(file.read())
        except FileNotFoundError:
            self.value = 0

    def next(self):
        with self.lock:
            self._store(self.value + 1)
            self.value += 1
            return self.value

    def _store(self, value):
        temporary = self.path + ".new"
        with open(temporary, "w", encoding="ascii") as file:
            file.write("%d\n" % value)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self.path)
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def log(text):
    print("echo-mint: " + text, file=sys.stderr, flush=True)


def converse(connection, counter):
    """Serves one connection until its other end stops writing."""
    with connection, connection.makefile("rb") as lines:
        while True:
            line = lines.readline(LINE_MAX + 1)
            if not line:
                return
            if len(line) > LINE_MAX:
                log("a line of more than %d bytes: connection closed" % LINE_MAX)
                return
            answer = b"echo-mint #%d: " % counter.next()
            connection.sendall(answer + line.rstrip(b"\r\n") + b"\n")


def serve(connection, peer, counter, places):
    try:
        converse(connection, counter)
    except OSError as error:
        log("connection from %s: %s" % (peer, error))
    finally:
        places.release()


def main():
    def stop(_signal, _frame):
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    try:
        counter = Counter(STATE)
    except (OSError, ValueError) as error:
        log("%s/counter: %s" % (STATE, error))
        return 1
    places = threading.BoundedSemaphore(CONNECTIONS_MAX)
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    listener.bind((socket.VMADDR_CID_ANY, PORT))
    listener.listen(CONNECTIONS_MAX)
    print("echo-mint: listening on vsock port %d" % PORT, flush=True)
    log("the counter stands at %d" % counter.value)
    try:
        while True:
            places.acquire()
            connection, peer = listener.accept()
            threading.Thread(
                target=serve, args=(connection, "%d:%d" % peer, counter, places), daemon=True
            ).start()
    finally:
        listener.close()
        with counter.lock:  # no answer is half given
            log("stopped at %d" % counter.value)


if __name__ == "__main__":
    sys.exit(main())
