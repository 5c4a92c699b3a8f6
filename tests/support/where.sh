# shellcheck shell=bash
# Where Linux guests can run: sourced by bootstrap and the test suites.

support=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# True when this machine has hardware virtualisation that this user may use. A /dev/kvm alone says nothing: some machines
# emulate one that runs tiny guests only, and their processors show neither vmx nor svm.
has_hw_kvm() {
	grep -qE '^flags\b.*\b(vmx|svm)\b' /proc/cpuinfo && has_any_kvm
}

# True when /dev/kvm opens, whatever is behind it: enough for bare guests. Asked for a device: where there is none, root's
# opening would make a file of that name.
has_any_kvm() {
	[ -c /dev/kvm ] && (exec 3<>/dev/kvm) 2>/dev/null
}

# The emulated host ends when the calling shell dies (setpriv).
# on_kvm_host [EMULATED-HOST OPTION]... -- COMMAND [ARG]...: runs COMMAND here, or in the emulated host.
on_kvm_host() {
	local options=()

	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	if has_hw_kvm; then
		"$@"
	else
		setpriv --pdeathsig TERM "$support/emulated-host" "${options[@]}" -- "$@"
	fi
}
