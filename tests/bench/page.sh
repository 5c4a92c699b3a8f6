# shellcheck shell=bash disable=SC2154 # dir: of those who source it
# What the measuring scripts share: medians of $dir/results, and their parts of docs/BENCH.md.

# The median of column N of the lines for NAME.
median() {
	awk -v name="$1" -v n="$2" '$1 == name { print $n }' "$dir/results" | sort -n | awk '
		{ v[NR] = $1 }
		END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

where() {
	if has_hw_kvm; then
		printf 'on KVM of this machine (%s)' "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)"
	else
		printf 'in one boot of the emulated host (tests/support/emulated-host)'
	fi
}

# write_page PART WITH TABLE-FUNCTION: the page keeps what people wrote; each measured part stands between two marks.
write_page() {
	local part=$1 with=$2 page=docs/BENCH.md

	{
		sed "/^<!-- measured: $part -->\$/q" "$page"
		# shellcheck disable=SC2016 # backquotes of markdown
		printf '\nMeasured %s by `./bootstrap bench --write`, %s;\n%s.\n\n' "$(date -u +%Y-%m-%d)" "$(where)" "$with"
		"$3"
		printf '\n'
		sed -n "/^<!-- measured: $part -->\$/,\$p" "$page" | sed -n '/^<!-- end -->$/,$p'
	} >"$page.new"
	mv "$page.new" "$page"
}
