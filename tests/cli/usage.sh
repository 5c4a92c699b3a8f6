# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# Help, versions and wrong arguments: what a person tries first.

mapfile -t verbs < <(kosvm help | sed -n 's/^  \([a-z]*\) .*/\1/p')
is "kosvm help lists the verbs" "${#verbs[@]}" -ge 30
bash_completion=$(kosvm completion bash)
zsh_completion=$(kosvm completion zsh)
for verb in "${verbs[@]}"; do
	try kosvm "$verb" --help
	expect "$verb --help" 0 "^usage: kosvm $verb"
	is "$verb --help says nothing on standard error" -z "$err"
	try kosvm "$verb" -h
	expect "$verb -h" 0 "^usage: kosvm $verb"
	try kosvm help "$verb"
	expect "help $verb" 0 "^usage: kosvm $verb"
	want=2
	case $verb in exec | shell) want=125 ;; esac
	try kosvm "$verb" --no-such-option
	expect "$verb --no-such-option" "$want" "usage: kosvm $verb"
	# Where the man page is installed with the programs.
	is "$verb has its place in kosvm(1)" "$(grep -cE "^\.It Cm $verb( |\$)" "$man")" -ge 1
	is "bash completes $verb" "$(grep -c "^	'$verb')" <<<"$bash_completion")" -eq 1
	is "zsh completes $verb" "$(grep -c "^	'$verb')" <<<"$zsh_completion")" -eq 1
	# Every long option of the help is in the manual page and in both completions.
	for option in $(kosvm "$verb" --help | sed -n 's/^  [- ].[, ] --\([a-z-]*\).*/\1/p'); do
		is "$verb --$option is in kosvm(1)" "$(grep -cE "Fl -?$option" "$man")" -ge 1
		is "bash completes $verb --$option" "$(grep "^	'$verb')" <<<"$bash_completion" | grep -c -- " --$option")" -eq 1
	done
done
is "no section of kosvm(1) is about a verb that is none" -z "$(comm -23 <(sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$man" | sort -u) \
	<(printf '%s\n' "${verbs[@]}" | sort))"

# complete LINE: what bash offers at the end of it.
complete_line() {
	bash -c 'eval "$1"; COMP_WORDS=($2); [ "${2: -1}" != " " ] || COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		_kosvm; echo "${COMPREPLY[*]}"' - "$bash_completion" "$1" 2>/dev/null
}
is "the completion for bash is installed" "$(cat "$prefix/share/bash-completion/completions/kosvm")" = "$bash_completion"
is "the completion for zsh is installed" "$(cat "$prefix/share/zsh/site-functions/_kosvm")" = "$zsh_completion"
is "bash: a verb" "$(complete_line 'kosvm insp')" = inspect
is "bash: an option" "$(complete_line 'kosvm logs --fol')" = --follow
is "bash: a subcommand" "$(complete_line 'kosvm image im')" = import
is "bash: an option of a subcommand" "$(complete_line 'kosvm image import --la')" = --label
is "bash: a file" "$(touch completed.ini && complete_line 'kosvm run comp')" = completed.ini
is "bash: no kosvmd is started for a name" -z "$(complete_line 'kosvm stop ')$(ls -A "$KOSVM_RUN" 2>/dev/null)"
is "the completion for bash is well-formed" "$(bash -n <<<"$bash_completion" && echo yes)" = yes
if command -v zsh >/dev/null; then
	is "the completion for zsh is well-formed" "$(zsh -n <<<"$zsh_completion" && echo yes)" = yes
else
	skip "the completion for zsh is well-formed" "zsh is not installed"
fi
for words in "image import" "image ls" "image rm" "key gen" "key trust" "key ls" "key rm" "manifest check" \
	"manifest sign" "manifest verify"; do
	# shellcheck disable=SC2086 # two words
	try kosvm $words --help
	expect "$words --help" 0 "^usage: kosvm ${words% *}"
	# shellcheck disable=SC2086
	try kosvm $words --no-such-option
	expect "$words --no-such-option" 2 "usage: kosvm ${words% *}"
done
for words in run create logs attach exec shell cp send stop start restart kill inspect wait rm panic completion image key manifest "image import" "image import kernel" "image rm" \
	"key gen" "key trust" "key rm" "manifest check" "manifest sign" "manifest sign x" "manifest verify x"; do
	want=2
	case $words in exec | shell) want=125 ;; esac
	# shellcheck disable=SC2086
	try kosvm $words
	expect "$words with too little" "$want" "usage: kosvm"
done
for words in "ps extra" "info extra" "events extra" "top extra" "unpanic extra" "cp a b c" "completion fish" "doctor extra" "version extra" "key ls extra" "image ls extra" "logs a b" "run a b" "create a b" "attach a b" "logs --since x a" "kill -s FOO a" \
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
