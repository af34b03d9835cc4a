#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The main job, shown: three nodes pool their memory. A program on node1 allocates, node2 reads
# the same data by its id, a person on node3 uses the pool by telnet. Exit status 0 only if every
# step did what it says.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
cluster=$top/qemu/cluster.sh
summary=()

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

indent() {
	sed 's/^/  /'
}

# Runs a step and keeps its time for the summary: step 'what' COMMAND...
step() {
	local what=$1 start=$EPOCHREALTIME
	shift
	printf '\n== %s\n' "$what"
	"$@" || fail "$what"
	summary+=("$(awk "BEGIN { printf \"%6.2f s  %s\", $EPOCHREALTIME - $start, \"$what\" }")")
}

node() {
	local number=$1
	shift
	"$cluster" run "node$number" -- "$@"
}

used() {
	# shellcheck disable=SC2016 # the guest's shell expands it
	node "$1" sh -c '(echo "auth $(cat /etc/virgo.key)"; echo stats; echo quit) |
		nc 127.0.0.1 30000' | sed -n 's/.*used=\([0-9]*\).*/\1/p'
}

program_on_node1() {
	node 1 virgo_demo | indent
	id=$(node 1 virgo_demo --keep)
	echo "  allocated once more and kept: $id"
}

where_it_lies() {
	local number bytes total=0
	for number in 1 2 3; do
		bytes=$(used "$number")
		echo "  node$number holds $bytes bytes"
		total=$((total + bytes))
	done
	[ "$total" -ge 1048576 ] || fail "the nodes hold $total bytes, less than 1 MiB"
}

node2_reads() {
	node 2 virgo_demo --check "$id" | indent
	node 2 virgo_demo --free "$id" | indent
}

# What a person types, and what comes back, as telnet shows it. The id of the first reply is in
# the commands after it.
telnet_on_node3() {
	local said
	# shellcheck disable=SC2016 # the guest's shell expands it
	said=$(node 3 sh -c '
		mkfifo /tmp/typed; telnet 127.0.0.1 30000 </tmp/typed >/tmp/said 2>&1 &
		exec 3>/tmp/typed
		type() { echo "> $1"; before=$(wc -l </tmp/said); echo "$1" >&3
			n=0; until [ $(wc -l </tmp/said) -gt $before ]; do
				n=$((n + 1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done
			reply=$(tail -n 1 /tmp/said | tr -d "\r"); echo "$reply"; }
		sleep 0.5
		type "auth $(cat /etc/virgo.key)" | sed "s/^> auth.*/> auth (the key)/"
		type "virgo_cloud_malloc(100)"; id=$reply
		type "virgo_cloud_set($id,Three nodes, one memory (by telnet))"
		type "virgo_cloud_get($id)"
		type "virgo_cloud_free($id)"
		type "virgo_cloud_get($id)"
		echo quit >&3; rm /tmp/typed /tmp/said')
	indent <<<"$said"
	grep -q '^Three nodes, one memory (by telnet)$' <<<"$said" || fail "the data did not come back"
	grep -q '^kernel memory freed$' <<<"$said" || fail "the memory was not freed"
	grep -q '^ERR ESTALE' <<<"$said" || fail "freed memory can still be read"
}

trap '"$cluster" down >/dev/null 2>&1 || true' EXIT
step 'three nodes boot' "$cluster" up
step 'a C program on node1 uses 1 MiB of cluster memory by system call' program_on_node1
step 'its pieces lie on several nodes' where_it_lies
step 'node2 reads the same data by its id, and frees it' node2_reads
step 'a person on node3 uses the pool by telnet' telnet_on_node3
step 'the command line shows the cluster' node 1 virgo nodes
step 'the nodes go down' "$cluster" down

printf '\n== All steps did what they say:\n'
printf '%s\n' "${summary[@]}"
