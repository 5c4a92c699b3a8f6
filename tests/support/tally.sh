# shellcheck shell=bash
# Counting for suites that are shell scripts. A suite prints a line for each test and ends with tally_end, whose line
# "N passed, N failed, N skipped" tests/run adds up.

passed=0 failed=0 skipped=0

ok() {
	passed=$((passed + 1))
	printf 'ok   %s\n' "$*"
}

bad() {
	failed=$((failed + 1))
	printf 'FAIL %s\n' "$*"
}

# skip NAME WHY
skip() {
	skipped=$((skipped + 1))
	printf 'skip %s: %s\n' "$1" "$2"
}

# check NAME COMMAND ARG...: a test that passes when COMMAND returns 0; its output is shown when it does not.
check() {
	local name=$1 output
	shift

	if output=$("$@" 2>&1); then
		ok "$name"
	else
		printf '%s\n' "$output" | tail -n 60
		bad "$name"
	fi
}

tally_end() {
	printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	[ "$failed" -eq 0 ]
}
