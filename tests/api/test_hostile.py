"""What no client should do."""
import json
import os
import pwd
import resource
import socket
import subprocess
import time

from host import bad, check, skip, until


def everything(sock, timeout=30):
    sock.settimeout(timeout)
    data = b""
    try:
        while True:
            part = sock.recv(65536)
            if not part:
                return data
            data += part
    except (ConnectionError, socket.timeout) as err:
        return data + b" [%s]" % str(err).encode()


def test_bodies(h):
    for what, body in (
            ("deep", b"[" * 100), ("deep objects", b'{"a":' * 40 + b"1" + b"}" * 40), ("deep in a text is fine", None),
            ("duplicate keys", b'{"key":"a","key":"b"}'), ("not UTF-8", b'{"key":"\xff\xfe"}'), ("a NUL", b'{"key":"\\u0000"}'),
            ("half of a surrogate", b'{"key":"\\ud800"}'), ("no object", b"[1]"), ("a text", b'"x"'), ("cut short", b'{"key":"'),
            ("two", b'{"key":"a"}{"key":"b"}'), ("a number too large", b'{"key":' + b"9" * 400 + b"}"), ("garbage", bytes(range(256))),
            ("10,000 keys", json.dumps({"k%d" % i: i for i in range(10000)}).encode())):
        if body is None:
            body = json.dumps({"key": "[" * 100}).encode()
        r = h.ask("POST", "/v1/keys", body)
        check("a body that is %s" % what, r.status == 400 and "\n" not in r.error["message"], r)
    r = h.ask("POST", "/v1/keys", b'{"key":"' + b"x" * 1048560 + b'"}')
    check("a body of 1 MiB is read", r.status == 400 and "longer" in r.error["message"], r)
    r = h.curl("--data-binary", "@" + "/proc/self/exe", "http://kosvm/v1/keys")
    check("a binary", r.status in (400, 413), r)
    with open("huge", "wb") as f:
        f.truncate(3 << 20)
    for args in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect:")):
        r = h.curl(*args, "--data-binary", "@huge", "http://kosvm/v1/keys")
        check("a body of 3 MiB %s" % " ".join(args), r.status == 413 or b"Broken pipe" in r.body or b"reset" in r.body, r)
    r = h.ask("DELETE", "/v1/agents/x", b"{}")
    check("a body where there is none", r.status in (400, 404), r)


def test_names(h):
    for name in ("..", ".", "%2e%2e%2f%2e%2e", "a%2fb", "%0a%1b[31m", "a" * 10000, "%c3%a9", "%F0%9F%98%80", "*", "'\";--"):
        r = h.ask("GET", "/v1/agents/" + name)
        check("an agent named %.24s" % name, r.status in (400, 404) and "\n" not in r.error["message"], r)
    for name in ("%00", "%ff", "%zz", "%", "%c0%af", "%ed%a0%80"):
        r = h.ask("GET", "/v1/agents/" + name)
        check("a name of %s" % name, r.status == 400, r)
    for name in ("", "../x", "a/b", "a" * 10000, "\x1b[31m", "é", " ", "a\nb"):
        r = h.ask("POST", "/v1/agents", dict(h.manifest("fine"), name=name))
        check("an agent to be named %r" % name[:12], r.status == 400, r)
        if r.status == 201:
            h.ask("DELETE", "/v1/agents/" + r.json["id"])
    for path in ("/", "//", "/v1", "/v1/", "/v1/agents/", "/v1//agents", "/V1/agents", "/v1/agents/a/b/c/d/e/f/g/h/i", "/metrics/"):
        r = h.ask("GET", path)
        check("the address %s" % path, r.status == 404, r)
    for method in ("PUT", "PATCH", "HEAD", "OPTIONS", "BREW"):
        r = h.ask(method, "/v1/agents", judge=False)
        check("the method %s" % method, r.status == 405 and "GET" in r.headers["Allow"], r)


def test_broken_http(h):
    for what, data in (("nothing of HTTP", b"\x16\x03\x01\x02\x00\x01\x00" * 10 + b"\r\n\r\n"),
                       ("no version", b"GET /v1/version\r\n\r\n"), ("no host", b"GET /v1/version HTTP/1.1\r\n\r\n"),
                       ("an endless line", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: k\r\n\r\n"),
                       ("endless headers", b"GET /v1/version HTTP/1.1\r\nHost: k\r\n" + b"X-A: b\r\n" * 20000 + b"\r\n"),
                       ("two lengths", b"POST /v1/keys HTTP/1.1\r\nHost: k\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{    }"),
                       ("an odd length", b"POST /v1/keys HTTP/1.1\r\nHost: k\r\nContent-Length: -5\r\n\r\n"),
                       ("a length and chunks", b"POST /v1/keys HTTP/1.1\r\nHost: k\r\nContent-Length: 3\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                       ("bad chunks", b"POST /v1/keys HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n")):
        s = h.raw()
        try:
            s.sendall(data)
            s.shutdown(1)
        except OSError:
            pass
        got = everything(s)
        check("a request with %s is refused" % what, b" 200 " not in got and b" 201 " not in got, got[:200])
        s.close()
    check("and kosvmd goes on", h.ask("GET", "/v1/version").status == 200)


def test_pipelined(h):
    one = b"GET /v1/version HTTP/1.1\r\nHost: k\r\n\r\n"
    body = b'{"key":"x"}'
    other = b"POST /v1/keys HTTP/1.1\r\nHost: k\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    s = h.raw((one + other) * 50 + b"GET /v1/version HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n")
    got = everything(s)
    check("101 requests at once have 101 answers, in order",
          [int(p[:3]) for p in got.split(b"HTTP/1.1 ")[1:]] == [200, 400] * 50 + [200], got[-300:])
    s.close()
    # A long answer in the middle, and more behind it.
    h.create("piped", "stay", start=True)
    s = h.raw(b"POST /v1/agents/piped/stop HTTP/1.1\r\nHost: k\r\nContent-Length: 0\r\n\r\n" + one +
              b"POST /v1/agents/piped/wait HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n")
    got = everything(s)
    check("behind one that takes its time as well", got.count(b"HTTP/1.1 200") == 3, got)
    s.close()
    h.ask("DELETE", "/v1/agents/piped")


def test_half_closed(h):
    s = h.raw(b"GET /v1/version HTTP/1.1\r\nHost: k\r\n\r\n")
    s.shutdown(1)
    got = everything(s)
    check("one who closes his side behind the request gets his answer", b" 200 " in got and b'"api"' in got, got)
    s.close()
    s = h.raw(b"POST /v1/keys HTTP/1.1\r\nHost: k\r\nContent-Length: 100\r\n\r\n{")
    s.shutdown(1)
    got = everything(s)
    check("one who closes it in the middle gets none", b" 201 " not in got, got)
    s.close()


def test_slow(h):
    """Bytes that drip in, each in time for itself: the request as a whole is not."""
    begun = time.time()
    slow = h.raw(b"POST /v1/keys HTTP/1.1\r\nHost: k\r\nContent-Length: 1000\r\n\r\n")
    header = h.raw(b"GET /v1/version HTTP/1.1\r\n")
    silent = h.raw()
    open_ = {slow, header, silent}
    while open_ and time.time() - begun < 20:
        time.sleep(0.5)
        for s in list(open_):
            try:
                data = s.recv(4096, socket.MSG_DONTWAIT)
            except BlockingIOError:
                try:
                    s.sendall(b" " if s is slow else b"X: y\r\n" if s is header else b"")
                except OSError:  # it is told so next time
                    pass
                continue
            except OSError as err:
                data = str(err).encode()
            if s is slow:
                check("a slow body is told so", b" 408 " in data and b"ETIMEDOUT" in data, data)
            open_.discard(s)
        if time.time() - begun < 8 and not open_ == {slow, header, silent}:
            bad("cut off too early")
    check("nobody takes longer than ten seconds for a request", not open_, len(open_))
    for s in (slow, header, silent):
        s.close()


def test_too_many(h):
    socks = []
    idle = h.ask("GET", "/v1/info").json["clients"] - 1
    try:
        for _ in range(256 - idle):
            socks.append(h.raw())
        s = h.raw(b"GET /v1/version HTTP/1.1\r\nHost: k\r\n\r\n")
        got = everything(s)
        s.close()
        check("the 257th client gets a clear 503", b" 503 " in got and b"256 clients" in got, got)
        r = h.curl("http://kosvm/v1/version")
        check("curl shows it", r.status == 503 and "256" in r.error["message"], r)
        socks.pop().close()
        check("and is served when one has left", until(lambda: h.curl("http://kosvm/v1/version").status == 200))
    finally:
        for s in socks:
            s.close()
    check("all is as before", until(lambda: h.curl("http://kosvm/v1/version").status == 200))


def test_strangers(h):
    if os.geteuid() != 0:
        skip("another user gets 403", "not root")
        return
    nobody = pwd.getpwnam("nobody")
    # What keeps others out first, the modes, is opened for this test.
    modes = [(p, os.stat(p).st_mode & 0o7777) for p in (h.dir, h.run, h.sock, h.run + "/kosvmd.fds")]
    code = """import os, socket, sys
os.setgroups([]); os.setgid(%d); os.setuid(%d)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if sys.argv[2] else socket.SOCK_STREAM)
s.settimeout(20)
s.connect(sys.argv[1])
try:
    s.sendall(b'{"take":"%s"}' if sys.argv[2] else b"GET /v1/version HTTP/1.1\\r\\nHost: k\\r\\n\\r\\n")
except OSError:
    pass
try:
    print(s.recv(4096))
except OSError as err:
    print(err)
""" % (nobody.pw_gid, nobody.pw_uid, "0" * 32)
    try:
        for p, _ in modes:
            os.chmod(p, 0o777)
        ask = lambda path, fds: subprocess.run(["python3", "-I", "-c", code, path, fds], cwd="/", stdout=subprocess.PIPE).stdout
        got = ask(h.sock, "")
        check("another user gets 403", b" 403 " in got and b"EACCES" in got and b'"api"' not in got, got)
        got = ask(h.run + "/kosvmd.fds", "1")
        check("and no descriptor", b"EACCES" in got, got)
    finally:
        for p, mode in modes:
            os.chmod(p, mode)
    check("the owner is served", h.ask("GET", "/v1/version").status == 200)
