# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# exec -it, shell, attach and run -it on a real terminal.

terminal_tests() {
	local word line

	manifest talk '/bin/cat'
	manifest asks "/bin/sh -c 'stty size; printf \"name? \"; read name; echo hello \$name; exit 6'"
	t "attach: run -d -it" terminal_prepare
	while read -r word line; do
		if [ "$word" = ok ]; then
			ok "$line"
		else
			tail -n 15 "$work/kosvmd.log"
			bad "$line"
		fi
	done < <(timeout $((900 * factor)) python3 "$here/terminal.py" </dev/null || echo "bad terminal.py ended with $?")
	t "attach: the agent's code after its end" terminal_end
}

terminal_prepare() {
	good run -dit talk.ini
	is state "$(field talk state)" running
}

terminal_end() {
	good wait talk
	is "exit code of cat at the end of its input" "$out" 0
	is "agents left of run --rm" "$(field typed state)" ""
	good rm talk
}
