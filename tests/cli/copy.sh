# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# kosvm cp by the rules of docker cp, both ways; the agent "host" of fake-kosvmd is this machine.

start_fake
far=$dir/far
mkdir -p near/sub "$far/dir"
echo one >near/file
echo two >near/sub/deep
ln -s file near/link
ln -s nowhere near/dangling
mkfifo near/pipe
chmod 750 near/sub
chmod 640 near/file

# goes NAME SOURCE DESTINATION FILE CONTENT: after the copy FILE has CONTENT.
goes() {
	try kosvm cp "$2" "$3"
	expect "cp $1" 0
	is "cp $1: it is there" "$(cat "$4" 2>/dev/null)" = "$5"
}

goes "a file to a new name" near/file "host:$far/new" "$far/new" one
goes "a file over a file" near/sub/deep "host:$far/new" "$far/new" two
goes "a file into a directory" near/file "host:$far/dir" "$far/dir/file" one
goes "a file into a directory with a slash" near/sub/deep "host:$far/dir/" "$far/dir/deep" two
goes "a directory to a new name" near "host:$far/fresh" "$far/fresh/sub/deep" two
is "cp keeps modes" "$(stat -c %a "$far/fresh/sub" "$far/fresh/file" | tr '\n' ' ')" = "750 640 "
is "cp keeps links" "$(readlink "$far/fresh/link" "$far/fresh/dangling" | tr '\n' ' ')" = "file nowhere "
expect "cp says what it leaves out" 0 "pipe: left out"
goes "a directory into a directory" near "host:$far/dir" "$far/dir/near/sub/deep" two
mkdir "$far/merged"
chmod 700 "$far/merged"
goes "what is in a directory" near/. "host:$far/merged" "$far/merged/sub/deep" two
is "cp of the contents leaves the directory's own mode" "$(stat -c %a "$far/merged")" = 700
goes "what is in a directory, to a new name" near/. "host:$far/contents" "$far/contents/file" one
(cd near && kosvm cp . "host:$far/dot") 2>/dev/null
is "cp . is the contents" "$(cat "$far/dot/file")" = one
try kosvm cp near/file "host:$far/absent/"
expect "cp of a file to a directory that is not there" 1 "not a directory"
try kosvm cp near/link "host:$far/aslink"
is "cp of a link copies the link" "$(readlink "$far/aslink")" = file
try kosvm cp -L near/link "host:$far/asfile"
is "cp -L what it points to" "$(cat "$far/asfile")$(readlink "$far/asfile")" = one

goes "out: a file to a new name" "host:$far/new" here "here" two
goes "out: a file over a file" "host:$far/dir/file" here here one
mkdir into
goes "out: a file into a directory" "host:$far/new" into into/new two
goes "out: a directory to a new name" "host:$far/fresh" tree-out tree-out/sub/deep two
is "out: modes" "$(stat -c %a tree-out/sub tree-out/file | tr '\n' ' ')" = "750 640 "
goes "out: a directory into a directory" "host:$far/fresh" into into/fresh/sub/deep two
goes "out: what is in a directory" "host:$far/fresh/." into into/sub/deep two
goes "out: a directory to a new name with a slash" "host:$far/fresh" slashed/ slashed/sub/deep two
try kosvm cp "host:$far/new" absent/
expect "out: a file to a directory that is not there" 1 "make the directory first"
try kosvm cp "host:$far/fresh" here
expect "out: a directory over a file" 1 "is a directory and the destination a file"
try kosvm cp "host:$far/nothing" here
expect "out: what is not there" 1 "No such file"
try kosvm cp "host:$far/new" no/such/place
expect "out: to where nothing is" 1 "no/such: No such file"
try kosvm cp near/absent "host:$far"
expect "what is not there" 1 "near/absent: No such file"
try kosvm cp near/file/ "host:$far"
expect "a file with a slash" 1 "Not a directory"
if [ "$(id -u)" -ne 0 ]; then
	: >near/closed
	chmod 0 near/closed
	try kosvm cp near "host:$far/closed"
	expect "what cannot be read is an error" 1 "ermission denied"
	rm -f near/closed
fi

try kosvm cp "host:$far/fresh" - >/dev/null
is "out to -: a tar stream" "$(tar -tf .out | grep -c '^fresh/sub/deep$')" -eq 1
mkdir "$far/from-tar"
tar -C near -cf - file sub | kosvm cp - "host:$far/from-tar"
is "in from -: a tar stream" "$(cat "$far/from-tar/sub/deep")" = two
try kosvm cp - "host:$far/absent" </dev/null
expect "in from -: the directory has to be there" 1 "not a directory"
out=$(typed '' kosvm cp "host:$far/new" -)
is "a tar stream is not for a terminal" "$(grep -c 'nothing for a terminal' <<<"$out")" -eq 1

for words in "near other" "host:/a host:/b" "near" "near host:" ": host:/x"; do
	# shellcheck disable=SC2086 # words
	try kosvm cp $words
	expect "cp $words" 2 "usage: kosvm cp"
done
echo colon >with:colon
goes "a name here with a colon" ./with:colon "host:$far/colon" "$far/colon" colon

# A tree of 50 MiB both ways.
mkdir big
for i in 1 2 3 4 5; do
	mkdir "big/$i"
	for j in 1 2 3 4 5 6 7 8 9 10; do
		head -c 1M /dev/urandom >"big/$i/$j"
	done
done
sum=$(cd big && find . -type f -print0 | sort -z | xargs -0 b2sum | b2sum)
try kosvm cp big "host:$far/big"
expect "50 MiB in" 0
is "50 MiB in are the same" "$(cd "$far/big" && find . -type f -print0 | sort -z | xargs -0 b2sum | b2sum)" = "$sum"
try kosvm cp "host:$far/big" back
expect "50 MiB out" 0
is "50 MiB out are the same" "$(cd back && find . -type f -print0 | sort -z | xargs -0 b2sum | b2sum)" = "$sum"
rm -rf big back "$far/big"
end_fake
