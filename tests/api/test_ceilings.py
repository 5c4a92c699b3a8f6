"""The host's ceilings: kosvmd started with a sandbox.ini. Last of all, for it is started again."""
import os
import signal
import subprocess

from host import check, until


def again(h, text):
    """kosvmd with this sandbox.ini; without any for None."""
    assert h.stop(signal.SIGTERM) == 0, h.said()[-3000:]
    path = h.sandbox(text or "")
    h.start(KOSVM_SANDBOX=path)
    return path


def ask_for(h, name, size="128M"):
    m = h.manifest(name, "stay", memory=size)
    return h.ask("POST", "/v1/agents", m)


def test_one_agent(h):
    for a in h.ask("GET", "/v1/agents?all=true").json["agents"]:
        h.ask("DELETE", "/v1/agents/%s?force=true" % a["name"])
    until(lambda: h.ask("GET", "/v1/agents?all=true").json["agents"] == [])
    path = again(h, "# few\n[limits]\nmemory = 128M\nagents = 2\nmemory-total = 200M\n")
    r = ask_for(h, "large", "256M")
    check("a manifest that asks for more", r.status == 403 and r.error["code"] == "EPERM" and
          "memory = 256M is more than %s:3 allows: memory = 128M" % path in r.error["message"] and "m.ini:" in r.error["message"], r)
    r = h.ask("GET", "/v1/agents?all=true&name=large")
    check("and nothing of it is left", r.json == {"agents": []}, r)
    check("the ceiling itself", ask_for(h, "one").status == 201)
    check("another one", ask_for(h, "two").status == 201)
    r = ask_for(h, "three")
    check("one agent too many", r.status == 403 and "%s:4 allows: agents = 2" % path in r.error["message"], r)


def test_all_that_run(h):
    r = h.ask("POST", "/v1/agents/one/start")
    check("the first runs", r.status == 200 and until(lambda: h.ask("GET", "/v1/agents/one").json["state"] == "running"), r)
    r = h.ask("POST", "/v1/agents/two/start")
    check("two together are too much", r.status == 403 and "memory-total = 200M" in r.error["message"], r)
    check("and nothing was begun", h.ask("GET", "/v1/agents/two").json["state"] == "created")
    h.ask("POST", "/v1/agents/one/kill")
    until(lambda: h.ask("GET", "/v1/agents/one").json["state"] in ("stopped", "failed"))
    r = h.ask("POST", "/v1/agents/two/start")
    check("now the other one may", r.status == 200, r)
    h.ask("POST", "/v1/agents/two/kill")


def test_stricter(h):
    path = again(h, "[limits]\nmemory = 64M\n")
    r = h.ask("POST", "/v1/agents/one/start")
    check("made under a more generous file", r.status == 403 and "%s:2 allows: memory = 64M" % path in r.error["message"], r)
    again(h, None)
    for name in ("one", "two"):
        h.ask("DELETE", "/v1/agents/%s?force=true" % name)


def test_a_wrong_file(h):
    for what, args, env, want in (
            ("a mistake", [], {"KOSVM_SANDBOX": h.dir + "/bad.ini"}, "bad.ini:2: memroy"),
            ("not there", ["--sandbox", h.dir + "/none.ini"], {}, "none.ini: open: No such file")):
        with open(h.dir + "/bad.ini", "w") as f:
            f.write("[limits]\nmemroy = 1G\n")
        p = subprocess.run([h.dir + "/bin/kosvmd", *args], stderr=subprocess.PIPE, timeout=60,
                           env=dict(h.env, KOSVM_RUN=h.dir + "/run2", KOSVM_STATE=h.dir + "/state2", **env))
        check("sandbox.ini: %s" % what, p.returncode == 1 and want in p.stderr.decode(), p.stderr)
    check("and nothing was made", not os.path.exists(h.dir + "/state2"))
