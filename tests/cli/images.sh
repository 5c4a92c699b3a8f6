# shellcheck shell=bash disable=SC2154,SC2034 # sourced by tests/cli/run, whose words it uses
# Images: tiny ones of each kind, and what is none.

printf 'void _start(void) { for (;;) ; }\n' >k.c
gcc -static -nostdlib -no-pie -o tiny-kernel k.c
mkdir -p tree/etc modules
echo hello >tree/etc/motd
: >modules/modules.dep
printf 'kernel/%s.ko\n' virtio_ring virtio virtio_mmio virtio_blk vsock vmw_vsock_virtio_transport_common \
	vmw_vsock_virtio_transport erofs >modules/modules.builtin
try kosvm image import kernel tiny-kernel
expect "image import kernel" 0 '^blake2b:[0-9a-f]{64}$'
kernel=$out
try kosvm image import initramfs modules
expect "image import initramfs" 0 '^blake2b:[0-9a-f]{64}$'
initramfs=$out
try kosvm image import rootfs tree
expect "image import rootfs of a directory" 0 '^blake2b:[0-9a-f]{64}$'
rootfs=$out
tar -cf tree.tar -C tree .
try kosvm image import rootfs - < <(cat tree.tar)
expect "image import rootfs of a tar file from a pipe" 0 '^blake2b:[0-9a-f]{64}$'
try kosvm image import kernel tree.tar
expect "a tar file is no kernel" 1 "not a kernel"
try kosvm image import rootfs tiny-kernel
expect "a kernel is no root filesystem" 1 "not a root filesystem"
try kosvm image import kernel tree
expect "a directory is no kernel" 1 "plain file"
try kosvm image import initramfs tree
expect "a tree without modules" 1 "lib/modules/VERSION"
try kosvm image import kernel /dev/zero
expect "a device is no kernel" 1 "plain file"
: >empty
try kosvm image import rootfs empty
expect "an empty file" 1 "empty"
head -c 700 tree.tar >short.tar
try kosvm image import rootfs short.tar
expect "a tar file that is cut short" 1 "short.tar: a tar file that is cut short"
head -c 1024 tree.tar >short.tar
try kosvm image import rootfs short.tar
expect "a tar file that is cut between two members" 1 "short.tar: a tar file that is cut short"
cp tiny-kernel $'esc\x1b]0;title\x07'
try kosvm image import kernel --label $'esc\x1b]0;title\x07' tiny-kernel
expect "a label with control characters" 0
try kosvm image ls
is "reaches no terminal" "$(grep -c $'[\x1b\x07]' <<<"$out")" -eq 0
try kosvm image import kernel $'no\x1b]0;such\xc2\x9b31m'
expect "a name with control characters" 1
is "in a message reaches no terminal either" "$(LC_ALL=C grep -c $'[\x1b\x9b]' <<<"$err")" -eq 0
try kosvm image ls --format json
json_lines "image ls --format json"
try kosvm image ls -q
is "image ls -q" "$(grep -cE '^blake2b:[0-9a-f]{64}$' <<<"$out")" -ge 3
try kosvm image rm "blake2b:$(printf '%064d' 0)" blake2b:12
expect "image rm of what is not there" 1 "no image"
is "nothing unfinished stays in the store" -z "$(find "$KOSVM_STATE/images" -name '.tmp-*')"

# A hostile archive: absolute names, "..", devices, links out of the tree, set-user-id and a root without permissions.
python3 - <<'PY'
import io, tarfile
def add(t, name, data=b"", **kw):
    i = tarfile.TarInfo(name)
    i.size = len(data)
    for k, v in kw.items():
        setattr(i, k, v)
    t.addfile(i, io.BytesIO(data))
with tarfile.open("hostile.tar", "w") as t:
    add(t, "./", type=tarfile.DIRTYPE, mode=0o777)
    add(t, "/absolute-kosvm-test", b"x")
    add(t, "out", type=tarfile.SYMTYPE, linkname="/")
    add(t, "suid", b"#!/bin/sh\n", mode=0o6777)
    add(t, "pipe", type=tarfile.FIFOTYPE)
    # Only root reads what nobody may read.
    add(t, "deep/" * 60 + "file", b"y", mode=0 if __import__("os").geteuid() == 0 else 0o400)
with tarfile.open("escape.tar", "w") as t:
    add(t, "out", type=tarfile.SYMTYPE, linkname="%s" % __import__("os").getcwd())
    add(t, "out/escaped", b"x")
with tarfile.open("dotdot.tar", "w") as t:
    add(t, "../escaped", b"x")
with tarfile.open("hard.tar", "w") as t:
    add(t, "passwd", type=tarfile.LNKTYPE, linkname="/etc/passwd")
PY
try kosvm image import rootfs hostile.tar
expect "absolute names stay inside" 0
is "nothing came to the root" ! -e /absolute-kosvm-test
for name in escape dotdot hard; do
	try kosvm image import rootfs "$name.tar"
	expect "$name.tar is refused" 1 "unpacking"
done
is "nothing escaped" "$(find "$dir" "$KOSVM_STATE" -name escaped | wc -l)" -eq 0
is "nothing of them stays" -z "$(find "$KOSVM_STATE/images" -name '.tmp-*')"
