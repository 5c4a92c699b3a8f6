# shellcheck shell=bash
# For tests with a stand-in in the place of kosvm-vmm: sourced by those who run them.

# own_mounts DIR COMMAND...: with mounts that nobody else sees, and a /dev/kvm to open where this machine has none: the
# stand-in does not use it, but kosvmd starts no VM without one. DIR is empty. For root.
# shellcheck disable=SC2016 # expanded there
own_mounts() {
	unshare --mount --propagation private bash -ec '
		dev=$1
		shift
		if ! [ -c /dev/kvm ] || ! (exec 3<>/dev/kvm) 2>/dev/null; then
			mount -t tmpfs -o mode=755 tmpfs "$dev"
			mkdir "$dev/pts" "$dev/shm"
			for name in pts shm null zero full random urandom tty; do
				[ -d "/dev/$name" ] || : >"$dev/$name"
				mount --bind "/dev/$name" "$dev/$name"
			done
			: >"$dev/kvm"
			mount --bind /dev/null "$dev/kvm"
			mount --rbind "$dev" /dev
		fi
		KOSVM_KILLS_OWN_MOUNTS=1 exec "$@"' own_mounts "$@"
}

may_own_mounts() {
	[ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null
}
