# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# A guest boots and is what the manifest says: the agent mill, which the next tests share, and Debian's Python.

boot_run() {
	state=32M manifest mill '/opt/test/mill echo 5000'
	good run -d mill.ini
	is "kosvm run -d" "$out" mill
	is state "$(field mill state)" running
	good ps
	has "kosvm ps" "$out" '^mill +running '
}

boot_logs() {
	good logs mill
	is "standard output of kosvm logs" "$out" "mill: listening"
	is "standard error of kosvm logs" "$err" "mill: uid 1000"
	good logs --console mill
}

boot_inside() {
	good exec mill sh -c 'uname -n; id -u; touch /state/mine && echo writable'
	is "host name, uid, /state" "${out//$'\n'/ }" "mill 1000 writable"
	k exec --user 0 mill touch /etc/passwd
	[ "$code" -ne 0 ] || fail "the root filesystem can be written to"
	has "why not" "$err" 'Read-only file system'
}

# What can be seen of it from outside; tests/unit/test_jail_lock.c has what it forbids.
boot_locked() {
	local pid

	pid=$(field mill pid)
	has "no_new_privs of its VMM" "$(cat "/proc/$pid/status")" '^NoNewPrivs:[[:space:]]+1$'
	has "core size of its VMM" "$(cat "/proc/$pid/limits")" '^Max core file size +0 +0 '
	has "a uid of its own" "$(cat "/proc/$pid/status")" '^Uid:[[:space:]]+18790[0-9]{5}[[:space:]]'
	has "no capabilities" "$(cat "/proc/$pid/status")" '^CapBnd:[[:space:]]+0+$'
	has "a PID namespace of its own" "$(cat "/proc/$pid/status")" '^NSpid:.*[[:space:]]1$'
	is "what it sees of files" "$(ls -A "/proc/$pid/root/")" ""
	is "what it sees of networks" "$(sed 1,2d "/proc/$pid/net/dev" | cut -d : -f 1 | tr -d ' ')" lo
	is "what kosvmd could not give it" "$(kosvm info | grep ^isolation)" ""
}

boot_debian() {
	rootfs=$DEBIAN state=16M manifest echo-mint '/usr/bin/python3 /opt/echo-mint/agent.py'
	good run -d echo-mint.ini
	good send echo-mint 'good morning' 'and again'
	is answers "${out//$'\n'/; }" 'echo-mint #1: good morning; echo-mint #2: and again'
	good stop echo-mint
	is "exit code after a stop" "$(field echo-mint exit_code)" 0
	good start echo-mint
	good send echo-mint 'still there?'
	is "the counter goes on" "$out" 'echo-mint #3: still there?'
	good rm --force echo-mint
	is "state after rm --force" "$(field echo-mint state)" ""
}

boot_vcpus() {
	vcpus=2 manifest pair '/opt/test/mill stubborn'
	good run -d pair.ini
	good exec pair nproc
	is nproc "$out" 2
}

boot_tests() {
	t "boot: run -d starts a signed agent, ps shows it" boot_run
	t "boot: logs keep standard output and standard error apart" boot_logs
	t "boot: own host name, ordinary user, read-only root, writable /state" boot_inside
	t "boot: the VMM has locked itself" boot_locked
	t "boot: Debian with Python: echo-mint counts on over stop and start; rm --force" boot_debian
}
