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

# Prints the release of Debian's kernel that is in the build root.
virgo_stock_release() {
	cat "$VIRGO_ROOT/etc/virgo-stock-kernel"
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
	stock) ;;
	*)
		virgo_die "no lane is called '$lane'; there are slim, debug and stock" ;;
	esac
	[ -d "$VIRGO_ROOT" ] || virgo_die "there is no build root yet: run 'make root'"
	if [ "$lane" = stock ]; then
		printf '%s/kernel-stock-%s\n' "$VIRGO_CACHE" "$(
			cat "$VIRGO_ROOT/etc/virgo-toolchain" "$VIRGO_ROOT/etc/virgo-stock-kernel" \
				"$VIRGO_TOP/qemu/stock/rust-metadata" | virgo_hash
		)"
		return
	fi
	printf '%s/kernel-%s-%s\n' "$VIRGO_CACHE" "$lane" "$(
		cat "$VIRGO_ROOT/etc/virgo-toolchain" "$VIRGO_TOP"/qemu/kernel/{source,build}.sh \
			"$VIRGO_TOP/syscalls/virgo-syscalls.patch" \
			"$VIRGO_TOP/syscalls/kernel/virgo_calls.c" \
			"$VIRGO_TOP/include/linux/virgo_calls.h" \
			"${fragments[@]}" | virgo_hash
	)"
}

# Prints the image that guests of a lane boot.
virgo_kernel() {
	local kdir
	if [ "$1" = stock ]; then
		printf '%s/usr/lib/modules/%s/vmlinuz\n' "$VIRGO_ROOT" "$(virgo_stock_release)"
	else
		kdir=$(virgo_kdir "$1") && printf '%s/arch/x86/boot/bzImage\n' "$kdir"
	fi
}

# Prints the lane of the demo: the patched kernel if it is there or KERNEL=patched asks for it, and
# otherwise Debian's own, which need not be built.
virgo_demo_lane() {
	case ${KERNEL:-} in
	patched) echo slim ;;
	stock) echo stock ;;
	'')
		if [ -n "${KDIR:-}" ] || { [ -d "$VIRGO_ROOT" ] && [ -d "$(virgo_kdir slim)" ]; }; then
			echo slim
		else
			echo stock
		fi ;;
	*) virgo_die "KERNEL is '$KERNEL'; there are patched and stock" ;;
	esac
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
