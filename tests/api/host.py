"""What the API's tests stand on: a kosvmd with a state of its own, ways to ask it, and docs/openapi.yaml to judge the answers."""
import array
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import jsonschema
import yaml

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
counts = {"ok": 0, "FAIL": 0, "skip": 0}


def ok(name):
    counts["ok"] += 1
    print("ok", name, flush=True)


def bad(name, why=""):
    counts["FAIL"] += 1
    for line in str(why).splitlines():
        print(" ", line)
    print("FAIL", name, flush=True)


def skip(name, why):
    counts["skip"] += 1
    print("skip %s: %s" % (name, why), flush=True)


def check(name, condition, why=""):
    ok(name) if condition else bad(name, why)
    return condition


def tally():
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    return 1 if counts["FAIL"] else 0


def until(fn, seconds=20):
    """What fn returns, once that is true; False if it never is."""
    end = time.time() + seconds
    while time.time() < end:
        result = fn()
        if result:
            return result
        time.sleep(0.05)
    return False


class Spec:
    """docs/openapi.yaml, and which of its operations were seen to work."""

    def __init__(self):
        with open(os.path.join(TOP, "docs/openapi.yaml")) as f:
            self.doc = yaml.safe_load(f)
        self.seen = set()
        self.nullable(self.doc)
        self.resolver = jsonschema.RefResolver("", self.doc)

    def nullable(self, node):
        """OpenAPI 3.0 has a word of its own for what JSON schema says with a list of types."""
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
            self.nullable(child)
        if isinstance(node, dict) and node.get("nullable") and "type" in node:
            node["type"] = [node["type"], "null"]
            if "enum" in node:
                node["enum"] = node["enum"] + [None]

    def operation(self, method, path):
        parts = path.split("?")[0].split("/")
        for template, item in self.doc["paths"].items():
            names = template.split("/")
            if len(names) == len(parts) and all(n == p or n.startswith("{") for n, p in zip(names, parts)):
                return item.get(method.lower())
        return None

    def deref(self, node):
        return self.resolver.resolve(node["$ref"])[1] if "$ref" in node else node

    def judge(self, schema, value):
        jsonschema.Draft7Validator(schema, resolver=self.resolver).validate(value)

    def request(self, method, path, query, body):
        """Raises when kosvmd could not but refuse that; query is a list of pairs."""
        op = self.operation(method, path)
        assert op, "%s %s is not described" % (method, path)
        known = {p["name"]: p["schema"] for p in map(self.deref, op.get("parameters", [])) if p["in"] == "query"}
        for key, value in query:
            assert key in known, "no parameter %s" % key
            schema = self.deref(known[key])
            kind = schema.get("type")
            self.judge(schema, int(value) if kind == "integer" else value == "true" if value in ("true", "false") and
                       kind == "boolean" else [value] if kind == "array" else value)
        described = op.get("requestBody", {"content": {"application/json": {"schema": {"maxProperties": 0}}}})
        self.judge(described["content"]["application/json"]["schema"], body)

    def answer(self, method, path, status, kind, body):
        """Raises when the answer is not what the description says."""
        op = self.operation(method, path)
        if op is None:
            self.judge(self.doc["components"]["schemas"]["Error"], json.loads(body))
            return
        answers = op["responses"]
        described = self.deref(answers.get(str(status)) or answers["default"])
        kind = kind.split(";")[0]
        if kind == "application/x-ndjson" and op.get("x-long"):
            done = next(v for k, v in answers.items() if k.startswith("2"))
            self.lines(op, self.deref(done)["content"]["application/json"]["schema"], body)
            return
        assert str(status) in answers or status >= 400, "status %d is not described" % status
        assert kind in described["content"], "%s is not described" % kind
        schema = described["content"][kind]["schema"]
        if kind == "application/json":
            self.judge(schema, json.loads(body))
        elif kind == "application/x-ndjson":
            for line in body.splitlines():
                self.judge(schema, json.loads(line))
        if status < 300:
            self.seen.add(op["operationId"])

    def lines(self, op, schema, body):
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines[:-1]:
            assert list(line) == ["progress"] and isinstance(line["progress"], str), line
        if "ok" in lines[-1]:
            assert list(lines[-1]) == ["ok"]
            self.judge(schema, lines[-1]["ok"])
            self.seen.add(op["operationId"])
        else:
            self.judge(self.doc["components"]["schemas"]["Error"], lines[-1])


class Answer:
    def __init__(self, status, kind, body, headers=None):
        self.status, self.kind, self.body, self.headers = status, kind, body, headers

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json.get("error", {})

    def __repr__(self):
        return "%d %s %r" % (self.status, self.kind, self.body[:600])


class Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("kosvm", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Host:
    def __init__(self, prefix, kosvmd, vmm):
        """Below prefix kosvm is installed; kosvmd is the one to test; vmm, a script, stands in for kosvm-vmm."""
        self.dir = tempfile.mkdtemp(prefix="kosvm-api.")
        os.makedirs(self.dir + "/bin")
        os.makedirs(self.dir + "/libexec/kosvm")
        shutil.copy(kosvmd, self.dir + "/bin/kosvmd")
        shutil.copy(prefix + "/libexec/kosvm/kosvm-init", self.dir + "/libexec/kosvm/kosvm-init")
        self.stand_in(vmm)
        self.kosvm = prefix + "/bin/kosvm"
        self.run, self.state = self.dir + "/run", self.dir + "/state"
        self.env = dict(os.environ, KOSVM_RUN=self.run, KOSVM_STATE=self.state, LC_ALL="C.UTF-8",
                        ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
        self.spec = Spec()
        self.process = None
        self.start()

    def stand_in(self, script):
        """kosvmd runs kosvm-vmm by its descriptor, which a script cannot be run by."""
        source = self.dir + "/vmm.c"
        with open(source, "w") as f:
            f.write('#include <unistd.h>\nint main(void) { execl("%s", "python3", "-I", "%s", (char *)0); return 126; }\n' %
                    (os.path.realpath("/usr/bin/python3"), script))
        subprocess.run(["gcc", "-o", self.dir + "/libexec/kosvm/kosvm-vmm", source], check=True)

    def sandbox(self, text):
        """A sandbox.ini. A stand-in is no static program that could live in an empty root."""
        path = self.dir + "/sandbox.ini"
        with open(path, "w") as f:
            f.write(text + "[isolation]\njail = off\n")
        return path

    def start(self, **env):
        if "KOSVM_SANDBOX" not in env:
            env["KOSVM_SANDBOX"] = self.sandbox("")
        r, w = os.pipe()
        self.log = open(self.dir + "/log", "ab")
        self.process = subprocess.Popen([self.dir + "/bin/kosvmd", "--ready-fd", str(w)], pass_fds=[w], stderr=self.log,
                                        env=dict(self.env, **env))
        os.close(w)
        said = os.read(r, 500)
        os.close(r)
        assert said == b"1", said
        self.sock = self.run + "/kosvmd.sock"

    def stop(self, signo=signal.SIGINT):
        """The exit code: not 0 when a sanitizer found something."""
        self.process.send_signal(signo)
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.log.close()
        return code

    def said(self):
        with open(self.dir + "/log", errors="replace") as f:
            return f.read()

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- asking ----

    def ask(self, method, path, body=None, lines=False, headers=None, judge=True, timeout=60):
        """One request; the answer is held against docs/openapi.yaml."""
        c = Unix(self.sock, timeout)
        headers = dict(headers or {})
        if lines:
            headers["Accept"] = "application/x-ndjson"
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        c.request(method, path, body, headers)
        r = c.getresponse()
        answer = Answer(r.status, r.headers.get("Content-Type", ""), r.read(), r.headers)
        c.close()
        if judge:
            self.spec.answer(method, path, answer.status, answer.kind, answer.body)
        return answer

    def curl(self, *args):
        """curl(1), as anybody would: the body, and the status behind it."""
        p = subprocess.run(["curl", "-sS", "--max-time", "60", "--unix-socket", self.sock, "-w", "\n%{http_code}", *args],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        body, _, status = p.stdout.rpartition(b"\n")
        return Answer(int(status or 0), "", body or p.stderr)

    def raw(self, data=b"", timeout=30):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.sock)
        s.settimeout(timeout)
        if data:
            s.sendall(data)
        return s

    def stream(self, path, accept=None, timeout=30, headers=None):
        """A GET whose answer is read by and by: the response, with its socket behind it."""
        c = Unix(self.sock, timeout)
        c.request("GET", path, headers=dict(headers or {}, **({"Accept": accept} if accept else {})))
        r = c.getresponse()
        r.connection = c
        return r

    # ---- descriptors ----

    def fds(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(30)
        s.connect(self.run + "/kosvmd.fds")
        return s

    @staticmethod
    def exchange(s, message, fds=()):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        s.sendmsg([message if isinstance(message, bytes) else json.dumps(message).encode()], control)
        data, anc, _, _ = s.recvmsg(65536, socket.CMSG_SPACE(64))
        got = array.array("i")
        for _, _, raw in anc:
            got.frombytes(raw)
        return json.loads(data) if data else None, list(got)

    def give(self, *paths):
        """Tokens of files; they live as long as the socket that is returned with them."""
        s = self.fds()
        fds = [os.open(p, os.O_RDONLY) for p in paths]
        reply, _ = self.exchange(s, {"give": len(fds)}, fds)
        for fd in fds:
            os.close(fd)
        return s, reply["ok"]["tokens"]

    def take(self, token):
        with self.fds() as s:
            reply, got = self.exchange(s, {"take": token})
        return (socket.socket(fileno=got[0]) if got else None), reply

    # ---- what agents are made of ----

    def prepare(self):
        """A key, and tiny images of each kind."""
        os.chdir(self.dir)
        with open("k.c", "w") as f:
            f.write("void _start(void) { for (;;) ; }\n")
        subprocess.run(["gcc", "-static", "-nostdlib", "-no-pie", "-o", "kernel", "k.c"], check=True)
        os.makedirs("tree/etc")
        os.makedirs("modules")
        open("tree/etc/motd", "w").write("hello\n")
        open("modules/modules.dep", "w").close()
        with open("modules/modules.builtin", "w") as f:
            for name in ("virtio_ring virtio virtio_mmio virtio_blk vsock vmw_vsock_virtio_transport_common "
                         "vmw_vsock_virtio_transport erofs").split():
                f.write("kernel/%s.ko\n" % name)
        subprocess.run([self.kosvm, "key", "gen", "--no-password", "plain"], check=True, stdout=subprocess.DEVNULL, env=self.env)
        self.images = {}

    def trust(self):
        return self.ask("POST", "/v1/keys", {"key": open("plain.pub").read(), "file": "plain.pub"})

    def import_image(self, kind, path, lines=False, label=None):
        giver, (token,) = self.give(path)
        with giver:
            r = self.ask("POST", "/v1/images", {"kind": kind, "label": label or os.path.basename(path), "source": token}, lines)
        if r.status == 201:
            self.images[kind] = r.json["digest"]
        return r

    def manifest(self, name, *command, extra="", memory="128M"):
        """A signed manifest: what POST /v1/agents wants."""
        text = """[agent]
name = %s
version = 1

[image]
kernel = %s
initramfs = %s
rootfs = %s

[resources]
vcpus = 1
memory = %s
state = 0

[run]
command = /bin/agent %s
user = 1000:1000
%s""" % (name, self.images["kernel"], self.images["initramfs"], self.images["rootfs"], memory, " ".join(command), extra)
        open("m.ini", "w").write(text)
        if os.path.exists("m.ini.minisig"):
            os.unlink("m.ini.minisig")
        subprocess.run([self.kosvm, "manifest", "sign", "m.ini", "--key", "plain.key"], check=True, stdout=subprocess.DEVNULL,
                       env=self.env)
        return {"manifest": text, "signature": open("m.ini.minisig").read(), "manifest_file": "m.ini"}

    def create(self, name, *command, extra="", **more):
        return self.ask("POST", "/v1/agents", dict(self.manifest(name, *command, extra=extra), **more))

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def settled(self):
        """The same, once nothing of what was asked before is under way: no change in a second."""
        count, since = self.descriptors(), time.time()
        while time.time() - since < 1:
            time.sleep(0.05)
            now = self.descriptors()
            if now != count:
                count, since = now, time.time()
        return count
