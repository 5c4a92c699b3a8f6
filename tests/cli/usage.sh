# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# Help, versions and wrong arguments: what a person tries first.

for verb in run ps logs exec send stop start wait rm image key manifest doctor version; do
	try kosvm "$verb" --help
	expect "$verb --help" 0 "^usage: kosvm $verb"
	is "$verb --help says nothing on standard error" -z "$err"
	try kosvm "$verb" -h
	expect "$verb -h" 0 "^usage: kosvm $verb"
	try kosvm help "$verb"
	expect "help $verb" 0 "^usage: kosvm $verb"
	want=2
	[ "$verb" != exec ] || want=125
	try kosvm "$verb" --no-such-option
	expect "$verb --no-such-option" "$want" "usage: kosvm $verb"
done
for words in "image import" "image ls" "image rm" "key gen" "key trust" "key ls" "key rm" "manifest check" \
	"manifest sign" "manifest verify"; do
	# shellcheck disable=SC2086 # two words
	try kosvm $words --help
	expect "$words --help" 0 "^usage: kosvm ${words% *}"
	# shellcheck disable=SC2086
	try kosvm $words --no-such-option
	expect "$words --no-such-option" 2 "usage: kosvm ${words% *}"
done
for words in run logs exec send stop start wait rm image key manifest "image import" "image import kernel" "image rm" \
	"key gen" "key trust" "key rm" "manifest check" "manifest sign" "manifest sign x" "manifest verify x"; do
	want=2
	[ "$words" != exec ] || want=125
	# shellcheck disable=SC2086
	try kosvm $words
	expect "$words with too little" "$want" "usage: kosvm"
done
for words in "ps extra" "doctor extra" "version extra" "key ls extra" "image ls extra" "logs a b" "run a b" \
	"manifest check a b" "key trust a b" "ps --format xml" "stop --timeout 1y a" "send --port x a" "image import disk x"; do
	# shellcheck disable=SC2086
	try kosvm $words
	expect "$words" 2 "usage: kosvm"
done
try kosvm
expect "no verb" 2 "usage: kosvm VERB"
try kosvm frobnicate
expect "an unknown verb" 2 "unknown verb frobnicate"
try kosvm help frobnicate
expect "help for an unknown verb" 2 "unknown verb frobnicate"
try kosvm --version
expect "--version" 0 "^kosvm [0-9]"
try kosvmd --no-such-option
expect "kosvmd --no-such-option" 2 "usage"
