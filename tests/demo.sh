#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The main job, shown: three nodes pool their memory. A program on node1 allocates, node2 reads
# the same data by its id, a person on node3 uses the pool by telnet. Exit status 0 only if every
# step did what it says.
set -Eeuo pipefail
shopt -s inherit_errexit
top=$(cd "$(dirname "$0")/.." && pwd -P)
cluster=$top/qemu/cluster.sh
summary=()

fail() {
	echo "  $*"
	exit 1
}

indent() {
	sed 's/^/  /'
}

seconds_since() {
	awk "BEGIN { printf \"%6.2f s\", $EPOCHREALTIME - $1 }"
}

# Runs a step and keeps its time for the summary: step 'what' COMMAND... The command stands in no
# condition, so that anything in it that fails ends the demo.
step() {
	local start=$EPOCHREALTIME
	what=$1
	shift
	printf '\n== %s\n' "$what"
	"$@" 2>&1
	summary+=("$(seconds_since "$start")  $what")
}

node() {
	local number=$1
	shift
	"$cluster" run "node$number" -- "$@" </dev/null
}

# Bytes that a node holds for the pool.
used() {
	# shellcheck disable=SC2016 # the guest's shell expands it
	node "$1" sh -c '(echo "auth $(cat /etc/virgo.key)"; echo stats; echo quit) |
		nc 127.0.0.1 30000' | sed -n 's/.*used=\([0-9]*\).*/\1/p'
}

program_on_node1() {
	id=$(node 1 virgo_demo --keep)
}

where_it_lies() {
	local number bytes total=0 holders=0
	for number in 1 2 3; do
		bytes=$(used "$number")
		printf '  node%d holds %7d bytes\n' "$number" "$bytes"
		total=$((total + bytes))
		# A piece is 64 KiB; less is the map of the allocation.
		[ "$bytes" -lt 65536 ] || holders=$((holders + 1))
	done
	[ "$total" -ge 1048576 ] || fail "the nodes hold $total bytes, less than 1 MiB"
	[ "$holders" -ge 2 ] || fail "all pieces lie on one node"
}

node2_reads() {
	node 2 virgo_demo --check "$id"
	node 2 virgo_demo --free "$id"
}

# What a person types, and what comes back, as telnet shows it. The id of the first reply is in
# the commands after it.
telnet_on_node3() {
	local said status=0
	# shellcheck disable=SC2016 # the guest's shell expands it
	said=$(node 3 sh -c '
		trap "" PIPE
		lost() { cat /tmp/said; exit 1; }
		mkfifo /tmp/typed; telnet 127.0.0.1 30000 >/tmp/said 2>&1 </tmp/typed &
		exec 3>/tmp/typed
		answer() { before=$(wc -l </tmp/said); echo "$1" >&3 || lost
			n=0; until [ $(wc -l </tmp/said) -gt $before ]; do
				n=$((n + 1)); [ $n -lt 200 ] || lost; sleep 0.05; done
			reply=$(tail -n 1 /tmp/said | tr -d "\r"); }
		enter() { answer "$1"; echo "> $1"; echo "$reply"; }
		answer "auth $(cat /etc/virgo.key)"; echo "> auth (the key)"; echo "$reply"
		enter "virgo_cloud_malloc(100)"; id=$reply
		enter "virgo_cloud_set($id,Three nodes, one memory (by telnet))"
		enter "virgo_cloud_get($id)"
		enter "virgo_cloud_free($id)"
		enter "virgo_cloud_get($id)"
		echo quit >&3; rm /tmp/typed /tmp/said') || status=$?
	indent <<<"$said"
	[ "$status" = 0 ] || fail "the session broke off"
	grep -qx 'Three nodes, one memory (by telnet)' <<<"$said" || fail "the data did not come back"
	grep -qx 'kernel memory freed' <<<"$said" || fail "the memory was not freed"
	grep -q '^ERR ESTALE' <<<"$said" || fail "freed memory can still be read"
}

# A call on node1 puts a request into node2's queue; KingCobra there does it, by a program, and the
# reply comes to who listens. Both are on record.
request_and_reply() {
	local reply
	# shellcheck disable=SC2016 # the guest's shell expands it
	node 2 sh -c '
		virgo kingcobra serve tr a-z A-Z >/dev/null 2>&1 &
		virgo queue sub "kingcobra.replies.>" --count 1 --timeout 60s >/tmp/reply &
		n=0; until virgo queue list | grep -q _sub && virgo queue list | grep -q kingcobra; do
			n=$((n + 1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done'
	node 1 virgo clone --on 2 kingcobra_push 'hello from a call' >/dev/null
	reply=$(node 2 sh -c 'n=0; until [ -s /tmp/reply ]; do
		n=$((n + 1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done; cat /tmp/reply')
	node 2 cat /var/log/kingcobra/REQUEST_REPLY.queue | indent
	case $reply in
	REPLY#*'#HELLO FROM A CALL') ;;
	*) fail "the reply is '$reply'" ;;
	esac
	node 2 virgo kingcobra log | grep -q 'request  hello from a call' || fail "no request on record"
	node 2 virgo kingcobra log | grep -q 'reply  HELLO FROM A CALL' || fail "no reply on record"
}

command_line() {
	node 1 virgo nodes | indent
}

# A cluster of its own, so that one that is up for other purposes does not matter.
VIRGO_RUN_DIR=$(mktemp -d)
export VIRGO_RUN_DIR
finish() {
	local status=$?
	[ "$status" = 0 ] || echo "FAILED: $what" >&2
	"$cluster" down 2>/dev/null || true
	[ ! -d "$VIRGO_RUN_DIR" ] || rmdir "$VIRGO_RUN_DIR"
}
trap finish EXIT

begin=$EPOCHREALTIME
step 'three nodes boot' "$cluster" up
step 'a C program on node1 uses 1 MiB of cluster memory by system call' program_on_node1
step 'its pieces lie on several nodes' where_it_lies
step 'node2 reads the same data by its id, and frees it' node2_reads
step 'a person on node3 uses the pool by telnet' telnet_on_node3
step 'a call on node1 becomes a request on node2, and is replied to' request_and_reply
step 'the command line on node1 shows the cluster' command_line
step 'the nodes go down' "$cluster" down

printf '\n== All steps did what they say; it took %s:\n' "$(seconds_since "$begin")"
printf '%s\n' "${summary[@]}"
