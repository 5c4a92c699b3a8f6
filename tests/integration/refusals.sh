# shellcheck shell=bash disable=SC2154 # variables of run and lib.sh
# What is refused, with one clear line and nothing half-made: manifests, signatures, images, names, and guests that do not
# come up.

refused_unsigned() {
	manifest bad '/opt/test/mill stubborn'
	mv bad.ini.minisig kept.minisig
	refused 'not signed: .*manifest sign' run -d bad.ini
	: >bad.ini.minisig
	refused 'not signed: expected a signature in bad\.ini\.minisig' run -d bad.ini
	echo 'this is no signature' >bad.ini.minisig
	refused 'bad\.ini\.minisig:1: expected' run -d bad.ini
	mv kept.minisig bad.ini.minisig
}

refused_stranger() {
	sign bad.ini stranger.key
	refused 'not trusted here: kosvm key trust' run -d bad.ini
}

refused_other_signature() {
	cp bad.ini other.ini
	echo '# another file' >>other.ini
	sign other.ini
	refused 'did not sign these bytes' run -d --signature other.ini.minisig bad.ini
	sign bad.ini
}

refused_changed_byte() {
	flip_byte bad.ini 20
	refused 'did not sign these bytes' run -d bad.ini
	flip_byte bad.ini 20
}

refused_truncated() {
	local size

	size=$(stat -c %s bad.ini)
	cp bad.ini cut.ini
	cp bad.ini.minisig cut.ini.minisig
	truncate -s $((size - 1)) cut.ini
	refused 'did not sign these bytes' run -d cut.ini
	truncate -s 0 cut.ini
	refused 'cut\.ini: refused: ' run -d cut.ini
}

refused_oversized() {
	{
		cat bad.ini
		printf '# and so on %s\n' {1..6000}
	} >large.ini
	cp bad.ini.minisig large.ini.minisig
	refused 'large\.ini: larger than the limit of 65536 bytes' run -d large.ini
}

refused_unknown_key() {
	manifest odd '/opt/test/mill stubborn'
	echo 'colour = red' >>odd.ini
	refused 'odd\.ini:[0-9]+: colour: unknown key' manifest sign odd.ini --key trusted.key
}

# changed_image VARIABLE: one changed byte in the middle of the stored image.
changed_image() {
	local digest=${!1} file

	file=$KOSVM_STATE/images/${digest#blake2b:}
	flip_byte "$file" $(($(stat -c %s "$file") / 2))
	refused 'was changed on disk: expected blake2b:.*import it again' run -d bad.ini
	flip_byte "$file" $(($(stat -c %s "$file") / 2))
}

refused_changed_images() {
	changed_image KERNEL
	changed_image INITRAMFS
	changed_image ROOTFS
}

refused_missing_image() {
	rootfs=blake2b:$(printf '%064d' 7) manifest lost '/opt/test/mill stubborn'
	refused 'no image blake2b:0+7 in the store' run -d lost.ini
}

refused_wrong_kind() {
	kernel=$INITRAMFS manifest swapped '/opt/test/mill stubborn'
	refused 'of kind initramfs .*expected a kernel' run -d swapped.ini
	rootfs=$KERNEL manifest swapped '/opt/test/mill stubborn'
	refused 'of kind kernel .*expected a rootfs' run -d swapped.ini
}

refused_imports() {
	head -c 3M "$data" >noise
	refused 'noise: not a kernel' image import kernel noise
	refused 'noise: not a root filesystem' image import rootfs noise
	head -c 2000 "$KOSVM_STATE/images/${KERNEL#blake2b:}" >stub
	refused 'stub: .*cut short' image import kernel stub
	head -c 100K "$KOSVM_STATE/images/${ROOTFS#blake2b:}" >stub
	refused 'stub: .*cut short' image import rootfs stub
	mkdir -p empty
	refused 'empty: .*expected the directory lib/modules/VERSION' image import initramfs empty
	refused 'missing: No such file' image import rootfs missing
	rm -r noise stub empty
}

refused_memory() {
	memory=64G manifest greedy '/opt/test/mill stubborn'
	refused 'memory = 64G is more than this host has' run -d greedy.ini
}

refused_names() {
	local verb

	for verb in stop start wait rm 'exec nobody true' 'send nobody hello' logs; do
		case $verb in
		*' '*) read -ra words <<<"$verb" ;;
		*) words=("$verb" nobody) ;;
		esac
		refused 'no agent is named nobody' "${words[@]}"
	done
}

# A guest that says nothing in time: failed, and the console tells what it was doing.
refused_mute() {
	initramfs=$MUTE manifest mute '/opt/test/mill stubborn' "start-timeout = $((20 * factor))s"
	k run -d mute.ini
	[ "$code" -ne 0 ] || fail "a guest that says nothing was said to run"
	is "error lines" "$(grep -c '^kosvm' <<<"$err")" 1
	has why "$err" "^kosvm run: .*not ready within $((20 * factor)) s.*last console lines: .*this init does nothing"
	is state "$(field mute state)" failed
	has reason "$(field mute reason)" 'not ready within'
	good logs --console mute
	has console "$out" 'this init does nothing'
	good rm mute
}

refused_no_command() {
	manifest absent /opt/test/absent
	k run -d absent.ini
	[ "$code" -ne 0 ] || fail "a program that is not there was said to run"
	has why "$err" '^kosvm run: .*/opt/test/absent'
	is state "$(field absent state)" failed
	k wait absent
	good rm absent
}

refused_running() {
	manifest twin '/opt/test/mill stubborn'
	good run -d twin.ini
	refused 'twin exists already \(running\).*kosvm rm' run -d twin.ini
	refused 'twin is running' start twin
	refused 'twin is running.*rm --force' rm twin
	refused 'used by agent twin' image rm "$ROOTFS"
	good rm --force twin
	is state "$(field twin state)" ""
}

refusal_tests() {
	t "refused: a manifest without a signature, or with something else in its place" refused_unsigned
	t "refused: signed by a key that is not trusted" refused_stranger
	t "refused: the signature of another manifest" refused_other_signature
	t "refused: one changed byte in the manifest" refused_changed_byte
	t "refused: a truncated manifest" refused_truncated
	t "refused: a manifest of more than 64 KiB" refused_oversized
	t "refused: an unknown key" refused_unknown_key
	t "refused: one changed byte in kernel, initramfs or root filesystem" refused_changed_images
	t "refused: an image that is not there" refused_missing_image
	t "refused: an image of another kind" refused_wrong_kind
	t "refused: imports of what is no kernel, no modules, no root filesystem" refused_imports
	t "refused: more memory than the host has" refused_memory
	t "refused: names of no agent" refused_names
	t "refused: another agent of that name; start, rm and image rm while it runs; rm --force" refused_running
	t "failed: a guest that never reports ready, with the last lines of its console" refused_mute
	t "failed: a program that is not there" refused_no_command
}
