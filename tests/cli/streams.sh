# shellcheck shell=bash disable=SC2154,SC2034 # sourced by tests/cli/run, whose words it uses
# Standard streams that are closed, full, or nobody reads.

for verb in ps version "image ls" "key ls" help "doctor --format json" "run --help"; do
	code=0
	# shellcheck disable=SC2086 # words
	kosvm $verb >/dev/full 2>.err || code=$?
	err=$(cat .err) out=''
	expect "$verb to a full disk" 1 "No space left"
	code=0
	# shellcheck disable=SC2086
	kosvm $verb >&- 2>.err || code=$?
	expect "$verb with standard output closed" 1
	code=0
	# shellcheck disable=SC2086
	{ kosvm $verb || echo "$?" >.code; } 2>.err | true
	is "$verb to nobody says nothing" ! -s .err
done
for redirect in '<&-' '2>&-' '<&- >&- 2>&-'; do
	code=0
	eval "kosvm key gen --no-password 'std${redirect//[^0-9]/}${#redirect}' >/dev/null $redirect" || code=$?
	is "key gen with $redirect keeps words out of the files" "$(cat std*.key std*.pub | grep -c kosvm)" -eq 0
	code=0
	eval "kosvm run no-such.ini $redirect" 2>/dev/null || code=$?
	is "run with $redirect fails in good order" "$code" -eq 1
done
is "keys of two lines each" "$(cat std*.key | wc -l)" -eq $((2 * $(find . -name 'std*.key' | wc -l)))
