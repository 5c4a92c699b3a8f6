# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# Limits on disks and vsock. What may pass in a time is bounded, however slow the machine is; that it is not far less is not asked.

# at_least MILLISECONDS COMMAND...: which must succeed, and not sooner.
at_least() {
	local least=$1 start now

	shift
	start=$(date +%s%N)
	"$@"
	now=$(date +%s%N)
	[ $(((now - start) / 1000000)) -ge "$least" ] || fail "$*: $(((now - start) / 1000000)) ms, expected at least $least"
}

write_4m() {
	good exec mill sh -c 'head -c 4194304 /dev/zero >/state/slow && sync -f /state/slow && rm /state/slow'
}

read_4m() {
	is "bytes" "$(timeout $((patience * factor)) kosvm exec mill head -c 4194304 /dev/zero | wc -c)" 4194304
}

# 4 MiB at 1 MiB a second, of which one may pass at once.
limits_disk() {
	good update mill --disk-bandwidth 1M --disk-burst 1M
	at_least 2950 write_4m
	has "inspect" "$(kosvm inspect mill | tr -d ' \n')" '"disk_bandwidth":\{"value":1048576,"from":"update"\}'
	good update mill --disk-bandwidth none
	write_4m
	is state "$(field mill state)" running
}

limits_ops() {
	good update mill --disk-ops 10
	# Each is several: data, journal, flushes.
	at_least 1950 good exec mill sh -c 'for i in 1 2 3 4 5 6 7 8; do echo again >/state/slow; sync -f /state/slow; done; rm /state/slow'
	good update mill --reset
}

# A guest that floods is heard by its heartbeat all the same.
limits_vsock() {
	good update mill --vsock-bandwidth 1M
	at_least 2950 read_4m
	is state "$(field mill state)" running
	good update mill --vsock-bandwidth manifest
	read_4m
}

limits_kept() {
	good update mill --disk-bandwidth 1M --disk-burst 1M
	good stop mill
	good start mill
	at_least 2950 write_4m
	detach_kosvmd
	start_kosvmd "$work/kosvmd.log"
	at_least 2950 write_4m
	good update mill --reset
	has "inspect" "$(kosvm inspect mill | tr -d ' \n')" '"disk_bandwidth":\{"value":0,"from":"default"\}'
	write_4m
}

limits_stop() {
	good update mill --disk-bandwidth 64K --disk-burst 64K
	k exec mill sh -c '(head -c 4194304 /dev/zero >/state/slow; sync -f /state/slow) >/dev/null 2>&1 </dev/null & sleep 1'
	good stop --kill mill
	is state "$(field mill state)" stopped
	good update --reset mill
	good start mill
	good exec mill rm -f /state/slow
}

limits_tests() {
	t "limits: 4 MiB to a disk of 1 MiB a second take 3 s" limits_disk
	t "limits: eight small files made safe at 10 operations a second take 2 s" limits_ops
	t "limits: 4 MiB over a vsock of 1 MiB a second take 3 s, and the guest is not taken for dead" limits_vsock
	t "limits: kept by a restart of the agent, and of kosvmd" limits_kept
	t "limits: an agent whose disk is owed a minute ends at once" limits_stop
}
