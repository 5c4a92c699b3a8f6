"""Agents that run: started, stopped, waited for, spoken to."""
import json
import os
import signal
import struct
import threading
import time

from host import check, skip, until
from test_things import metrics_of


def state(h, name):
    return h.ask("GET", "/v1/agents/" + name).json["state"]


def test_start(h):
    r = h.create("echo", "stay", start=True)
    check("create and start", r.status == 201 and r.json["state"] == "running" and r.json["pid"] > 0, r)
    r = h.ask("POST", "/v1/agents/echo/start")
    check("start what runs", r.status == 409 and "running" in r.error["message"], r)
    r = h.ask("DELETE", "/v1/agents/echo")
    check("remove what runs", r.status == 409, r)
    r = h.ask("POST", "/v1/agents/echo/stop", {"grace_ms": 1000})
    check("stop", r.status == 200 and r.json["state"] == "stopped", r)
    r = h.ask("POST", "/v1/agents/echo/stop")
    check("stop what is stopped", r.status == 200, r)
    r = h.ask("POST", "/v1/agents/echo/wait")
    check("wait for what is stopped", r.status == 200, r)
    r = h.ask("POST", "/v1/agents/echo/start", lines=True)
    last = json.loads(r.body.splitlines()[-1])
    check("start again, with progress", r.status == 200 and last["ok"]["state"] == "running", r)
    check("which reports progress", b'"progress"' in r.body, r)
    r = h.ask("POST", "/v1/agents/echo/start", lines=True)
    check("what is refused at once has its status, lines or not", r.status == 409, r)
    r = h.ask("POST", "/v1/agents/echo/kill")
    check("kill", r.status == 200 and r.json["state"] in ("stopped", "failed"), r)
    for path, body in (("stop", {"grace_ms": -1}), ("stop", {"grace_ms": 1e9}), ("stop", {"grace": 1}), ("start", {"x": 1})):
        r = h.ask("POST", "/v1/agents/echo/" + path, body)
        check("%s with %s" % (path, json.dumps(body)), r.status == 400, r)


def test_wait(h):
    h.create("ends", "exit", "7")
    got = []
    waits = threading.Thread(target=lambda: got.append(h.ask("POST", "/v1/agents/ends/start", lines=True)))
    waits.start()
    waits.join()
    r = h.ask("POST", "/v1/agents/ends/wait")
    check("the exit code is the agent's", r.status == 200 and r.json["exit_code"] == 7, r)


def test_a_client_that_leaves(h):
    h.ask("POST", "/v1/agents/echo/start")
    s = h.raw(b"POST /v1/agents/echo/wait HTTP/1.1\r\nHost: k\r\n\r\n")
    half = h.raw(b"POST /v1/agents/echo/wait HTTP/1.1\r\nHost: k\r\n\r\n")
    half.shutdown(1)
    time.sleep(0.3)
    s.close()
    time.sleep(0.3)
    r = h.ask("POST", "/v1/agents/echo/stop")
    check("the agent is none of its business", r.status == 200, r)
    data = half.recv(65536)
    check("one that closed only its own side gets its answer", data.startswith(b"HTTP/1.1 200"), data)
    half.close()


def read_frames(sock):
    out, end = b"", None
    while end is None:
        head = b""
        while len(head) < 8:
            part = sock.recv(8 - len(head))
            if not part:
                return out, end
            head += part
        kind, _, size = struct.unpack("<HHI", head)
        data = b""
        while len(data) < size:
            data += sock.recv(size - len(data))
        if kind == 12:
            out += data
        elif kind in (4, 5):
            end = struct.unpack("<I", data[8:12])[0]
    return out, end


def test_streams(h):
    h.ask("POST", "/v1/agents/echo/start")
    before = h.settled()
    r = h.ask("POST", "/v1/agents/echo/exec", {"argv": ["ls", "-l"], "env": {"A": "b=c"}, "user": "1000:1000", "cwd": "/"})
    check("exec", r.status == 200, r)
    sock, reply = h.take(r.json["stream"])
    sock.settimeout(30)
    out, code = read_frames(sock)
    sock.close()
    check("its stream is the guest's", out == b"EXEC 4=ls 4=-l 5=A=b=c 6=1000:1000 7=/\n" and code == 3, (out, code))
    r = h.ask("POST", "/v1/agents/echo/connect", {"port": 5000})
    sock, reply = h.take(r.json["stream"])
    sock.settimeout(30)
    sock.sendall(b"hello")
    check("connect", sock.recv(100) == b"HELLO")
    sock.close()
    for body in ({"port": 1026}, {"port": 1 << 32}, {"port": "x"}, {"port": 5000.5}, {}):
        r = h.ask("POST", "/v1/agents/echo/connect", body)
        check("connect with %s" % json.dumps(body), r.status == 400, r)
    for body in ({}, {"argv": []}, {"argv": "ls"}, {"argv": ["ls"] * 257}, {"argv": [1]}, {"argv": ["a" * 40000]},
                 {"argv": ["ls"], "env": ["A=b"]}, {"argv": ["ls"], "env": {"": "x"}}, {"argv": ["ls"], "cwd": "/" * 1025}):
        r = h.ask("POST", "/v1/agents/echo/exec", body)
        check("exec with %.40s" % json.dumps(body), r.status == 400, r)
    r = h.ask("POST", "/v1/agents/nobody/exec", {"argv": ["ls"]})
    check("exec in nobody", r.status == 404, r)
    tokens = [h.ask("POST", "/v1/agents/echo/connect", {"port": 5000}).json["stream"] for _ in range(3)]
    check("streams wait to be taken", h.descriptors() >= before + 3, (before, h.descriptors()))
    check("and are closed when nobody does", until(lambda: h.descriptors() <= before, 40), (before, h.descriptors()))
    r = h.take(tokens[0])[1]
    check("their tokens are dead then", r["error"]["code"] == "ENOENT", r)
    h.ask("POST", "/v1/agents/echo/stop")
    r = h.ask("POST", "/v1/agents/echo/exec", {"argv": ["ls"]})
    check("exec in what does not run", r.status == 409 and r.error["code"] == "ENOTCONN", r)


def test_restart_and_signals(h):
    first = h.create("again", "stay", start=True).json
    r = h.ask("POST", "/v1/agents/again/restart")
    check("restart: another VM, and it runs", r.status == 200 and r.json["state"] == "running" and
          r.json["generation"] == first["generation"] + 1 and r.json["pid"] != first["pid"], r)
    for body in ({"signal": 0}, {"signal": 65}, {"signal": "TERM"}, {"signal": 1.5}, {"sig": 9}):
        r = h.ask("POST", "/v1/agents/again/kill", body)
        check("kill with %s" % json.dumps(body), r.status == 400, r)
    r = h.ask("POST", "/v1/agents/again/kill", {"signal": 10})
    check("kill with a signal", r.status == 200, r)
    r = h.ask("POST", "/v1/agents/again/wait")
    check("goes to the agent's process", r.json["exit_signal"] == 10, r)
    r = h.ask("POST", "/v1/agents/again/kill", {"signal": 10})
    check("and to nobody who has ended", r.status == 409, r)
    r = h.ask("POST", "/v1/agents/again/restart")
    check("restart of one that has ended starts it", r.status == 200 and r.json["state"] == "running", r)
    r = h.ask("POST", "/v1/agents/again/kill")
    check("kill without one ends the VM", r.status == 200, r)
    check("at once", until(lambda: state(h, "again") in ("stopped", "failed")), state(h, "again"))
    r = h.ask("POST", "/v1/agents/again/stop", {"grace_ms": -1})
    check("a time that is none", r.status == 400, r)
    h.ask("DELETE", "/v1/agents/again")


def first_line(h, path, body):
    """What the stand-in was asked on the stream, and its code."""
    r = h.ask("POST", path, body)
    if r.status != 200:
        return r.body, None
    sock, _ = h.take(r.json["stream"])
    sock.settimeout(30)
    got = read_frames(sock)
    sock.close()
    return got


def test_attach_and_copy(h):
    h.create("echo2", "stay", start=True)
    at = "/v1/agents/echo2/"
    out, code = first_line(h, at + "attach", {"rows": 24, "cols": 80})
    check("attach", out.startswith(b"ATTACH ") and b":24" in out and b":80" in out and code == 3, (out, code))
    for direction, word in (("in", b"COPY_IN "), ("out", b"COPY_OUT ")):
        out, code = first_line(h, at + "copy", {"path": "/state/x", "direction": direction})
        check("copy %s" % direction, out.startswith(word) and b"=/state/x" in out and code == 3, (out, code))
    for body in ({}, {"path": "/x"}, {"path": "x", "direction": "in"}, {"path": "/x", "direction": "up"}, {"path": "", "direction": "in"},
                 {"path": "/" + "x" * 5000, "direction": "in"}, {"path": "/x", "direction": "in", "owners": 1}):
        r = h.ask("POST", at + "copy", body)
        check("copy with %.60s" % json.dumps(body), r.status == 400, r)
    for body in ({"rows": 24}, {"rows": 0, "cols": 1}, {"rows": 99999, "cols": 1}, {"tty": True}):
        r = h.ask("POST", at + "attach", body)
        check("attach with %s" % json.dumps(body), r.status == 400, r)
    h.ask("DELETE", "/v1/agents/echo2?force=true")


def test_panic(h):
    """What it covers stands still or goes, nothing new starts, until it is called off; also over a restart of kosvmd."""
    for name in ("calm", "wild"):
        h.create(name, "stay", start=True, extra="[labels]\nmood = %s\n" % name)
    for body in ({}, {"action": "hide"}, {"action": "kill", "labels": {"a": 1}}, {"action": "kill", "labels": []},
                 {"action": "kill", "reason": "x" * 5000}):
        r = h.ask("POST", "/v1/panic", body)
        check("panic with %.50s" % json.dumps(body), r.status == 400, r)
    r = h.ask("POST", "/v1/panic", {"action": "freeze", "reason": "smoke", "labels": {"mood": "wild"}})
    check("panic by label", r.status == 200 and r.json["active"], r)
    get = lambda: h.ask("GET", "/v1/panic").json
    check("freezes", until(lambda: get()["frozen"] == 1 and get()["pending"] == 0), get())
    paused = lambda: {a["name"]: a["paused"] for a in h.ask("GET", "/v1/agents").json["agents"] if a["name"] in ("calm", "wild")}
    check("whom it names alone", paused() == {"calm": "", "wild": "panic"}, paused())
    r = h.ask("POST", "/v1/agents/wild/exec", {"argv": ["ls"]})
    check("no stream to one that is frozen", r.status == 409 and "smoke" in r.error["message"] and "unpanic" in r.error["message"], r)
    out, code = first_line(h, "/v1/agents/calm/exec", {"argv": ["ls"]})
    check("the others go on", code == 3, out)
    r = h.ask("POST", "/v1/panic", {"action": "kill", "reason": "fire"})
    check("panic for all", r.status == 200 and len(r.json["panics"]) == 2, r)
    check("kills", until(lambda: {state(h, n) for n in ("calm", "wild")} <= {"stopped", "failed"}), [state(h, n) for n in ("calm", "wild")])
    r = h.ask("POST", "/v1/agents/calm/start")
    check("no start meanwhile", r.status == 409 and "fire" in r.error["message"], r)
    check("kosvmd ends in between", h.stop(signal.SIGTERM) == 0, h.said()[-2000:])
    h.start()
    r = h.ask("POST", "/v1/agents/calm/start")
    check("nor after a restart of kosvmd", r.status == 409 and "fire" in r.error["message"], r)
    r = h.ask("DELETE", "/v1/panic")
    check("unpanic", r.status == 200 and not get()["active"], r)
    r = h.ask("POST", "/v1/agents/calm/start")
    check("and they start again", r.status == 200 and r.json["state"] == "running", r)
    for name in ("calm", "wild"):
        h.ask("DELETE", "/v1/agents/%s?force=true" % name)


def test_figures(h):
    """stats and /metrics tell the same of one that runs, and nothing of its VM when it does not."""
    h.create("counts", "stay", start=True)
    h.create("rests", "stay")
    r = h.ask("GET", "/v1/agents/counts/stats")
    check("stats", r.status == 200 and r.json["name"] == "counts" and r.json["memory_bytes"] > 0, r)
    r = h.ask("GET", "/v1/stats")
    check("stats of all are of those that have a VM", [s["name"] for s in r.json["stats"]] == ["counts"], r)
    r = h.ask("GET", "/v1/agents/rests/stats")
    check("stats of one that has none", r.status == 409 and "created" in r.error["message"], r)
    s = h.stream("/v1/stats?follow=true")
    two = [json.loads(s.readline()) for _ in range(2)]
    check("stats each second", two[0]["time_ns"] < two[1]["time_ns"] and all(len(t["stats"]) == 1 for t in two), two)
    s.connection.close()
    s.close()
    lines = metrics_of(h)
    for want in ('kosvm_agents{state="running"} 1', 'kosvm_agent_running{agent="counts"} 1',
                 'kosvm_agent_running{agent="rests"} 0', 'kosvm_agent_boots_total{agent="counts"} 1'):
        check("metrics: %s" % want, want in lines, lines)
    for name in ("cpu_seconds_total", "memory_bytes", "disk_read_bytes_total", "vsock_sent_bytes_total"):
        of = [line.split("{")[1] for line in lines if line.startswith("kosvm_agent_%s{" % name)]
        check("metrics: %s of those that have a VM" % name, len(of) == 1 and of[0].startswith('agent="counts"'), of)
    for name in ("counts", "rests"):
        h.ask("DELETE", "/v1/agents/%s?force=true" % name)


def test_exec_that_nobody_waits_for(h):
    h.create("deaf", "deaf", start=True)
    before = h.settled()
    body = b'{"argv":["ls"]}'
    socks = [h.raw(b"POST /v1/agents/deaf/exec HTTP/1.1\r\nHost: k\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
             for _ in range(20)]
    check("20 wait for a guest that does not answer", until(lambda: h.descriptors() >= before + 20), (before, h.descriptors()))
    for s in socks:
        s.close()
    check("and leave nothing when they go", until(lambda: h.descriptors() <= before), (before, h.descriptors()))
    check("others are served meanwhile", h.ask("GET", "/v1/version").status == 200)
    r = h.ask("DELETE", "/v1/agents/deaf?force=true")
    check("remove by force", r.status == 200, r)
    check("it is gone", h.ask("GET", "/v1/agents/deaf").status == 404)


def test_removed_meanwhile(h):
    h.ask("POST", "/v1/agents/echo/start")
    got = []
    t = threading.Thread(target=lambda: got.append(h.ask("POST", "/v1/agents/echo/wait")))
    t.start()
    time.sleep(0.3)
    r = h.ask("DELETE", "/v1/agents/echo?force=true", lines=True)
    t.join()
    check("removed by force, with an answer in lines", json.loads(r.body.splitlines()[-1]) == {"ok": {}}, r)
    check("who waited is told", got[0].status in (200, 404), got)
