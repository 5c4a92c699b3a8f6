# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# kosvmd under a service manager: what it says on NOTIFY_SOCKET and when, as sd_notify(3) describes it.

# manager.py NAME WATCHDOG_USEC: runs kosvmd as a manager does, without standard descriptors; prints what it heard and saw.
cat >"$dir/manager.py" <<'PY'
import os, signal, socket, subprocess, sys
name, usec = sys.argv[1], sys.argv[2]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\0" + name[1:] if name[0] == "@" else name)
s.settimeout(30)
env = dict(os.environ, NOTIFY_SOCKET=name)
if usec != "0":
    env["WATCHDOG_USEC"] = usec
d = subprocess.Popen(["kosvmd"], env=env, preexec_fn=lambda: os.closerange(0, 3))
print(s.recv(4096).decode())
print("served", subprocess.run(["kosvm", "ps"], stdout=subprocess.DEVNULL).returncode == 0)
print("null", all(os.readlink("/proc/%d/fd/%d" % (d.pid, fd)) == "/dev/null" for fd in range(3)))
beats = 0
while usec != "0" and beats < 3:
    beats += s.recv(4096) == b"WATCHDOG=1"
print("beats", beats)
d.send_signal(signal.SIGTERM)
while True:
    text = s.recv(4096).decode()
    if text != "WATCHDOG=1":
        break
print(text.split("\n")[0])
print("code", d.wait())
PY

end_kosvmd
try python3 manager.py "$dir/notify" 0
expect "a service manager hears that requests are served" 0 "^READY=1"
is "and they are" -n "$(grep '^served True' <<<"$out")"
is "and of the end" -n "$(grep '^STOPPING=1' <<<"$out")"
# Else the database would be one of them, and a message of a library a page of it.
is "started without standard descriptors, it has some" -n "$(grep '^null True' <<<"$out")"
is "which is an orderly one" -n "$(grep '^code 0' <<<"$out")"
try python3 manager.py "@kosvm-test-$$" 100000
expect "an abstract socket, and a watchdog" 0 "^beats 3"
for socket in relative @ "/$(head -c 200 /dev/zero | tr '\0' a)"; do
	try env NOTIFY_SOCKET="$socket" kosvmd
	expect "NOTIFY_SOCKET that is none" 1 "NOTIFY_SOCKET: expected"
done
try env NOTIFY_SOCKET="$dir/nobody" kosvmd
expect "NOTIFY_SOCKET nobody listens on" 1 "nobody: connect"
try env NOTIFY_SOCKET="$dir/notify" WATCHDOG_USEC=soon kosvmd
expect "WATCHDOG_USEC that is no number" 1 "NOTIFY_SOCKET|WATCHDOG_USEC"
unit=$prefix/lib/systemd/system/kosvmd.service
if command -v systemd-analyze >/dev/null; then
	sed "s,^ExecStart=[^ ]*,ExecStart=$prefix/bin/kosvmd," "$unit" >kosvmd.service
	try systemd-analyze verify --man=no "$dir/kosvmd.service"
	expect "systemd takes the unit" 0
	is "and has nothing to say about it" -z "$(grep kosvmd.service <<<"$err")"
else
	skip "systemd takes the unit" "no systemd-analyze"
fi
is "a restart leaves the running agents alone" "$(sed -n 's/^KillMode=//p' "$unit")" = process
