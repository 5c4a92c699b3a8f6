# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# kosvm cp, both ways, with a guest that has room for a tree of 50 MiB.

# What a near is, in lines that compare: kind, mode, name and target; and its contents as one checksum.
# shellcheck disable=SC2016 # expanded there
look='cd "$1" && find . -printf "%y %m %p %l\n" | sort && find . -type f -print0 | sort -z | xargs -0 b2sum | b2sum'

# same WHAT THIS THAT: two of these.
same() {
	[ "$2" = "$3" ] || fail "$1: $(diff <(echo "$2") <(echo "$3") | head -n 20)"
}

# looks_like HERE THERE
looks_like() {
	same "$2 in the guest is $1" "$(LC_ALL=C sh -c "$look" sh "$1")" \
		"$(timeout $((patience * factor)) kosvm exec -e LC_ALL=C copier /bin/sh -c "$look" sh "$2")"
}

cp_make() {
	local i

	mkdir -p near/deep/er/and/deeper near/empty 'near/with blanks' near/ünïcödé near/-dash
	for i in {1..12}; do
		dd if="$data" of="near/deep/part$i" bs=1M count=4 skip=$((i * 4)) status=none
	done
	for i in {1..600}; do
		head -c $((i * 11)) "$data" >"near/deep/er/small$i"
	done
	: >near/empty/file
	echo odd >$'near/with blanks/new\nline'
	echo odd >$'near/tab\there'
	echo odd >'near/-dash/--name=x:y'
	echo odd >"near/deep/er/and/deeper/$(printf '%0240d' 7)"
	echo odd >near/ünïcödé/schön
	ln -s part1 near/deep/link
	ln -s /nowhere/at/all near/dangling
	ln -s .. near/deep/up
	ln near/deep/part2 near/deep/hard
	truncate -s 2M near/sparse
	chmod 751 near/deep/er
	chmod 600 near/deep/part3
	chmod 444 near/deep/part4
	chmod 4755 near/deep/part5
	chmod 1777 near/empty
}

cp_both_ways() {
	local start=$SECONDS

	cp_make
	good cp near copier:/state/tree
	chmod 755 near/deep/part5 # set-user-id goes no way
	looks_like near /state/tree
	echo "in: $((SECONDS - start)) s"
	start=$SECONDS
	good cp copier:/state/tree back
	same "what came back" "$(LC_ALL=C sh -c "$look" sh near)" "$(LC_ALL=C sh -c "$look" sh back)"
	echo "out: $((SECONDS - start)) s"
	is "times are kept" "$(stat -c %Y back/deep/part1)" "$(stat -c %Y near/deep/part1)"
	good exec copier find /state/tree ! -user 1000
	is "files there that are not the agent's" "$out" ""
	good exec copier rm -r /state/tree
	rm -rf back
}

# A tar stream, both ways.
cp_streams() {
	tar -C near/deep/er -cf - . | timeout $((patience * factor)) kosvm cp - copier:/tmp
	looks_like near/deep/er/and /tmp/and
	mkdir out
	timeout $((patience * factor)) kosvm cp copier:/tmp/and - | tar -C out -xf -
	is "what came back" "$(cd out && ls -R and)" "$(cd near/deep/er && ls -R and)"
	rm -rf out
}

cp_owners() {
	echo owned >owned
	chown 1234:4321 owned
	good cp owned copier:/state/owned
	good exec copier stat -c %u:%g /state/owned
	is "the agent's" "$out" 1000:1000
	good cp -a owned copier:/state/owned
	good exec copier stat -c %u:%g /state/owned
	is "with -a" "$out" 1234:4321
	good cp copier:/state/owned mine
	is "ours" "$(stat -c %u mine)" "$(id -u)"
	good cp -a copier:/state/owned theirs
	is "with -a" "$(stat -c %u:%g theirs)" 1234:4321
}

cp_places() {
	echo word >word
	good cp word copier:/state/new
	good cp word copier:/state/
	good exec copier sh -c 'mkdir /state/dir && ln -s dir /state/way'
	good cp word copier:/state/dir
	good cp word copier:/state/way/behind
	good exec copier cat /state/new /state/word /state/dir/word /state/dir/behind
	is "what is there" "$out" $'word\nword\nword\nword'
	good cp copier:/state/dir/. .
	is "what is in it" "$(cat behind)" word
	refused 'No such file' cp copier:/state/nothing .
	refused 'absent: No such file' cp absent copier:/state
	refused '/state/none/: No such file' cp word copier:/state/none/
	refused 'Read-only file system' cp word copier:/etc/word
	refused 'No such file|ot a directory' cp word copier:/proc/1/root
	refused 'no agent is named nobody' cp word nobody:/
	k exec copier sh -c 'ls /state/none'
	[ "$code" -ne 0 ] || fail "a refused copy left something"
}

# Half of it fits: that is an error, and the guest goes on.
cp_no_room() {
	k cp "$data" copier:/state/all
	[ "$code" -eq 1 ] || fail "100 MiB went into 80 MiB: $out"
	has why "$err" '^kosvm cp: .*No space left on device'
	good exec copier sh -c 'rm -f /state/all; echo alive'
	is "the agent goes on" "$out" alive
}

cp_end() {
	good rm -f copier
	rm -rf near word owned mine theirs behind
}

cp_tests() {
	state=80M memory=192M manifest copier '/opt/test/mill stubborn'
	t "cp: an agent for it" "good run -d copier.ini"
	t "cp: a tree of 50 MiB in and out: contents, modes, links, odd names" cp_both_ways
	t "cp: tar streams" cp_streams
	t "cp: owners, with and without -a" cp_owners
	t "cp: to new names, into directories, through links; what is refused" cp_places
	t "cp: more than there is room for" cp_no_room
	t "cp: rm" cp_end
}
