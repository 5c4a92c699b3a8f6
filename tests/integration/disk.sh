# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# The state disk: what was written is there after a stop, after a power cut, and when it was full.

# piece OFFSET: 8 MiB of data from that MiB on.
piece() {
	dd if="$data" bs=1M skip="$1" count=8 status=none
}

# put NAME OFFSET: that piece becomes a file in the guest.
put() {
	piece "$2" | timeout $((patience * factor)) kosvm exec -i mill sh -c "cat >/state/$1"
}

# holds NAME OFFSET
holds() {
	good exec mill b2sum "/state/$1"
	is "checksum of /state/$1" "${out%% *}" "$(piece "$2" | b2sum | cut -d ' ' -f 1)"
}

disk_restart() {
	put first 0
	holds first 0
	good stop mill
	is state "$(field mill state)" stopped
	is reason "$(field mill reason)" 'stopped by request'
	good start mill
	holds first 0
}

disk_power_cut() {
	put second 20
	good exec mill sync
	good stop --kill mill
	is state "$(field mill state)" stopped
	good start mill
	holds second 20
	holds first 0
}

disk_full() {
	k exec mill sh -c 'cat /dev/zero >/state/full'
	[ "$code" -ne 0 ] || fail "32 MiB took more than 32 MiB"
	has "in the guest" "$err" 'No space left on device'
	is "size of the state file" "$(find "$KOSVM_STATE/agents" -name state.img -size +33554432c)" ""
	is state "$(field mill state)" running
	good exec mill sh -c 'rm /state/full; echo again >/state/small; cat /state/small'
	is "after that" "$out" again
	holds first 0
}

disk_tests() {
	t "disk: 8 MiB are there after stop and start" disk_restart
	t "disk: what was synced is there after stop --kill" disk_power_cut
	t "disk: a full state disk is ENOSPC in the guest, and the agent goes on" disk_full
}
