"""kosvmd itself, images, keys; the description; descriptors."""
import json
import os
import re
import socket
import subprocess
import time

from host import TOP, check, skip, until


def test_description(h):
    """Each route of the source is described, and each that is described is there."""
    routes = set()
    for name in sorted(os.listdir(TOP + "/supervisor")):
        if name.endswith(".c"):
            text = open(TOP + "/supervisor/" + name).read()
            for method, path in re.findall(r'\.method = "([A-Z]+)",\s*\.path = "([^"]+)"', text):
                routes.add((method, path))
    described = {(m.upper(), p) for p, item in h.spec.doc["paths"].items() for m in item if m != "parameters"}
    check("routes that nobody described", not routes - described, routes - described)
    check("descriptions of nothing", not described - routes, described - routes)


def test_version(h):
    r = h.ask("GET", "/v1/version")
    check("version", r.status == 200 and r.json["api"] == 1, r)
    r = h.curl("http://kosvm/v1/version")
    check("curl gets it", r.status == 200 and r.json["api"] == 1, r)
    r = h.ask("GET", "/v1/info")
    check("info", r.status == 200 and r.json["pid"] == h.process.pid and r.json["state_dir"] == h.state, r)


def test_metrics(h):
    lines = metrics_of(h)
    check("agents by state", 'kosvm_agents{state="running"} 0' in lines)


def metrics_of(h):
    """The lines, each of Prometheus' text format."""
    r = h.ask("GET", "/metrics")
    check("metrics", r.status == 200 and r.kind.startswith("text/plain; version=0.0.4"), r)
    names, seen, lines = set(), set(), r.body.decode().splitlines()
    good = True
    for line in lines:
        if line.startswith("# "):
            m = re.fullmatch(r"# (HELP|TYPE) (kosvm_[a-z_]+) (.+)", line)
            names.add(m and m.group(2))
        else:
            m = re.fullmatch(r'((kosvm_[a-z_]+)(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})?) [0-9.e+-]+', line)
            good = good and m and m.group(2) in names and m.group(1) not in seen
            seen.add(m and m.group(1))
    check("each line is Prometheus' text format, and has its TYPE", good and None not in names, r.body.decode())
    return lines


def test_keys(h):
    r = h.ask("GET", "/v1/keys")
    check("no key is trusted at first", r.json == {"keys": []}, r)
    r = h.ask("POST", "/v1/keys", {"key": "untrusted comment: x\nnonsense\n", "file": "bad.pub"})
    check("a key that is none", r.status == 400 and "bad.pub:2" in r.error["message"], r)
    r = h.trust()
    check("trust a key", r.status == 201, r)
    key = r.json["id"]
    r = h.ask("GET", "/v1/keys")
    check("it is listed", [k["id"] for k in r.json["keys"]] == [key], r)
    r = h.ask("DELETE", "/v1/keys/" + key)
    check("trust it no longer", r.status == 200 and r.json == {}, r)
    r = h.ask("DELETE", "/v1/keys/" + key)
    check("which works once", r.status == 404, r)
    for name in ("x", "..%2F..%2Fkosvmd.db", "%2e%2e", "0" * 10000):
        r = h.ask("DELETE", "/v1/keys/" + name)
        check("a key named %.12s" % name, r.status == 400, r)
    h.trust()


def test_images(h):
    r = h.import_image("kernel", "kernel")
    check("import a kernel", r.status == 201 and r.json["kind"] == "kernel", r)
    r = h.import_image("initramfs", "modules")
    check("import modules as an initramfs", r.status == 201, r)
    r = h.import_image("rootfs", "tree", lines=True)
    last = json.loads(r.body.splitlines()[-1])
    check("import a root filesystem, with progress", r.status == 200 and "ok" in last, r)
    h.images["rootfs"] = last["ok"]["digest"]
    check("which reports progress", b'"progress"' in r.body, r)
    r = h.ask("GET", "/v1/images")
    check("they are listed", {i["digest"] for i in r.json["images"]} == set(h.images.values()), r)
    r = h.import_image("kernel", "k.c")
    check("a text is no kernel", r.status in (400, 500) and "not a kernel" in r.error["message"], r)
    r = h.import_image("rootfs", "k.c", lines=True)
    check("and no root filesystem: the last line says so", "error" in json.loads(r.body.splitlines()[-1]), r)
    r = h.import_image("kernel", "kernel", label="x" * 128)
    check("a label that is too long", r.status == 400, r)
    giver, (token,) = h.give("kernel")
    giver.close()
    gone = until(lambda: h.ask("POST", "/v1/images", {"kind": "kernel", "source": token}).status == 404)
    check("a token dies with the connection that gave it", gone)
    r = h.ask("POST", "/v1/images", {"kind": "kernel", "source": "0" * 32})
    check("a token that was never given", r.status == 404, r)
    r = h.ask("DELETE", "/v1/images/blake2b:12")
    check("remove an image that has no such name", r.status == 400, r)
    r = h.ask("DELETE", "/v1/images/blake2b:" + "0" * 64)
    check("remove one that is not there", r.status == 404, r)
    extra = h.import_image("rootfs", "modules").json["digest"]
    r = h.ask("DELETE", "/v1/images/" + extra)
    check("remove one", r.status == 200, r)
    h.import_image("rootfs", "tree")


def test_import_that_nobody_waits_for(h):
    """The client leaves in the middle: the worker goes, and nothing half-made stays."""
    os.mkfifo("fifo")
    subprocess.run("for i in 1 2 3; do head -c 50000000 /dev/urandom >big/$i; done" if os.makedirs("big") is None else "", shell=True)
    giver, (token,) = h.give("big")
    s = h.raw()
    body = json.dumps({"kind": "rootfs", "source": token})
    s.sendall(("POST /v1/images HTTP/1.1\r\nHost: k\r\nAccept: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s" %
               (len(body), body)).encode())
    children = "/proc/%d/task/%d/children" % (h.process.pid, h.process.pid)
    began = until(lambda: open(children).read().strip())
    s.close()
    check("an import began", began)
    check("and ends when its client has left", until(lambda: not open(children).read().strip()))
    check("without leaving anything", until(lambda: not [f for f in os.listdir(h.state + "/images") if f.startswith(".")]),
          os.listdir(h.state + "/images"))
    giver.close()
    subprocess.run(["rm", "-rf", "big", "fifo"])


def test_import_that_finds_no_room(h):
    """On a file system of 64 MiB: the end comes before the last of it is gone, and all of it comes back."""
    if os.geteuid() != 0:
        skip("an import to a full disk", "not root")
        return
    state = h.dir + "/small"
    os.mkdir(state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,mode=700", "small", state], check=True)
    h.stop()
    try:
        h.start(KOSVM_STATE=state)
        os.makedirs("big")
        subprocess.run("for i in 1 2 3 4; do head -c 40000000 /dev/urandom >big/$i; done", shell=True, check=True)
        free = lambda: os.statvfs(state).f_bavail * os.statvfs(state).f_frsize
        before = free()
        r = h.import_image("rootfs", "big")
        check("an import that does not fit", r.status == 507 and "kosvm image rm" in r.error["message"], r)
        left = lambda: [f for f in os.listdir(state + "/images") if f.startswith(".")]
        check("leaves nothing", until(lambda: not left()), left())
        check("and the room is back", until(lambda: free() > before - (1 << 20)), (before, free()))
        with open(state + "/ballast", "wb") as f:
            f.write(b"x" * (free() - (2 << 20)))
        r = h.import_image("rootfs", "modules")
        check("one is not begun where there is none", r.status == 507 and "kept for agents" in r.error["message"], r)
        check("kosvmd goes on", h.trust().status == 201)
        check("and ends in order", h.stop() == 0, h.said()[-2000:])
    finally:
        if h.process.poll() is None:
            h.stop()
        subprocess.run(["umount", state], check=True)
        subprocess.run(["rm", "-rf", "big"])
        h.start()


def test_descriptors(h):
    before = h.settled()
    s, tokens = h.give("kernel", "k.c")
    check("tokens differ", len(set(tokens)) == 2 and all(re.fullmatch("[0-9a-f]{32}", t) for t in tokens), tokens)
    other = h.fds()
    reply, fds = h.exchange(other, {"take": tokens[0]})
    check("a token gives the descriptor", "ok" in reply and len(fds) == 1 and os.path.samestat(os.fstat(fds[0]), os.stat("kernel")))
    for fd in fds:
        os.close(fd)
    reply, fds = h.exchange(other, {"take": tokens[0]})
    check("once", reply["error"]["code"] == "ENOENT" and not fds, reply)
    for what, message in (("another verb", {"steal": 1}), ("more than one", {"take": tokens[1], "give": 1}), ("no object", b"[]"),
                          ("no JSON", b"\xff"), ("duplicate keys", b'{"take":"a","take":"b"}'), ("a number", {"take": 1}),
                          ("give without descriptors", {"give": 1}), ("give none", {"give": 0})):
        reply, fds = h.exchange(other, message)
        check("exchange: %s is an error" % what, "error" in reply and not fds, reply)
    reply, fds = h.exchange(other, {"take": tokens[1]})
    check("and the connection goes on", "ok" in reply, reply)
    for fd in fds:
        os.close(fd)
    s.close()
    other.close()
    check("no descriptor stays", until(lambda: h.descriptors() <= before), (before, h.descriptors()))
    many = h.fds()
    fds = [os.open("k.c", os.O_RDONLY) for _ in range(16)]
    replies = [h.exchange(many, {"give": 16}, fds)[0] for _ in range(33)]
    check("descriptors that wait are bounded", "ok" in replies[31] and "error" in replies[32], replies[32])
    many.close()
    for fd in fds:
        os.close(fd)
    check("and go with their giver", until(lambda: h.descriptors() <= before), (before, h.descriptors()))
