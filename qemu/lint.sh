#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Checks all sources that git tracks or would track: formatting, lints, and the rules of the house.
# Every check runs, also after one has failed.
set -eu
. "$(dirname "$0")/paths.sh"
cd "$VIRGO_TOP"

root=$VIRGO_TOP/qemu/in-root
kdir=$(virgo_kdir slim)
workspace=(--manifest-path tools/Cargo.toml)
failed=()

check() {
	local name=$1 what=$2
	shift 2
	"$VIRGO_TOP/qemu/step.sh" "lint-$name" "$what" "$@" || failed+=("$name")
}

# Prints the existing sources that match git's patterns.
sources() {
	git -c safe.directory="$VIRGO_TOP" ls-files --cached --others --exclude-standard \
		--deduplicate -- "$@" | while read -r file; do
		[ ! -f "$file" ] || printf '%s\n' "$file"
	done
}

check_licences() {
	local without
	without=$(grep -L 'SPDX-License-Identifier: GPL-2\.0' "$@" || true)
	[ -n "$without" ] || return 0
	echo "No line 'SPDX-License-Identifier: GPL-2.0' in:"
	echo "$without"
	return 1
}

check_bindings() {
	! grep -n '\<bindings::' "$@" || {
		echo "Only drivers/linux, the abstraction crate, may name bindings: wrap there what is needed."
		return 1
	}
}

check_lock_names() {
	! grep -nE '(kernel::|<- )new_(mutex|spinlock|spinlock_irq|condvar)!' "$@" || {
		echo "Other modules may inline this: use the macro of drivers/linux, whose name stays in this module."
		return 1
	}
}

# What stands in backquotes and begins with a folder of the tree is there.
check_paths() {
	local found path missing=0
	while IFS= read -r found; do
		path=${found##*:}
		[ -e "${path//\`/}" ] || { echo "$found does not exist"; missing=1; }
	done < <(grep -noP '\x60(drivers|tools|tests|qemu|include|syscalls|packaging|debian|docs)/[a-z0-9_./-]+\x60' "$@")
	return $missing
}

# A name means one type, so that a reader need not look which module it comes from. Structures of C
# have the name that they get in Rust.
check_type_names() {
	local folder twice=0 found
	for folder in drivers tools; do
		found=$(printf '%s\n' "$@" | grep "^$folder/" |
			xargs grep -HnoP '^\s*pub(\([^)]*\))? (unsafe )?(struct|enum|union|trait|type) \K\w+|\bvirgo_\w+ as \K\w+' |
			sort -t: -k3 | awk -F: '$3 == name { print before; before = ""; print }
				$3 != name { before = $0 } { name = $3 }' | grep .) || continue
		echo "Public types of $folder that share a name: say what each is, as FrameHeader and DatagramHeader do."
		echo "$found"
		twice=1
	done
	return $twice
}
export -f check_licences check_bindings check_lock_names check_paths check_type_names # for the shell of the step

mapfile -t licensed < <(sources ':!*.md' ':!*.lock' ':!*.patch' ':!*.json' ':!.gitignore' ':!LICENSE*' \
	':!debian/changelog' ':!debian/copyright' ':!debian/*.docs' ':!debian/source')
mapfile -t documents < <(sources '*.md')
mapfile -t scripts < <(sources | xargs grep -lE -m1 '^#!/bin/(ba)?sh|^# shellcheck shell=')
# Kernel style is for what becomes part of a kernel.
mapfile -t c < <(sources 'drivers/*.[ch]' 'syscalls/*.c' 'include/linux/*.h' 'include/uapi/*.h')
mapfile -t modules < <(sources 'drivers/*.rs' ':!drivers/proto')
mapfile -t shared < <(sources 'drivers/linux/*.rs' 'drivers/utils/*.rs')
mapfile -t named < <(sources 'drivers/*.rs' 'tools/*.rs')
mapfile -t above_linux < <(sources 'drivers/*.rs' ':!drivers/linux')

check licences "licence lines" check_licences "${licensed[@]}"
check bindings "layers: bindings stay in drivers/linux" check_bindings /dev/null "${above_linux[@]}"
check lock-names "locks of code that modules share" check_lock_names "${shared[@]}"
check type-names "names of public types" check_type_names "${named[@]}"
check paths "paths in documents" check_paths "${documents[@]}"
check shell "shellcheck" "$root" shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
# Ignored: what macros that make system-call stubs are told, that those answer ENOSYS, and that
# generated exports (drivers/*/exports.c) do not stand below what they export; and that a
# structure's size stands right below it; that fields of USB descriptors have the names of the standard.
check c "checkpatch" "$root" "$kdir/scripts/checkpatch.pl" --no-tree --strict --terse --show-types \
	--no-summary --ignore COMPLEX_MACRO,MACRO_ARG_REUSE,MACRO_ARG_PRECEDENCE \
	--ignore MACRO_WITH_FLOW_CONTROL,ENOSYS,EXPORT_SYMBOL,LINE_SPACING,CAMELCASE --file "${c[@]}"
check format-modules "rustfmt: modules" "$root" rustfmt --check --color never --edition 2021 \
	"${modules[@]}"
check format-crates "rustfmt: crates" "$root" cargo fmt "${workspace[@]}" --all --check \
	-- --color never
check modules "Clippy: modules" "$VIRGO_TOP/qemu/modules.sh" slim "$VIRGO_BUILD/clippy" \
	CLIPPY=1 KRUSTFLAGS=-Dwarnings KCFLAGS=-Werror
check crates "Clippy: crates" "$root" cargo clippy "${workspace[@]}" --workspace --locked --all-targets \
	-- -D warnings

[ ${#failed[@]} = 0 ] || virgo_die "lint failed: ${failed[*]}"
