# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# kosvm on a real terminal: size, keys, signals, and that the terminal is always given back.

start_fake
export KOSVM_NO_START=1
while read -r word line; do
	if [ "$word" = ok ]; then ok "$line"; else bad "$line"; fi
done < <(timeout 300 python3 "$top/tests/cli/terminal.py" "$fake" || echo "bad terminal.py ended with $?")
unset KOSVM_NO_START
end_fake
