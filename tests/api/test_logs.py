"""Logs, consoles and events: streams, their filters, and readers who are slow or leave."""
import http.client
import json
import os
import re
import threading
import time

from host import check, until

LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) F line (\d{7})\n")


def numbers(body):
    return [int(m.group(3)) for m in LINE.finditer(body)]


def test_logs(h):
    h.create("talks", "log", "1000", start=True)
    got = lambda query="": h.ask("GET", "/v1/agents/talks/logs" + query).body
    check("all is there", until(lambda: numbers(got()) == list(range(1000))), got()[-300:])
    body = got()
    check("in the CRI format", LINE.sub(b"", body) == b"")
    check("tail", numbers(got("?tail=10")) == list(range(990, 1000)))
    check("tail of nothing", got("?tail=0") == b"")
    check("tail of more than there is", numbers(got("?tail=5000")) == list(range(1000)))
    err = [n for n in range(1000) if n // 50 % 2]
    check("stderr alone", numbers(got("?stdout=false")) == err)
    check("tail of stderr", numbers(got("?stdout=false&tail=60")) == err[-60:])
    check("neither", got("?stdout=false&stderr=false") == b"")
    stamps = [m.group(1) for m in LINE.finditer(body)]
    # The time of the middle record, in nanoseconds.
    middle = stamps[500].decode()
    ns = int(time.mktime(time.strptime(middle[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone) * 10**9 + int(middle[20:29])
    after = [i for i, s in enumerate(stamps) if s >= stamps[500]]
    check("since", numbers(got("?since=%d" % ns)) == after)
    check("until", numbers(got("?until=%d" % ns)) == [i for i, s in enumerate(stamps) if s <= stamps[500]])
    check("since the future", got("?since=9000000000000000000") == b"")
    for query in ("?tail=-1", "?tail=x", "?since=soon", "?follow=2", "?lines=1", "?since=99999999999999999999"):
        r = h.ask("GET", "/v1/agents/talks/logs" + query)
        check("logs%s" % query, r.status == 400, r)
    r = h.ask("GET", "/v1/agents/talks/console")
    check("console", r.status == 200, r)
    h.ask("DELETE", "/v1/agents/talks?force=true")


def test_follow_over_rotation(h):
    """A log of 16 KiB rotates every 170 lines; who follows misses none of 40,000."""
    h.create("rotates", "log", "40000", extra="log = 16K\n")
    got = []

    def follow():
        r = h.stream("/v1/agents/rotates/logs?follow=true")
        got.append(r.read())

    s = h.raw(b"POST /v1/agents/rotates/start HTTP/1.1\r\nHost: k\r\n\r\n")
    until(lambda: h.ask("GET", "/v1/agents/rotates").json["state"] != "created")
    # As soon as there is a log to follow.
    until(lambda: h.ask("GET", "/v1/agents/rotates").json["state"] == "running")
    t = threading.Thread(target=follow)
    t.start()
    until(lambda: numbers(h.ask("GET", "/v1/agents/rotates/logs?tail=1").body) == [39999], 60)
    h.ask("POST", "/v1/agents/rotates/stop")
    t.join(60)
    s.close()
    seen = numbers(got[0]) if got else []
    check("a follower ends with the agent's VM", got)
    check("and has every record from where it began", seen and seen == list(range(seen[0], 40000)),
          (len(seen), seen[:1], seen[-1:]))
    size = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(h.state + "/agents") for f in fs if f.startswith("agent.log"))
    check("the log keeps its bound", size <= 16384, size)
    h.ask("DELETE", "/v1/agents/rotates")


def test_follower_that_sleeps(h):
    """It is cut off when its records would be gone; one beside it misses nothing."""
    h.create("sleeps", "log", "60000", extra="log = 16K\n")
    h.ask("POST", "/v1/agents/sleeps/start")
    slow = h.stream("/v1/agents/sleeps/logs?follow=true")
    got = []
    t = threading.Thread(target=lambda: got.append(h.stream("/v1/agents/sleeps/logs?follow=true").read()))
    t.start()
    until(lambda: numbers(h.ask("GET", "/v1/agents/sleeps/logs?tail=1").body) == [59999], 60)
    held = 0
    for fd in os.listdir("/proc/%d/fd" % h.process.pid):
        try:
            held += "agent.log" in os.readlink("/proc/%d/fd/%s" % (h.process.pid, fd))
        except FileNotFoundError:
            pass
    check("what it holds is bounded", held <= 12, held)
    h.ask("POST", "/v1/agents/sleeps/stop")
    t.join(60)
    seen = numbers(got[0]) if got else []
    check("the other one has all", seen and seen == list(range(seen[0], 60000)), (len(seen), seen[:1], seen[-1:]))
    try:
        cut = len(numbers(slow.read())) < 59000
    except Exception:  # the answer was cut off: IncompleteRead
        cut = True
    check("the slow one is cut off", cut)
    slow.connection.close()
    h.ask("DELETE", "/v1/agents/sleeps")


def test_follower_that_leaves(h):
    """Also while an older client idles, behind whom libmicrohttpd looks after nobody."""
    idle = http.client.HTTPConnection("idle")
    idle.sock = h.raw(b"")
    idle.request("GET", "/v1/version")
    idle.getresponse().read()
    h.create("quiet", "stay", start=True)
    before = h.settled()
    streams = [h.stream("/v1/agents/quiet/logs?follow=true") for _ in range(10)]
    events = [h.stream("/events") for _ in range(10)]
    check("20 look on", h.descriptors() >= before + 20)
    for r in streams + events:
        r.connection.close()
        r.close()
    check("and leave nothing when they go", until(lambda: h.descriptors() <= before), (before, h.descriptors()))
    h.ask("DELETE", "/v1/agents/quiet?force=true")


def event_of(r):
    """The next one: its type and data."""
    kind = data = None
    while True:
        line = r.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            data = json.loads(line[6:])
        elif line == "" and data:
            return kind, data


def test_events(h):
    r = h.stream("/events")
    check("events are server-sent events", r.headers["Content-Type"] == "text/event-stream")
    h.ask("DELETE", "/v1/keys/" + h.ask("GET", "/v1/keys").json["keys"][0]["id"])
    h.trust()
    schema = h.spec.doc["components"]["schemas"]["Event"]
    kinds = []
    for _ in range(2):
        kind, data = event_of(r)
        h.spec.judge(schema, data)
        kinds.append((kind, data["type"]))
    check("what happens is told", kinds == [("key.remove",) * 2, ("key.trust",) * 2], kinds)
    h.spec.seen.add("events")
    r.connection.close()
    r.close()
    for query in ("?agent=nobody", "?since=x", "?nothing=1"):
        r = h.ask("GET", "/events" + query)
        check("events%s" % query, r.status in (400, 404), r)


def moves_of(r, n):
    """The next n events that are moves, as (agent, to)."""
    out = []
    while len(out) < n:
        kind, data = event_of(r)
        if kind == "agent.move":
            out.append((data["agent"], data["to"], data["time_ns"]))
    return out


def test_events_replayed(h):
    """What happened before, then what happens: each once, in order."""
    begin = time.time_ns()
    h.create("was", "stay", start=True)
    h.ask("POST", "/v1/agents/was/kill")
    h.ask("POST", "/v1/agents/was/wait")
    want = ["starting", "running", "stopping", "stopped"]
    body = h.ask("GET", "/events?follow=false&agent=was&since=%d" % begin).body.decode()
    data = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
    check("what was is told, and the answer ends", [d["to"] for d in data] == want, body)
    for d in data:
        h.spec.judge(h.spec.doc["components"]["schemas"]["Event"], d)
    check("ids are times", re.findall(r"^id: (\d+)$", body, re.M) == [str(d["time_ns"]) for d in data], body)
    body = h.ask("GET", "/events?follow=false&since=%d" % data[1]["time_ns"]).body.decode()
    check("since a time", [json.loads(x[6:])["to"] for x in body.splitlines() if x.startswith("data: ")] == want[2:], body)
    body = h.ask("GET", "/events?follow=false").body
    check("nothing is replayed unasked", b"data:" not in body, body)
    r = h.stream("/events?agent=was", headers={"Last-Event-ID": str(data[2]["time_ns"])})
    h.ask("POST", "/v1/agents/was/start")
    got = [to for _, to, _ in moves_of(r, 3)]
    check("Last-Event-ID: the rest, then what happens", got == ["stopped", "starting", "running"], got)
    r.connection.close()
    r.close()
    r = h.ask("GET", "/events", headers={"Last-Event-ID": "yesterday"})
    check("a Last-Event-ID that is none", r.status == 400, r)
    h.ask("DELETE", "/v1/agents/was?force=true")
    # More than a page, and more than waits in kosvmd at once.
    names = ["many%d" % i for i in range(40)]
    begin = time.time_ns()
    for name in names:
        h.create(name, "stay")
    for _ in range(3):
        for name in names:
            h.ask("POST", "/v1/agents/%s/start" % name)
            h.ask("POST", "/v1/agents/%s/kill" % name)
            h.ask("POST", "/v1/agents/%s/wait" % name)
    r = h.stream("/events?since=%d" % begin)
    got = moves_of(r, 480)
    check("480 moves in order", [g[2] for g in got] == sorted(g[2] for g in got))
    check("each once", len(set(got)) == 480 and all(sum(g[0] == n for g in got) == 12 for n in names))
    r.connection.close()
    r.close()
    for name in names:
        h.ask("DELETE", "/v1/agents/" + name)


def test_reader_of_events_that_sleeps(h):
    slow = h.stream("/events")
    fast = h.stream("/events", timeout=60)
    key = open("plain.pub").read()
    seen = []

    def read():
        for _ in range(8000):
            seen.append(event_of(fast))

    t = threading.Thread(target=read)
    t.start()
    from host import Unix
    c = Unix(h.sock)
    for _ in range(8000):
        c.request("POST", "/v1/keys", json.dumps({"key": key}))
        c.getresponse().read()
    t.join(60)
    check("a reader who reads has every event", len(seen) == 8000, len(seen))
    try:
        cut = slow.read().count(b"event:") < 8000
    except Exception:  # the answer was cut off: IncompleteRead
        cut = True
    check("one who does not is cut off", cut)
    for r in (slow, fast):
        r.connection.close()
        r.close()
