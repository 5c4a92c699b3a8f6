# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# A host without /dev/kvm, and one that does not let this user have it: each with a kosvmd of its own.

# elsewhere NAME: a state of its own that trusts the key; kosvmd comes with the first command.
elsewhere() {
	export KOSVM_STATE=$work/$1-state KOSVM_RUN=$work/$1-run
	mkdir -p "$KOSVM_STATE"
	cp -r "$work/state/keys" "$KOSVM_STATE/"
	manifest bad '/opt/test/mill stubborn'
}

# Ends the kosvmd that a command started, and takes its state away.
leave_elsewhere() {
	adopt_kosvmd
	end_kosvmd
	rm -rf "${KOSVM_STATE:?}"/* "${KOSVM_RUN:?}"/*
}

# /dev with nothing but the ordinary devices, in a mount namespace of its own.
hide_kvm() {
	local name

	mkdir -p dev
	for name in null zero full random urandom; do
		: >"dev/$name"
		mount --bind "/dev/$name" "dev/$name"
	done
	mount --rbind dev /dev
}

no_kvm_hidden() {
	elsewhere hidden
	refused 'no /dev/kvm: load kvm-' run -d bad.ini
	k doctor
	[ "$code" -ne 0 ] || fail "doctor finds nothing wrong"
	has "kosvm doctor" "$out$err" '/dev/kvm'
	leave_elsewhere
}

no_kvm_hidden_namespace() {
	export work factor patience
	# shellcheck disable=SC2016 # expanded there
	unshare --mount --propagation private bash -c '
		set -euo pipefail
		. "$1/lib.sh"
		. "$1/no-kvm.sh"
		. "$2/images"
		hide_kvm
		no_kvm_hidden' - "$here" "$KOSVM_TEST_DIR"
	rm -rf dev
}

no_kvm_forbidden() {
	elsewhere forbidden
	mkdir -p "$KOSVM_RUN"
	chmod 644 bad.ini bad.ini.minisig
	chown -R 65534:65534 "$KOSVM_STATE" "$KOSVM_RUN"
	export work factor patience
	# shellcheck disable=SC2016 # expanded there
	setpriv --reuid 65534 --regid 65534 --clear-groups env TMPDIR="$KOSVM_RUN" work="$KOSVM_RUN" bash -c '
		set -euo pipefail
		. "$1/lib.sh"
		. "$1/no-kvm.sh"
		refused "no permission on /dev/kvm: .*group kvm" run -d bad.ini
		leave_elsewhere' - "$here"
}

no_kvm_tests() {
	if [ "$(id -u)" -ne 0 ]; then
		skip "refused: no /dev/kvm, or no permission on it" "needs root"
		return
	fi
	t "refused: a host without /dev/kvm" no_kvm_hidden_namespace
	t "refused: no permission on /dev/kvm" no_kvm_forbidden
}
