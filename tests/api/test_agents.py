"""Agents as things: created, listed, looked at, removed; and all that is refused."""
from host import check, until


def test_create(h):
    r = h.ask("GET", "/v1/agents?all=true")
    check("no agent at first", r.json == {"agents": []}, r)
    r = h.create("first", "stay")
    check("create", r.status == 201 and r.json["name"] == "first" and r.json["state"] == "created", r)
    r = h.create("first", "stay")
    check("a name that is taken", r.status == 409 and r.error["code"] == "EEXIST", r)
    r = h.ask("GET", "/v1/agents")
    check("what does not run is not listed", r.json == {"agents": []}, r)
    r = h.ask("GET", "/v1/agents?all=true")
    check("unless asked for", [a["name"] for a in r.json["agents"]] == ["first"], r)
    r = h.ask("GET", "/v1/agents/first")
    check("inspect", r.status == 200 and r.json["name"] == "first", r)
    r = h.ask("GET", "/v1/agents/nobody")
    check("inspect nobody", r.status == 404 and r.error["errno"] == 2, r)
    m = h.manifest("second")
    r = h.ask("POST", "/v1/agents", dict(m, manifest=m["manifest"].replace("128M", "256M")))
    check("a manifest that was changed", r.status in (400, 403) and "m.ini" in r.error["message"], r)
    r = h.ask("POST", "/v1/agents", dict(m, signature="x"))
    check("no signature", r.status == 400, r)
    r = h.ask("POST", "/v1/agents", {"manifest": "x"})
    check("a key that is missing", r.status == 400 and "signature" in r.error["message"], r)
    r = h.ask("POST", "/v1/agents", dict(m, manifest_files="x"))
    check("a key that is unknown", r.status == 400 and "manifest_files" in r.error["message"], r)
    r = h.ask("POST", "/v1/agents", dict(m, start="yes"))
    check("a value of another type", r.status == 400 and "start" in r.error["message"], r)
    r = h.ask("POST", "/v1/agents", dict(m, manifest=7))
    check("a number for a text", r.status == 400, r)
    r = h.ask("POST", "/v1/agents", dict(m, rows=0))
    check("a number that is too small", r.status == 400, r)
    r = h.ask("DELETE", "/v1/images/" + h.images["kernel"])
    check("an image that is used stays", r.status == 409 and "first" in r.error["message"], r)


def test_list(h):
    for name in ("b", "a", "c"):
        h.create(name, "stay")
    names = lambda query: [a["name"] for a in h.ask("GET", "/v1/agents?" + query).json["agents"]]
    check("by name", names("all=true") == ["a", "b", "c", "first"])
    check("by state", names("state=created") == ["a", "b", "c", "first"] and names("state=running") == [])
    check("by a part of the name", names("all=true&name=irs") == ["first"])
    check("by a label nobody has", names("all=true&label=no=such") == [])
    for query in ("state=odd", "all=perhaps", "what=1", "all=true&all=true"):
        r = h.ask("GET", "/v1/agents?" + query)
        check("a query of %s" % query, r.status == 400, r)


def test_remove(h):
    for name in ("a", "b", "c", "first"):
        r = h.ask("DELETE", "/v1/agents/" + name)
        check("remove %s" % name, r.status == 200 and r.json == {}, r)
    r = h.ask("DELETE", "/v1/agents/a")
    check("remove what is gone", r.status == 404, r)


def test_hundred(h):
    m = h.manifest("hundred")
    before = h.settled()
    made = [h.create("n%03d" % i, "stay") for i in range(100)]
    check("100 agents are created", all(r.status == 201 for r in made), [r for r in made if r.status != 201])
    r = h.curl("http://kosvm/v1/agents?all=true")
    check("and listed", sorted(a["name"] for a in r.json["agents"]) == ["n%03d" % i for i in range(100)], r)
    check("each with an address of its own", len({a["cid"] for a in r.json["agents"]}) == 100)
    gone = [h.curl("-X", "DELETE", "http://kosvm/v1/agents/n%03d" % i) for i in range(100)]
    check("and removed", all(r.status == 200 for r in gone), [r for r in gone if r.status != 200])
    check("nothing of them stays", h.ask("GET", "/v1/agents?all=true").json == {"agents": []} and
          until(lambda: h.descriptors() <= before), (before, h.descriptors()))
