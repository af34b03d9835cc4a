# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are for those who source this
# Where everything lies. Sourced by the bash scripts of the repository.
#
# VIRGO_TOP    the repository
# VIRGO_BUILD  what is built from it
# VIRGO_CACHE  what is kept between builds and shared by clones, named by content
# VIRGO_ROOT   the build root: a Debian tree with all compilers (qemu/buildroot.sh)

virgo_die() {
	printf 'virgo: %s\n' "$@" >&2
	exit 1
}

# Names standard input by its content.
virgo_hash() {
	sha256sum | cut -c1-12
}

# Prints the kernel tree of a lane (bench has that of slim). A kernel depends on the tools of the build
# root, the kernel patch with the files it adds, and the configuration; see qemu/kernel.sh.
virgo_kdir() {
	local lane=${1/bench/slim} fragments=("$VIRGO_TOP/qemu/kernel/slim.config")
	case $lane in
	slim)
		if [ -n "${KDIR:-}" ]; then
			realpath -m "$KDIR"
			return
		fi ;;
	debug)
		fragments+=("$VIRGO_TOP/qemu/kernel/debug.config") ;;
	*)
		virgo_die "no lane is called '$lane'; there are slim and debug" ;;
	esac
	[ -d "$VIRGO_ROOT" ] || virgo_die "there is no build root yet: run 'make root'"
	printf '%s/kernel-%s-%s\n' "$VIRGO_CACHE" "$lane" "$(
		cat "$VIRGO_ROOT/etc/virgo-toolchain" "$VIRGO_TOP/qemu/kernel/build.sh" \
			"$VIRGO_TOP/syscalls/virgo-syscalls.patch" \
			"$VIRGO_TOP/syscalls/kernel/virgo_calls.c" \
			"$VIRGO_TOP/include/linux/virgo_calls.h" \
			"${fragments[@]}" | virgo_hash
	)"
}

VIRGO_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VIRGO_BUILD=$VIRGO_TOP/build
VIRGO_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/virgo
VIRGO_ROOT=$VIRGO_CACHE/root-$(cat "$VIRGO_TOP/qemu/buildroot.sh" "$VIRGO_TOP"/qemu/root/* | virgo_hash)

case $VIRGO_TOP$VIRGO_CACHE in
*[[:space:]:]*)
	virgo_die "the kernel's build system takes no path with a space or colon:" \
		"repository $VIRGO_TOP, cache $VIRGO_CACHE" ;;
esac
