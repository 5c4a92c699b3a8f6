"""What would hold for an agent, and who says so: POST /v1/policy. kosvmd is started again."""
from host import check
from test_ceilings import again


def explain(h, text, **more):
    return h.ask("POST", "/v1/policy", dict(manifest=text, file="m.ini", **more))


def by_name(r):
    return {limit["name"]: limit for limit in r.json["limits"]}


def line_of(text, key):
    return 1 + [line.split(" = ")[0] for line in text.splitlines()].index(key)


def test_defaults(h):
    again(h, None)
    text = h.manifest("asked", "stay", memory="256M")["manifest"]
    r = explain(h, text)
    limits = by_name(r)
    check("a manifest without a signature", r.status == 200 and r.json["refused"] is None, r)
    check("of the manifest", limits["memory"]["value"] == "256M" and limits["memory"]["from"] == "manifest" and
          limits["memory"]["where"] == "m.ini:%d" % line_of(text, "memory") and limits["memory"]["most"] == "", limits["memory"])
    check("of the defaults", limits["log"]["value"] == "16M" and limits["log"]["from"] == "default" and limits["log"]["where"] == "", limits["log"])
    check("of nobody", limits["disk-ops"]["value"] == "no limit" and limits["agents"]["value"] == "no limit", limits["disk-ops"])
    check("nothing was made", h.ask("GET", "/v1/agents?all=true&name=asked").json == {"agents": []})


def test_ceilings(h):
    path = again(h, "[limits]\nagents = 9\nmemory = 512M\ndisk-bandwidth = 10M\nmemory-total = 1G\n")
    text = h.manifest("asked", "stay", memory="256M")["manifest"]
    limits = by_name(explain(h, text))
    check("the most", limits["memory"]["most"] == "512M" and limits["memory"]["most_where"] == path + ":3", limits["memory"])
    check("a ceiling for one that asks for nothing", limits["disk-bandwidth"]["value"] == "10M" and limits["disk-bandwidth"]["from"] == "sandbox" and
          limits["disk-bandwidth"]["where"] == path + ":4", limits["disk-bandwidth"])
    check("of all together", limits["memory-total"]["value"] == "1G" and limits["memory-total"]["where"] == path + ":5" and
          limits["agents"]["value"] == "9", limits["memory-total"])
    more = text.replace("[run]", "disk-bandwidth = 20M\nvsock-burst = 1M\n[run]")
    r = explain(h, more)
    check("more than that", r.status == 200 and "m.ini:%d: disk-bandwidth = 20M is more than %s:4 allows" % (line_of(more, "disk-bandwidth"), path) in
          r.json["refused"], r)
    check("and the rest is told all the same", by_name(r)["vsock-burst"]["where"] == "m.ini:%d" % line_of(more, "vsock-burst"), r)


def test_wrong(h):
    for text in ("", "[agent]", "[agent]\nname = a\nname = b\n", "x" * 65537):
        r = explain(h, text)
        check("refused: %r" % text[:30], r.status in (400, 413) and len(r.error["message"]) > 5, r)
    r = h.ask("POST", "/v1/policy", {"file": "m.ini"})
    check("no manifest", r.status == 400, r)
    r = h.ask("GET", "/v1/policy")
    check("GET", r.status == 405 and r.headers["Allow"] == "POST", r)
    again(h, None)
