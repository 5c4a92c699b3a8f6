# shellcheck shell=bash disable=SC2154 # sourced by tests/cli/run, whose words it uses
# Keys: made, with and without a password, trusted, listed, trusted no longer.

(umask 0 && kosvm key gen --no-password plain >gen.out)
is "key gen prints both files" "$(cat gen.out)" = "plain.key"$'\n'"plain.pub"
is "a secret key is for its owner, whatever the umask" "$(stat -c %a plain.key)" = 600
before=$(cat plain.key)
try kosvm key gen --no-password plain
expect "key gen never overwrites" 1 "exists already"
is "the key is as it was" "$(cat plain.key)" = "$before"
try kosvm key gen --no-password no/such/place
expect "key gen where there is no directory" 1 "no/such/place.key: No such file"
try kosvm key gen empty </dev/null
expect "an empty password is no password" 1 "no-password"
is "and makes no file" ! -e empty.key

out=$(typed 'secret word\n|secret word\n' kosvm key gen locked)
is "key gen asks for a password twice" "$(tail -n 1 <<<"$out")" = "exit 0 echo 1"
is "which is not shown" "$(grep -c 'secret word' <<<"$out")" -eq 0
is "the key is encrypted" "$(grep -c '^untrusted comment: .*encrypted secret key' locked.key)" -eq 1
out=$(typed 'one\n|two\n' kosvm key gen differ)
is "two passwords that differ" "$(grep -c 'passwords differ' <<<"$out")" -eq 1
is "make no key" ! -e differ.key
out=$(typed '\x03' kosvm key gen broken)
is "the interrupt key ends the question, and the terminal echoes again" "$(tail -n 1 <<<"$out")" = "exit -2 echo 1"
is "and leaves no key" ! -e broken.key

try kosvm key trust plain.pub
expect "key trust prints the id" 0 '^[0-9A-F]{16}$'
id=$out
try kosvm key trust - < <(cat plain.pub)
expect "key trust from a pipe" 0 "$id"
try kosvm key trust plain.key
expect "a secret key is no public one" 1 "plain.key:2"
try kosvm key trust no-such-file
expect "key trust of no file" 1 "no-such-file: No such file"
try kosvm key trust "$dir"
expect "key trust of a directory" 1
head -c 100000 /dev/zero >zeros
try kosvm key trust zeros
expect "key trust of nonsense" 1
cp plain.pub $'odd \xff name.pub'
try kosvm key trust $'odd \xff name.pub'
expect "a file whose name is no text" 0 "$id"
try kosvm key ls
expect "key ls" 0 "$id"
try kosvm key ls --format json
json_lines "key ls --format json"
try kosvm key rm 0000000000000000 "$id"
expect "key rm goes on after the one that is not there" 1 "no such key"
is "and says which went" "$out" = "$id"
try kosvm key ls --format json
is "it is gone" -z "$out"
try kosvm key rm ../../etc
expect "key rm of a path" 1 "16 hexadecimal digits"
kosvm key trust plain.pub >/dev/null
