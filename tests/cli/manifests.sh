# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# Manifests: checked, signed, verified; and every run that must be refused before there is a VM.

# manifest [MEMORY]: a manifest of the images that images.sh imported, on stdout.
manifest() {
	cat <<INI
[agent]
name = tiny
version = 1

[image]
kernel = $kernel
initramfs = $initramfs
rootfs = $rootfs

[resources]
vcpus = 1
memory = ${1:-128M}
state = 0

[run]
command = /bin/true
user = 1000:1000
INI
}

manifest >m.ini
try kosvm manifest check m.ini
expect "manifest check" 0
try kosvm manifest check - < <(manifest)
expect "manifest check from a pipe" 0
manifest 12X >bad.ini
try kosvm manifest check bad.ini
expect "a mistake has file and line" 1 'bad\.ini:[0-9]+: .*memory'
try kosvm manifest sign bad.ini --key plain.key
expect "what is wrong is not signed" 1 'bad\.ini:[0-9]+'
is "and no signature is left" ! -e bad.ini.minisig
try kosvm run m.ini
expect "run without a signature" 1 "not signed.*kosvm manifest sign"
try kosvm manifest sign m.ini --key plain.key
expect "manifest sign" 0 '^m.ini.minisig$'
try kosvm manifest sign m.ini --key plain.pub
expect "a public key signs nothing" 1 "plain.pub:2"
try kosvm manifest verify m.ini --pub plain.pub
expect "manifest verify" 0 "timestamp"
try kosvm manifest verify m.ini --pub locked.pub
expect "manifest verify with another key" 1 "not trusted|did not sign"
if command -v minisign >/dev/null; then
	try minisign -V -m m.ini -x m.ini.minisig -p plain.pub
	expect "minisign verifies it" 0
else
	skip "minisign verifies it" "minisign is not installed"
fi

cp m.ini locked.ini
out=$(typed 'secret word\n' kosvm manifest sign locked.ini --key locked.key)
is "manifest sign with a password" "$(tail -n 1 <<<"$out")" = "exit 0 echo 1"
out=$(typed 'wrong word\n' kosvm manifest sign m.ini --key locked.key)
is "and with a wrong one" "$(grep -c 'wrong password' <<<"$out")" -eq 1
try kosvm manifest verify locked.ini --pub locked.pub
expect "its signature is right" 0
try kosvm run locked.ini
expect "run signed by a key that is not trusted" 1 "not trusted"

# changed BYTE: one bit of m.ini is another, the signature is the old one.
changed() {
	python3 - "$1" <<'PY'
import sys
at, data = int(sys.argv[1]), bytearray(open("m.ini", "rb").read())
data[at] ^= 1
open("c.ini", "wb").write(data)
PY
	cp m.ini.minisig c.ini.minisig
	try kosvm run c.ini
}
size=$(stat -c %s m.ini)
for at in 0 1 $((size / 3)) $((size / 2)) $((size - 2)) $((size - 1)); do
	changed "$at"
	expect "run with byte $at changed" 1 "did not sign these bytes"
done
for cut in 0 1 $((size / 2)) $((size - 1)); do
	head -c "$cut" m.ini >c.ini
	try kosvm run c.ini
	expect "run cut to $cut bytes" 1 "did not sign these bytes"
done
{ cat m.ini && echo; } >c.ini
try kosvm run c.ini
expect "run with a line more" 1 "did not sign these bytes"
{ cat m.ini && head -c 70000 /dev/zero | tr '\0' '#'; } >c.ini
try kosvm run c.ini
expect "run with more than a manifest holds" 1 "larger|at most"
cp m.ini c.ini
signature=$(stat -c %s m.ini.minisig)
for cut in 0 10 $((signature / 2)) $((signature - 3)); do
	head -c "$cut" m.ini.minisig >c.ini.minisig
	try kosvm run c.ini
	expect "run with a signature cut to $cut bytes" 1 "c.ini"
done
sed 's/file:m/file:x/' m.ini.minisig >c.ini.minisig
try kosvm run c.ini
expect "run with another trusted comment" 1 "comment"
try kosvm run --signature /dev/zero m.ini
expect "run with a device for a signature" 1
try kosvm run --signature m.ini.minisig - < <(cat c.ini; echo '# more')
expect "run from a pipe is verified as well" 1 "did not sign these bytes"
try kosvm run "$dir"
expect "run of a directory" 1
try kosvm run no-such.ini
expect "run of no file" 1 "no-such.ini: No such file"
try kosvm run "$(head -c 5000 /dev/zero | tr '\0' a)"
expect "run of a path that is too long" 1 "aaa…: File name too long"
if [ "$(id -u)" -ne 0 ]; then
	(umask 0777 && : >closed.ini)
	try kosvm run closed.ini
	expect "run of a file that may not be read" 1 "closed.ini: Permission denied"
fi

# try_run NAME FILE PATTERN: a signed manifest that is refused for what it asks for, which kosvmd looks at once it has
# a /dev/kvm.
try_run() {
	kosvm manifest sign "$2" --key plain.key >/dev/null
	if [ -c /dev/kvm ] && { : <>/dev/kvm; } 2>/dev/null; then
		try kosvm run -d "$2"
		expect "$1" 1 "$3"
	else
		skip "$1" "/dev/kvm does not open here"
	fi
}
manifest 64G >large.ini
if [ "$(awk '/^MemTotal:/ { print int($2 / 1048576) }' /proc/meminfo)" -lt 64 ]; then
	try_run "run with more memory than there is" large.ini "more than this host has"
else
	skip "run with more memory than there is" "this host has 64 GiB"
fi
manifest | sed "s/^rootfs = .*/rootfs = blake2b:$(printf '%064d' 1)/" >gone.ini
try_run "run with an image that is not there" gone.ini "no image"
manifest | sed "s/^rootfs = .*/rootfs = $kernel/" >kind.ini
try_run "run with an image of another kind" kind.ini "of kind kernel"
hex=${rootfs#blake2b:}
cp "$KOSVM_STATE/images/$hex" kept
chmod u+w "$KOSVM_STATE/images/$hex"
printf 'X' | dd of="$KOSVM_STATE/images/$hex" bs=1 seek=1500 conv=notrunc status=none
try_run "run with an image changed on disk" m.ini "was changed on disk"
cp kept "$KOSVM_STATE/images/$hex"
try kosvm ps -a --format json
json_lines "ps -a --format json"
is "no refused agent is left behind" -z "$out"
