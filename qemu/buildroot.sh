#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Makes the build root: a Debian trixie tree in the cache with every tool that the project is
# built, checked and run with. What is in it: qemu/root/. Nothing after this needs root rights.
set -eu
. "$(dirname "$0")/paths.sh"

# Runs a step with root rights. Sudo asks for its password before the step takes the terminal.
root_step() {
	local name=$1 what=$2 sudo=()
	shift 2
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null ||
			virgo_die "'$what' needs root rights: install sudo, or run 'make root' as root"
		sudo=(sudo)
		sudo -v
	fi
	"$VIRGO_TOP/qemu/step.sh" "$name" "$what" "${sudo[@]}" "$@"
}

# Installs a package of the host unless its program is there.
need_program() {
	command -v "$1" >/dev/null && return
	command -v apt-get >/dev/null ||
		virgo_die "$1 is missing and this is no Debian: install $2 by hand"
	root_step host-packages "apt lists of this machine" apt-get update
	root_step host-packages "package $2 for this machine" \
		env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$2"
}

# The mirror that this machine's own apt uses for Debian.
# shellcheck disable=SC2016 # apt expands it
host_mirror() {
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)' |
		awk '$1 == "Debian" && $2 !~ /-/ && $3 == "main" { print $4; exit }'
}

find_mirror() {
	VIRGO_MIRROR=${VIRGO_MIRROR:-$(host_mirror)}
	if [ -z "$VIRGO_MIRROR" ]; then
		root_step host-packages "apt lists of this machine" apt-get update
		VIRGO_MIRROR=$(host_mirror)
	fi
	[ -n "$VIRGO_MIRROR" ] || virgo_die \
		"apt on this machine has no Debian mirror configured (apt-get indextargets names none)." \
		"Name one: make VIRGO_MIRROR=URL"
}

# The keys that sign trixie came to Debian 12 with an update of the keyring.
find_keyring() {
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	if [ ! -e "$keyring" ] || ! compgen -G '/usr/share/keyrings/debian-archive-trixie-*' >/dev/null; then
		virgo_die "this machine does not have the keys that sign Debian trixie:" \
			"install or update the package debian-archive-keyring (2023.3+deb12u1 or later)"
	fi
}

[ "$(uname -m)" = x86_64 ] || virgo_die "VIRGO is built on x86-64; this is $(uname -m)"
need_program bwrap bubblewrap
[ -d "$VIRGO_ROOT" ] && exit

mkdir -p "$VIRGO_CACHE"
exec 8>"$VIRGO_CACHE/root.lock"
if ! flock -n 8; then
	echo "waiting for another make that is making the build root"
	flock 8
fi
[ -d "$VIRGO_ROOT" ] && exit

need_program mmdebstrap mmdebstrap
find_mirror
find_keyring

# What the tools are is part of every kernel's name (paths.sh).
# shellcheck disable=SC2016 # the hook's shell expands it
record_toolchain='chroot "$1" dpkg-query -W "clang-[0-9]*" "lld-[0-9]*" "rustc" "rust-src" "bindgen" \
	"linux-source-*" | grep "[0-9]$" >"$1/etc/virgo-toolchain"'
# shellcheck disable=SC2016
mount_points='touch "$1/etc/hosts" "$1/etc/resolv.conf"'

new=$VIRGO_CACHE/root.new
# A proxy that apt on this machine goes through is the new root's way out, too.
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ ! -e "$new" ] || root_step root-clean "removing the remains of an interrupted build root" \
	rm -rf --one-file-system "$new"
root_step root "build root: Debian trixie with compilers, kernel source and QEMU (a minute or two)" \
	env VIRGO_MIRROR="$VIRGO_MIRROR" TMPDIR=/tmp \
	mmdebstrap --verbose --mode=root --variant=essential --keyring="$keyring" \
	--include="$(sed 's/#.*//' "$VIRGO_TOP/qemu/root/packages" | xargs)" \
	${proxy:+"--aptopt=Acquire::http::Proxy \"$proxy\";"} \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/info/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--setup-hook="upload $VIRGO_TOP/qemu/root/preferences /etc/apt/preferences.d/virgo" \
	--essential-hook="$VIRGO_TOP/qemu/root/kernel-source" \
	--customize-hook="$record_toolchain" \
	--customize-hook="$mount_points" \
	trixie "$new" \
	"deb $VIRGO_MIRROR trixie main" "deb $VIRGO_MIRROR trixie-backports main"
mv -T "$new" "$VIRGO_ROOT"
