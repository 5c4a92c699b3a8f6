# shellcheck shell=bash
# What bootstrap and the scripts of tools/ and tests/ share: words to the person, the cache, progress.
# Sourced, never run. Standard output belongs to the caller's result; everything said here goes to stderr.

say() {
	printf '%s\n' "$*" >&2
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Where prepared pieces live. They can be deleted at any time: each is made again when it is needed.
cache_dir() {
	local dir=${KOSVM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kosvm}

	mkdir -p "$dir"
	printf '%s\n' "$dir"
}

# One line of progress each 10 s (each 2 s on a terminal) until the caller kills it.
progress_ticks() {
	local what=$1 start=$SECONDS step=10

	[ -t 2 ] && step=2
	while sleep "$step"; do
		if [ -t 2 ]; then
			printf '\r  ... %s: %d s ' "$what" $((SECONDS - start)) >&2
		else
			printf '  ... %s: %d s\n' "$what" $((SECONDS - start)) >&2
		fi
	done
}

# with_progress WHAT COMMAND ARG...: runs COMMAND quietly, says what is being done and how long it took.
# The end of COMMAND's output is shown only when it fails; its code is returned.
with_progress() {
	local what=$1 log start=$SECONDS ticker code=0
	shift

	log=$(mktemp)
	say "$what"
	progress_ticks "$what" &
	ticker=$!
	"$@" >"$log" 2>&1 </dev/null || code=$?
	kill "$ticker" 2>/dev/null || true
	wait "$ticker" 2>/dev/null || true
	[ -t 2 ] && printf '\r\033[K' >&2
	if [ "$code" -eq 0 ]; then
		[ $((SECONDS - start)) -lt 2 ] || say "  done in $((SECONDS - start)) s"
	else
		tail -n 60 "$log" >&2
		say "failed with code $code after $((SECONDS - start)) s: $*"
	fi
	rm -f "$log"
	return "$code"
}

# Runs COMMAND while holding the lock NAME of the cache, so that two runs do not build one piece twice.
with_cache_lock() {
	local name=$1 fd code=0
	shift

	exec {fd}>"$(cache_dir)/.lock-$name"
	flock -n "$fd" || { say "waiting for another run that prepares $name"; flock "$fd"; }
	"$@" {fd}>&- || code=$?
	exec {fd}>&-
	return "$code"
}
