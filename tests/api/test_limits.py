"""Limits of an agent, changed while it is there: PATCH /v1/agents/{ref}. kosvmd is started again."""
import json
import re

from host import check, until
from test_ceilings import again

MIB = 1 << 20


def patch(h, name, **what):
    return h.ask("PATCH", "/v1/agents/" + name, what)


def limits(h, name):
    return {k: (v["value"], v["from"]) for k, v in h.ask("GET", "/v1/agents/" + name).json["limits"].items()}


def test_changed(h):
    h.ask("POST", "/v1/agents", h.manifest("slow", "stay"))
    check("none at first", set(limits(h, "slow").values()) == {(0, "default")})
    r = patch(h, "slow", disk_bandwidth=20 * MIB)
    check("of one that does not run", r.status == 200 and r.json["limits"]["disk_bandwidth"] == {"value": 20 * MIB, "from": "update"}, r)
    r = h.ask("POST", "/v1/agents/slow/start")
    check("it starts", r.status == 200, r)
    r = patch(h, "slow", disk_ops=500, vsock_bandwidth=MIB)
    check("of one that runs", r.status == 200, r)

    def told():
        s = [s for s in h.ask("GET", "/v1/stats").json["stats"] if s["name"] == "slow"]
        return s and (s[0]["blk_read_bytes"], s[0]["blk_write_bytes"], s[0]["vsock_rx_bytes"]) == (20 * MIB, 500, MIB)
    check("its VM is told all of it", until(told))
    moves = h.ask("GET", "/v1/agents/slow").json["transitions"]
    check("it is in the history", moves[-1]["event"] == "update" and moves[-1]["from"] == moves[-1]["to"] == "running" and
          moves[-1]["reason"] == "disk-ops = 500, vsock-bandwidth = 1M", moves[-1])
    r = h.ask("GET", "/events?follow=false&since=0")
    events = [json.loads(line[6:]) for line in r.body.decode().splitlines() if line.startswith("data: ")]
    check("and among the events", [e for e in events if e.get("event") == "update" and e["agent"] == "slow"], events[-3:])


def test_wrong(h):
    before = limits(h, "slow")
    for what in ({}, {"reset": False}, {"disk_bandwidth": 1}, {"disk_bandwidth": -1}, {"disk_bandwidth": 1 << 41},
                 {"disk_bandwidth": "20M"}, {"disk_bandwidth": 20.5}, {"disk_bandwidth": [1]}, {"disk_ops": 1 << 40}, {"disk_ops": True},
                 {"vsock_burst": 1 << 63}, {"memory": 1}, {"reset": None}, {"disk_ops": 1, "vsock_burst": 3}):
        r = h.ask("PATCH", "/v1/agents/slow", what)
        check("refused: %s" % json.dumps(what), r.status == 400 and len(r.error["message"]) > 10, r)
    for text in ("", "[]", "null", '{"disk_ops": 1, "disk_ops": 2}', "{" * 50):
        r = h.ask("PATCH", "/v1/agents/slow", text)
        check("refused: %r" % text[:20], r.status == 400, r)
    r = patch(h, "nobody", disk_ops=1)
    check("of none", r.status == 404, r)
    r = h.ask("PUT", "/v1/agents/slow", {"disk_ops": 1})
    check("PUT is none of the methods", r.status == 405 and "PATCH" in r.headers["Allow"], r)
    check("and nothing was changed", limits(h, "slow") == before)


def test_kept(h):
    again(h, None)
    h.ask("POST", "/v1/agents/slow/kill")
    check("kept by the next kosvmd", limits(h, "slow")["disk_ops"] == (500, "update"))
    r = h.ask("POST", "/v1/agents/slow/restart")
    check("and over a restart of the agent", r.status == 200 and limits(h, "slow")["vsock_bandwidth"] == (MIB, "update"), r)
    r = patch(h, "slow", reset=True, disk_ops=9)
    check("reset", r.status == 200 and limits(h, "slow")["vsock_bandwidth"] == (0, "default") and
          limits(h, "slow")["disk_ops"] == (9, "update"), r)
    patch(h, "slow", disk_bandwidth=20 * MIB)
    h.ask("POST", "/v1/agents/slow/kill")


def test_ceilings(h):
    path = again(h, "[limits]\ndisk-bandwidth = 10M\nvsock-bandwidth = 1M\n")
    r = h.ask("POST", "/v1/agents/slow/start")
    both = re.compile(r"agent slow: disk-bandwidth = \S+ is more than %s:2 allows: disk-bandwidth = 10M" % re.escape(path))
    check("changed under a more generous file", r.status == 403 and both.search(r.error["message"]), r)
    r = patch(h, "slow", disk_bandwidth=11 * MIB)
    check("more than the host allows", r.status == 403 and both.search(r.error["message"]), r)
    r = patch(h, "slow", disk_bandwidth=0)
    check("no limit is more, too", r.status == 403 and "= none is more" in r.error["message"], r)
    r = patch(h, "slow", disk_bandwidth=None, disk_burst=1 << 30)
    check("who asks for none gets the ceiling", r.status == 200 and limits(h, "slow")["disk_bandwidth"] == (10 * MIB, "sandbox") and
          limits(h, "slow")["vsock_bandwidth"] == (MIB, "sandbox"), r)
    check("and no burst beyond it", limits(h, "slow")["disk_burst"] == (10 * MIB, "sandbox"), r)
    check("then it starts", h.ask("POST", "/v1/agents/slow/start").status == 200)
    again(h, None)
    h.ask("DELETE", "/v1/agents/slow?force=true")
