#!/usr/bin/env bash
# The demo: the agent echo-mint from its key to its counter, with kosvm's own command line.
#   demo.sh prepare   keys, images and the signed manifest: needs no KVM
#   demo.sh live      the agent itself: on a machine that can run Linux guests
# KOSVM_BIN is where the programs are, KOSVM_DEMO_DIR keeps what passes from the first part to the second.
set -euo pipefail

: "${KOSVM_BIN:?}" "${KOSVM_DEMO_DIR:?}"
export PATH=$KOSVM_BIN:$PATH KOSVM_STATE=$KOSVM_DEMO_DIR/state KOSVM_RUN=$KOSVM_DEMO_DIR/run
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
exec 5>&1
bold='' plain=''
if [ -t 1 ]; then bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true); fi

# shown WORD...: a command as a person would type it.
shown() {
	local word

	for word in "$@"; do
		case $word in *[!A-Za-z0-9_./:=@+-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
	done
}

said=''
# step TITLE COMMAND...: says what comes, runs it, keeps its standard output in $said and prints the time it took.
step() {
	local title=$1 start end code=0
	shift

	printf '\n%s%s%s\n  $%s\n' "$bold" "$title" "$plain" "$(shown "$@")"
	start=${EPOCHREALTIME/[.,]/}
	# What it says on standard error comes at once, and all of it before the result.
	exec 6> >(sed -u 's/^/  | /' >&5)
	said=$("$@" 2>&6 6>&-) || code=$?
	exec 6>&-
	wait $!
	end=${EPOCHREALTIME/[.,]/}
	[ -z "$said" ] || printf '  %s\n' "${said//$'\n'/$'\n'  }"
	printf '  (%d.%02d s)\n' $(((end - start) / 1000000)) $(((end - start) / 10000 % 100))
	return $code
}

# refused TITLE COMMAND...: the same for what has to fail.
refused() {
	if step "$@"; then
		echo "demo: this should have been refused" >&2
		exit 1
	fi
	echo "  refused, as it should be"
}

# expect PATTERN: the demo fails unless the last step said so.
expect() {
	grep -qE -- "$1" <<<"$said" || { echo "demo: expected an answer like \"$1\"" >&2 && exit 1; }
}

end_kosvmd() {
	local pid

	[ -S "$KOSVM_RUN/kosvmd.sock" ] || return 0
	pid=$(kosvm doctor --format json | sed -n 's/.*"check":"kosvmd".*pid \([0-9]*\).*/\1/p' || true)
	[ -n "$pid" ] || return 0
	kill -INT "$pid" # agents end with it
	while kill -0 "$pid" 2>/dev/null; do read -rt 0.05 <> <(:) || true; done
}

prepare() {
	local kernel initramfs rootfs modules

	end_kosvmd
	rm -rf "$KOSVM_DEMO_DIR"
	mkdir -p "$KOSVM_DEMO_DIR"
	cd "$KOSVM_DEMO_DIR"
	trap end_kosvmd EXIT
	cp "$top/examples/echo-mint/agent.py" .

	step "A key to sign with (two files, in minisign's format)" kosvm key gen --no-password demo
	step "This host shall accept what the key signs" kosvm key trust demo.pub
	step "The guest kernel: unpacked once, named by its digest" \
		kosvm image import kernel "$(echo "$KOSVM_KERNEL_DIR"/boot/vmlinuz-*)"
	kernel=$said
	modules=$(echo "$KOSVM_KERNEL_DIR"/lib/modules/*)
	step "The initramfs: kosvm-init and the few modules a guest needs" kosvm image import initramfs "$modules"
	initramfs=$said
	step "The root filesystem: Debian with Python and the agent, as read-only EROFS" \
		kosvm image import rootfs "$KOSVM_ROOTFS_TAR"
	rootfs=$said
	step "What the store holds" kosvm image ls

	sed -e "s/@KERNEL@/$kernel/" -e "s/@INITRAMFS@/$initramfs/" -e "s/@ROOTFS@/$rootfs/" \
		"$top/examples/echo-mint/echo-mint.ini.in" >echo-mint.ini
	step "The manifest: what the agent is made of and what it may have" cat echo-mint.ini
	step "Signed: every byte counts from here on" kosvm manifest sign echo-mint.ini --key demo.key
}

# One byte of the image is another one; the same again mends it.
flip_byte() {
	local file=$1 offset=$2 byte

	byte=$(od -An -tu1 -j "$offset" -N 1 "$file")
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\x$(printf %x $((byte ^ 1)))" | dd of="$file" bs=1 seek="$offset" conv=notrunc status=none
}

live() {
	local image

	cd "$KOSVM_DEMO_DIR"
	trap end_kosvmd EXIT
	step "Signature and digests are verified, then its own microVM boots" kosvm run -d echo-mint.ini
	step "It runs" kosvm ps
	step "Lines to the agent over vsock; it counts them under /state" kosvm send echo-mint 'good morning' 'and again'
	expect 'echo-mint #2: and again'
	step "A command inside the VM: a kernel of its own" kosvm exec echo-mint uname -a
	expect '^Linux echo-mint '
	step "What the agent wrote" kosvm logs echo-mint
	step "An orderly end" kosvm stop echo-mint
	step "Started again" kosvm start echo-mint
	step "The counter goes on: the state disk kept it" kosvm send echo-mint 'still there?'
	expect 'echo-mint #3: still there'
	step "And an end" kosvm stop echo-mint

	sed 's/^memory = 128M/memory = 129M/' echo-mint.ini >greedy.ini
	refused "A manifest with one changed byte (128M is now 129M), with the old signature" \
		kosvm run -d --signature echo-mint.ini.minisig greedy.ini
	image=$KOSVM_STATE/images/$(sed -n 's/^rootfs = blake2b://p' echo-mint.ini)
	flip_byte "$image" 1000000
	refused "One changed byte in the root filesystem" kosvm start echo-mint
	flip_byte "$image" 1000000
	step "The agent and its state go" kosvm rm echo-mint
	step "Nothing is left" kosvm ps -a
}

case ${1:-} in
prepare | live) "$1" ;;
*) echo "usage: demo.sh prepare|live" >&2 && exit 2 ;;
esac
