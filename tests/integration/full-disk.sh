# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# The host's disk is full: a small tmpfs with a kosvmd of its own on it.

# small_disk SIZE: that state, with the images of the others.
small_disk() {
	export KOSVM_STATE=$work/small KOSVM_RUN=$work/small-run
	mkdir -p "$KOSVM_STATE"
	mount -t tmpfs -o "size=$1,mode=700" small "$KOSVM_STATE"
	mkdir "$KOSVM_STATE/images"
	mount --bind "$work/state/images" "$KOSVM_STATE/images"
	cp -r "$work/state/keys" "$KOSVM_STATE/"
	# shellcheck disable=SC2064 # as it is now
	trap "end_kosvmd; umount '$KOSVM_STATE/images' '$KOSVM_STATE'; rm -rf '$KOSVM_STATE' '$KOSVM_RUN'" EXIT
}

full_disk_state() {
	small_disk 3M
	start_kosvmd "$work/kosvmd.log"
	state=64G manifest stuffed '/opt/test/mill stubborn' # its empty file system takes more than that
	refused 'No space left on device|is full' run -d stuffed.ini
}

full_disk_database() {
	small_disk 3M
	start_kosvmd "$work/kosvmd.log"
	good ps -a
	cat "$data" >"$KOSVM_STATE/ballast" 2>/dev/null || true
	manifest stuffed '/opt/test/mill stubborn'
	refused 'full|No space left on device' run -d stuffed.ini
	rm "$KOSVM_STATE/ballast"
	good ps -a
}

full_disk_guest() {
	small_disk 14M
	start_kosvmd "$work/kosvmd.log"
	state=64M manifest stuffed '/opt/test/mill stubborn'
	good run -d stuffed.ini
	k exec stuffed sh -c 'head -c 30M /dev/zero | tr "\0" x >/state/big && sync -f /state/big'
	[ "$code" -ne 0 ] || fail "30 MiB were written to a disk of 14 MiB"
	has "what the guest was told" "$err" 'Input/output error|No space left on device'
	is state "$(field stuffed state)" running
	good exec stuffed sh -c 'echo alive'
	is "the agent goes on" "$out" alive
	good stop stuffed
	good rm stuffed
}

full_disk_tests() {
	if [ "$(id -u)" -ne 0 ]; then
		skip "full disk" "needs root"
		return
	fi
	t "full disk: no room for the state disk" full_disk_state
	t "full disk: no room for a row of the database" full_disk_database
	t "full disk: the guest that filled it gets errors, goes on, and can be stopped and removed" full_disk_guest
}
