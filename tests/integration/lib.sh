# shellcheck shell=bash disable=SC2154 # work: of those who source it
# What the integration tests are written with. A test is a function that t runs in a subshell with `set -e`: it passes when
# it returns. Tests share guests, so their order matters.

factor=${KOSVM_TIME_FACTOR:-1}
patience=120 # seconds for any one command

# Runs kosvm and never fails: its standard output is in $out, its standard error in $err, its code in $code.
k() {
	local errors

	errors=$(mktemp "$work/err.XXXXXX")
	code=0
	out=$(timeout $((patience * factor)) kosvm "$@" 2>"$errors") || code=$?
	err=$(<"$errors")
	rm -f "$errors"
}

# The same for what has to succeed.
good() {
	k "$@"
	[ "$code" -eq 0 ] || fail "kosvm $*: code $code: $err"
}

fail() {
	printf '%s\n' "$*"
	exit 1
}

# is WHAT FOUND EXPECTED
is() {
	[ "$2" = "$3" ] || fail "$1: expected '$3', found '$2'"
}

# has WHAT FOUND PATTERN
has() {
	grep -qE -- "$3" <<<"$2" || fail "$1: expected something like '$3', found '$2'"
}

# All that a request could leave behind.
things() {
	kosvm ps -a --format json | sed -E 's/"(reason|ended_ns|exit_code)":[^,]*//g'
	ls -A "$KOSVM_STATE/agents" "$KOSVM_STATE/images" "$KOSVM_STATE/keys"
}

# refused PATTERN VERB...: one error line of that pattern, a code that is not 0, and nothing is there that was not before.
refused() {
	local pattern=$1 before

	shift
	before=$(things)
	k "$@"
	[ "$code" -ne 0 ] || fail "kosvm $*: was not refused; it said: $out"
	echo "$err"
	is "number of error lines of kosvm $* ($err)" "$(grep -c '^kosvm' <<<"$err")" 1
	has "last line of standard error of kosvm $*" "$(tail -n 1 <<<"$err")" "^kosvm .*($pattern)"
	is "standard output of kosvm $*" "$out" ""
	is "what is there after kosvm $*" "$(things)" "$before"
}

# field NAME KEY: of an agent, from ps.
field() {
	kosvm ps -a --format json | sed -nE "/\"name\":\"$1\"/s/.*\"$2\":(\"([^\"]*)\"|([^,}]*)).*/\2\3/p"
}

# until_true SECONDS COMMAND...: waits until COMMAND succeeds.
until_true() {
	local seconds=$1 end=$((SECONDS + $1 * factor))
	shift

	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "not within $seconds s: $*"
		read -rt 0.1 -u "$idle" || true
	done
}
exec {idle}<> <(:)

gone() {
	! grep -qvE '^[0-9]+ \(.*\) [ZX]' "/proc/$1/stat" 2>/dev/null
}

# start_kosvmd LOG: with what the environment says; its process is in $KOSVM_RUN/pid.
start_kosvmd() {
	local ready line=

	mkdir -p "$KOSVM_RUN"
	exec {ready}<> <(:)
	kosvmd --ready-fd 3 3>&"$ready" 2>>"$1" </dev/null >&2 &
	echo $! >"$KOSVM_RUN/pid"
	disown # no word from the shell when it is killed
	read -rt $((30 * factor)) -N 1 -u "$ready" line || fail "kosvmd does not start: $(cat "$1")"
	exec {ready}>&-
	[ "$line" = 1 ] || fail "kosvmd does not start: $(cat "$1")"
}

# The kosvmd that a command started is ours from now on.
adopt_kosvmd() {
	{ kosvm doctor --format json || true; } | sed -n 's/.*"check":"kosvmd".*pid \([0-9]*\).*/\1/p' >"$KOSVM_RUN/pid"
	[ -s "$KOSVM_RUN/pid" ] || fail "kosvm doctor does not say which process kosvmd is: $(kosvm doctor --format json)"
}

# end_kosvmd: in good order, with its agents. detach_kosvmd: they live on.
end_kosvmd() {
	local pid

	pid=$(cat "$KOSVM_RUN/pid" 2>/dev/null) || return 0
	kill "-${1:-INT}" "$pid" 2>/dev/null || true
	until_true 60 gone "$pid"
	rm -f "$KOSVM_RUN/pid"
}

detach_kosvmd() {
	end_kosvmd TERM
}

# manifest NAME COMMAND [LINE]...: writes and signs NAME.ini. LINE goes to [run]. Variables of these names say more:
# vcpus, memory, state, kernel, initramfs, rootfs.
manifest() {
	local name=$1 command=$2

	shift 2
	{
		printf '[agent]\nname = %s\nversion = 1\n' "$name"
		printf '[image]\nkernel = %s\ninitramfs = %s\nrootfs = %s\n' "${kernel:-$KERNEL}" "${initramfs:-$INITRAMFS}" "${rootfs:-$ROOTFS}"
		printf '[resources]\nvcpus = %s\nmemory = %s\nstate = %s\n' "${vcpus:-1}" "${memory:-128M}" "${state:-0}"
		printf '[run]\ncommand = %s\n' "$command"
		[ $# -eq 0 ] || printf '%s\n' "$@"
	} >"$name.ini"
	sign "$name.ini"
}

sign() {
	rm -f "$1.minisig"
	kosvm manifest sign "$1" --key "${2:-trusted.key}" 2>/dev/null >&2
}

# flip_byte FILE OFFSET: that byte is another one; once more, and it is itself again.
flip_byte() {
	local byte

	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# t NAME FUNCTION: one test.
t() {
	local name=$1 start=$SECONDS code

	set +e
	(
		set -e
		# shellcheck disable=SC2086 # a function and its arguments
		$2
	) >"$work/log" 2>&1
	code=$?
	set -e
	if [ $code -eq 0 ]; then
		ok "$name ($((SECONDS - start)) s)"
	else
		tail -n 40 "$work/log"
		echo "  $2 ended with code $code after $((SECONDS - start)) s; agents and the end of kosvmd's log:"
		kosvm ps -a || true
		tail -n 15 "$work/kosvmd.log" || true
		bad "$name"
	fi
}
