#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs one long step: says what it does, shows that it is alive and how long it took, and keeps
# its output in build/log/NAME.log. A step of the same name in another make is waited for.
#
# Usage: step.sh NAME 'what it does' COMMAND...
set -eu
. "$(dirname "$0")/paths.sh"

name=$1 what=$2
shift 2
log=$VIRGO_BUILD/log/$name.log

elapsed() {
	printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60))
}

# The live line: elapsed time and the last line of the log, cut to the terminal.
show_progress() {
	local width
	width=$(($(tput cols 2>/dev/null || echo 80) - 10))
	while sleep 1; do
		printf '\r\033[K  %s  %s' "$(elapsed)" \
			"$(tail -n 1 "$log" | tr -d '\000-\037' | cut -c "1-$width")"
	done
}

mkdir -p "$VIRGO_BUILD/log"
exec 9>>"$log"
if ! flock -n 9; then
	echo "[$name] waiting for another make that is doing this"
	flock 9
fi

echo "[$name] $what"
SECONDS=0
if [ -t 1 ]; then
	show_progress &
	trap 'kill $! 2>/dev/null; printf "\r\033[K"' EXIT
fi

status=0
"$@" >"$log" 2>&1 </dev/null 9>&- || status=$?

if [ -t 1 ]; then
	kill $!
	trap - EXIT
	printf '\r\033[K'
fi
if [ "$status" -ne 0 ]; then
	echo "[$name] FAILED with status $status after $(elapsed); the end of $log:"
	tail -n 40 "$log" | sed 's/^/  | /'
	exit "$status"
fi
echo "[$name] done in $(elapsed)"
