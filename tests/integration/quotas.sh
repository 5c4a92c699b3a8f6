# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# Quotas by cgroup v2, as the host sees them: what they are set to, what they do, and that they cannot be lost unseen.

# group_of NAME: the directory of its VMM's cgroup; nothing if it is in none of ours.
group_of() {
	local path

	path=$(sed -n 's/^0:://p' "/proc/$(field "$1" pid)/cgroup")
	[[ $path = /kosvm/agents-*/* ]] || return 1
	echo "/sys/fs/cgroup$path"
}

# quota_is NAME FILE VALUE
quota_is() {
	is "$2 of $1" "$(cat "$(group_of "$1")/$2")" "$3"
}

value_in() {
	sed -n "s/^$2 //p" "$1"
}

is_throttled() {
	[ "$(value_in "$(group_of "$1")/cpu.stat" nr_throttled)" -gt 3 ]
}

# is_in DIRECTORY PID
is_in() {
	grep -qx "$2" "$1/cgroup.procs" 2>/dev/null
}

is_empty() {
	[ -z "$(cat "$1/cgroup.procs")" ]
}

quotas_there() {
	is "what kosvmd cannot bound" "$(kosvm info | grep '^quotas' | grep -v io.max)" ""
	quota_is mill memory.oom.group 1
	quota_is mill pids.max 64
	quota_is mill cpu.max 'max 100000'
	quota_is mill cpu.weight 100
	has "memory.max" "$(cat "$(group_of mill)/memory.max")" '^1[0-9]{8}$'
	[ ! -e "$(group_of mill)/memory.swap.max" ] || quota_is mill memory.swap.max 0
}

# It reads and writes all that its guest has, and what it takes beside that is far from the limit.
quotas_memory() {
	local dir max peak

	# What is left of 128 MiB is about as much; the guest's own kernel may end it.
	k exec mill /opt/test/mill fill 90
	has "code of a program that takes what there is" "$code" '^(0|137)$'
	good exec mill sh -c 'head -c 20971520 /dev/zero >/state/fill; sync -f /state/fill; rm /state/fill'
	dir=$(group_of mill)
	max=$(cat "$dir/memory.max")
	peak=$(cat "$dir/memory.peak" 2>/dev/null || cat "$dir/memory.current")
	echo "  memory: peak $((peak >> 10)) KiB of $((max >> 10)) KiB; anon $(($(value_in "$dir/memory.stat" anon) >> 10)), shmem \
$(($(value_in "$dir/memory.stat" shmem) >> 10)), kernel $(($(value_in "$dir/memory.stat" kernel) >> 10)), file $(($(value_in "$dir/memory.stat" file) >> 10)) KiB"
	is "kills" "$(value_in "$dir/memory.events" oom_kill)" 0
	[ "$peak" -lt "$max" ] || fail "peak $peak, memory.max $max"
}

quotas_cpu() {
	manifest spinner '/bin/sh -c "while :; do :; done"'
	sed -i '/^vcpus/a cpu = 20%\ncpu-weight = 50' spinner.ini
	sign spinner.ini
	good run -d spinner.ini
	quota_is spinner cpu.max '20000 100000'
	quota_is spinner cpu.weight 50
	until_true 60 is_throttled spinner
	good update spinner --cpu 150% --cpu-weight 200
	quota_is spinner cpu.max '150000 100000'
	quota_is spinner cpu.weight 200
	good update spinner --cpu none
	quota_is spinner cpu.max 'max 100000'
	good update spinner --reset
	quota_is spinner cpu.max '20000 100000'
	has inspect "$(kosvm inspect spinner | tr -d ' \n')" '"cpu_permille":\{"value":200,"from":"manifest"\}'
}

# kosvmd goes and comes; the VM stays in its cgroup, and a limit that changed meanwhile would be set.
quotas_kept() {
	local before

	before=$(group_of spinner)
	detach_kosvmd
	has "its cgroup while kosvmd is away" "$(cat "$before/cgroup.procs")" '^[0-9]+'
	echo 'max 100000' >"$before/cpu.max"
	start_kosvmd "$work/kosvmd.log"
	until_true 30 group_of spinner >"$work/group"
	is "its cgroup" "$(tail -n 1 "$work/group")" "$before"
	quota_is spinner cpu.max '20000 100000'
}

quotas_removed_underneath() {
	local pid dir one

	pid=$(field spinner pid)
	dir=$(group_of spinner)
	echo "$pid" >/sys/fs/cgroup/cgroup.procs
	until_true 30 is_in "$dir" "$pid"
	is state "$(field spinner state)" running
	quota_is spinner cpu.max '20000 100000'
	has "what inspect says" "$(kosvm inspect spinner)" 'its VM was out of its cgroup; it was put back'
	# Twice, and the directory as well.
	while read -r one; do echo "$one" >/sys/fs/cgroup/cgroup.procs; done <<<"$(cat "$dir/cgroup.procs")"
	rmdir "$dir"
	pid=$(field spinner pid)
	until_true 30 is_in "$dir" "$pid"
	is state "$(field spinner state)" running
	good stop --kill spinner
	[ ! -e "$dir" ] || fail "$dir is still there"
}

# All of them gone, as somebody does who tidies up: the next start makes them anew.
quotas_base_removed() {
	local base

	good stop --kill mill
	is agents "$(field spinner state)" stopped
	base=$(echo /sys/fs/cgroup/kosvm/agents-*)
	find "$base" -mindepth 1 -depth -type d -exec rmdir {} +
	rmdir "$base" /sys/fs/cgroup/kosvm
	good start mill
	quota_is mill pids.max 64
}

# The guest cannot make its VMM take more than it may, so the limit comes down to what it has.
quotas_oom() {
	local dir

	manifest fat '/opt/test/mill stubborn'
	good run -d fat.ini
	dir=$(group_of fat)
	until_true 30 sh -c "echo 1 >$dir/memory.max"
	until_true 60 is_field fat state failed
	has "reason" "$(field fat reason)" 'took more than .* of memory.*memory.max'
	has "history" "$(kosvm inspect fat | tr -d ' \n')" '"event":"oom","to":"failed"'
	[ ! -e "$dir" ] || fail "$dir is still there"
	# The same while nobody watches.
	good start fat
	dir=$(group_of fat)
	detach_kosvmd
	echo 1 >"$dir/memory.max"
	until_true 60 is_empty "$dir"
	start_kosvmd "$work/kosvmd.log"
	until_true 60 is_field fat state failed
	has "reason" "$(field fat reason)" 'took more than .* of memory'
	has "history" "$(kosvm inspect fat | tr -d ' \n')" '"event":"oom","to":"failed".*"event":"oom","to":"failed"'
	[ ! -e "$dir" ] || fail "$dir is still there"
	good rm fat
}

# A host that has no cgroups says so and refuses what needs them.
quotas_nowhere() {
	elsewhere plain
	has "kosvm info" "$(kosvm info)" '^quotas +without cpu.max, cpu.weight: cgroup v2 is not mounted'
	adopt_kosvmd
	has "kosvm doctor" "$(kosvm doctor --format json || true)" '"check":"quotas","grade":"warning"'
	refused 'spinner.ini:[0-9]+: cpu = 20%: this host cannot hold an agent to it: cgroup v2 is not mounted; .unenforced-quotas = allow. in \[limits\] of ' run -d spinner.ini
	end_kosvmd
	printf '[limits]\ncpu = 50%%\n' >plain.sandbox
	KOSVM_SANDBOX=$work/plain.sandbox start_kosvmd "$work/plain.log"
	refused 'plain.sandbox:2: cpu = 50%: this host cannot hold' run -d bad.ini
	end_kosvmd
	printf '[limits]\ncpu = 50%%\nunenforced-quotas = allow\n' >plain.sandbox
	cp -r "$work/state/images" "$KOSVM_STATE/"
	KOSVM_SANDBOX=$work/plain.sandbox start_kosvmd "$work/plain.log"
	good run -d spinner.ini
	has "inspect" "$(kosvm inspect spinner | tr -d ' \n')" '"quotas":\[\{"name":"cpu","active":false'
	good rm --force spinner
	leave_elsewhere
}

quotas_nowhere_namespace() {
	export work factor patience
	# shellcheck disable=SC2016 # expanded there
	unshare --mount --propagation private bash -c '
		set -euo pipefail
		. "$1/lib.sh"
		. "$1/no-kvm.sh"
		. "$1/quotas.sh"
		. "$2/images"
		umount -R /sys/fs/cgroup
		quotas_nowhere' - "$here" "$KOSVM_TEST_DIR"
}

quotas_end() {
	good rm spinner
	is "cgroups" "$(find /sys/fs/cgroup/kosvm -mindepth 2 -type d | wc -l)" "$(kosvm ps --quiet | wc -l)"
}

quotas_tests() {
	if ! grep -qw cpu /sys/fs/cgroup/cgroup.controllers 2>/dev/null || [ "$(id -u)" -ne 0 ]; then
		skip "quotas: cgroup v2" "this machine has none, or it is not root's"
		return
	fi
	t "quotas: each VMM is in a cgroup of its own, with its limits" quotas_there
	t "quotas: a guest that uses all of its memory and disk stays below memory.max" quotas_memory
	cat "$work/log"
	t "quotas: cpu and cpu-weight of the manifest, and changed while it runs" quotas_cpu
	t "quotas: kept by a restart of kosvmd" quotas_kept
	t "quotas: a VMM that is moved out is put back, a cgroup removed underneath is made anew" quotas_removed_underneath
	t "quotas: all cgroups removed: the next start makes them" quotas_base_removed
	t "quotas: more memory than it may: oom, with the reason, also while kosvmd is away" quotas_oom
	t "quotas: a host without cgroup v2 says so, refuses what needs it, and runs it where allowed" quotas_nowhere_namespace
	t "quotas: nothing is left of them" quotas_end
}
