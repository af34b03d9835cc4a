#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What VIRGO does, shown: three nodes pool their memory, and run functions and programs for each
# other. Programs on node1 use both by system call, node2 by command line, a person on node3 by
# telnet. Exit status 0 only if every step did what it says.
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
	node "$1" sh -c '(echo "auth $(cat /etc/virgo_text.key)"; echo stats; echo quit) |
		nc 127.0.0.1 30000' | sed -n 's/.*used=\([0-9]*\).*/\1/p'
}

# Debian's own kernel does not have the system calls that such a program makes.
original_program() {
	if [ "${VIRGO_LANE:-slim}" = stock ]; then
		node 1 virgo-compat /usr/lib/virgo/test/test_virgo_malloc
	else
		node 1 /usr/lib/virgo/test/test_virgo_malloc
	fi
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

# A session of a person on node3: type_on_node3 PORT COMMANDS. Shows what is typed, and what comes
# back as telnet shows it; keeps it in $said. The commands are the guest's shell's: `enter LINE`
# types a line, and its answer is in $reply.
type_on_node3() {
	local status=0
	# shellcheck disable=SC2016 # the guest's shell expands it
	said=$(node 3 sh -c '
		trap "" PIPE
		lost() { cat /tmp/said; exit 1; }
		mkfifo /tmp/typed; telnet 127.0.0.1 '"$1"' >/tmp/said 2>&1 </tmp/typed &
		exec 3>/tmp/typed
		answer() { before=$(wc -l </tmp/said); echo "$1" >&3 || lost
			n=0; until [ $(wc -l </tmp/said) -gt $before ]; do
				n=$((n + 1)); [ $n -lt 200 ] || lost; sleep 0.05; done
			reply=$(tail -n 1 /tmp/said | tr -d "\r"); }
		enter() { answer "$1"; echo "> $1"; echo "$reply"; }
		answer "auth $(cat /etc/virgo_text.key)"; echo "> auth (the key)"; echo "$reply"
		'"$2"'
		echo quit >&3; rm /tmp/typed /tmp/said') || status=$?
	indent <<<"$said"
	[ "$status" = 0 ] || fail "the session broke off"
}

pool_by_telnet() {
	# shellcheck disable=SC2016 # the guest's shell expands it
	type_on_node3 30000 '
		enter "virgo_cloud_malloc(100)"; id=$reply
		enter "virgo_cloud_set($id,Three nodes, one memory (by telnet))"
		enter "virgo_cloud_get($id)"
		enter "virgo_cloud_free($id)"
		enter "virgo_cloud_get($id)"'
	grep -qx 'Three nodes, one memory (by telnet)' <<<"$said" || fail "the data did not come back"
	grep -qx 'kernel memory freed' <<<"$said" || fail "the memory was not freed"
	grep -q '^ERR ESTALE' <<<"$said" || fail "freed memory can still be read"
}

# What the guests allow each other to run.
program=/usr/lib/virgo/test/virgo_cloud_test_main
library=/usr/lib/virgo/test/libvirgo_test.so

calls_by_program() {
	node 1 virgo_demo_calls 3
}

# Has node2 make a call at random places, several times, and counts how often each node ran it.
spread() {
	local kind=$1 ended=$2 times=12 ran counts
	shift 2
	ran=$(node 2 sh -c "for i in \$(seq $times); do
		virgo clone -v --on random $* 2>&1 >/dev/null || exit; done")
	counts=$(sort <<<"$ran" | uniq -c | sed 's/^ *\([0-9]*\) virgo: \(.*\): .*/\2: \1/' | paste -sd, | sed 's|,|, |g')
	printf '  %2d times %-17s %s\n' "$times" "$kind" "$counts"
	[ "$(grep -c ": $ended\$" <<<"$ran")" = "$times" ] || fail "not all have $ended: $ran"
	# That one node gets all of them by chance happens once in 177147 runs.
	[ "$(cut -d : -f 2 <<<"$ran" | sort -u | wc -l)" -ge 2 ] || fail "one node ran all of them"
}

calls_at_random_places() {
	spread 'kernel function' 'returned 5' echo hello
	spread 'program' 'ended with status 0' $program args hello
	spread 'library function' 'returned 42' $library:virgo_test_sum 40 2
}

calls_by_telnet() {
	type_on_node3 10000 "
		enter virgo_cloud_test_kernelspace
		enter 'clone on=1 $program args \"by telnet\"'
		enter 'clone on=2 $library:virgo_test_sum 40 2'
		enter 'clone on=1 /bin/sh -c ls'"
	grep -q '^node=[123] returned=0 out="virgo_cloud_test_kernelspace has run"' <<<"$said" ||
		fail "the kernel function did not run"
	grep -qx 'node=1 exited=0 out="by telnet\\n"' <<<"$said" || fail "the program did not run"
	grep -qx 'node=2 returned=42' <<<"$said" || fail "the library function did not run"
	grep -q '^ERR EACCES node 1: not allowed' <<<"$said" || fail "node1 runs what it does not allow"
}

# What the guests let each other read and write.
files=/var/log/virgo_fs

# One file, copied from node to node in three ways; all that come of it have one checksum.
files_are_copied() {
	local sums
	node 1 sh -c "seq -s ' ' 10000 | tr -d '\\n' >$files/numbers"
	node 1 virgo_demo_files "1:$files/numbers" "node2:$files/by-program"
	node 3 virgo cp --verify "2:$files/by-program" "3:$files/by-command"
	echo "  node3 has copied it from node2 by virgo cp --verify"
	# shellcheck disable=SC2016 # the guest's shell expands it
	type_on_node3 50000 '
		enter "virgo_cloud_open(2:'"$files"'/by-program,O_RDONLY)"; from=$reply
		enter "virgo_cloud_open(1:'"$files"'/by-telnet)"; to=$reply
		answer "virgo_cloud_read($from,none,65536,0)"
		echo "> virgo_cloud_read($from,none,65536,0)"; echo "(${#reply} characters)"; data=$reply
		answer "virgo_cloud_write($to,$data,65536,0)"
		echo "> virgo_cloud_write($to,(those),65536,0)"; echo "$reply"
		enter "virgo_cloud_fsync($to)"
		enter "virgo_cloud_close($to)"
		enter "virgo_cloud_read($to,none,10,0)"'
	grep -qx 'closed' <<<"$said" || fail "the file was not closed"
	grep -q '^ERR EBADF' <<<"$said" || fail "a closed file can still be read"
	sums=$(node 1 sh -c "cd $files && md5sum numbers by-telnet"
		node 2 sh -c "cd $files && md5sum by-program"
		node 3 sh -c "cd $files && md5sum by-command")
	indent <<<"$sums"
	[ "$(wc -l <<<"$sums")" = 4 ] || fail "a copy is missing"
	[ "$(cut -d ' ' -f 1 <<<"$sums" | sort -u | wc -l)" = 1 ] || fail "the copies differ"
}

# A call on node1 puts a request into node2's queue; KingCobra there does it, by a program, and the
# reply comes to who listens. Both are on record.
request_and_reply() {
	local reply
	# shellcheck disable=SC2016 # the guest's shell expands it
	node 2 sh -c '
		virgo kingcobra serve tr a-z A-Z >/dev/null 2>&1 &
		virgo queue sub "kingcobra.replies.>" --count 1 --timeout 60s >/tmp/reply 2>/dev/null &
		n=0; until virgo queue list | grep -q _sub && virgo queue list | grep -q kingcobra; do
			n=$((n + 1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done'
	node 1 virgo clone --on 2 kingcobra_push 'hello from a call' >/dev/null
	# shellcheck disable=SC2016 # the guest's shell expands it
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

# Every call that was made since the recording began, in causal order. dot is graphviz's.
picture() {
	local events=$top/build/demo
	node 1 virgo eventnet off
	mkdir -p "$top/build"
	# The events outlive the nodes.
	node 1 virgo eventnet export --format json >"$events.json"
	node 1 virgo eventnet order >/dev/null || fail "events have no causal order"
	node 1 virgo eventnet export --format dot >"$events.dot"
	grep -c receive "$events.json" | sed 's/.*/  & requests went from node to node/'
	if "$top/qemu/in-root" dot -V 2>/dev/null; then
		"$top/qemu/in-root" dot -Tsvg "$events.dot" >"$events.svg"
		echo "  picture of all calls: $events.svg"
	else
		echo "  graph of all calls: $events.dot (graphviz makes a picture of it: dot -Tsvg)"
	fi
}

# A program on node3 holds a lock when its node is killed. The next holder's token is larger, so what it has
# used with the lock refuses the former one.
lock_moves() {
	local before after start id refused
	# shellcheck disable=SC2016 # the guest's shell expands it
	before=$(node 3 sh -c 'virgo lock demo -- sh -c "echo \$VIRGO_LOCK_TOKEN >/tmp/token; exec sleep 1000" \
		>/dev/null 2>&1 &
		n=0; until [ -s /tmp/token ]; do n=$((n + 1)); [ $n -lt 600 ] || exit 1; sleep 0.05; done
		cat /tmp/token')
	if node 1 virgo lock demo --try -- true 2>/dev/null; then
		fail "node1 has it, too"
	fi
	node 1 virgo locks | indent
	start=$EPOCHREALTIME
	"$cluster" kill node3
	# shellcheck disable=SC2016 # the guest's shell expands it
	after=$(node 1 virgo lock demo --timeout 60s -- sh -c 'echo $VIRGO_LOCK_TOKEN')
	echo "  node1 has it $(seconds_since "$start" | tr -s ' ') after node3 was killed: token $before became $after"
	[ "$after" -gt "$before" ] || fail "the token does not grow"
	id=$(node 1 virgo malloc 100 --place 1)
	node 1 virgo set "$id" new --fence "demo:$after"
	if refused=$(node 1 virgo set "$id" late --fence "demo:$before" 2>&1); then
		fail "who had the lock before may write"
	fi
	indent <<<"$refused"
	[ "$(node 1 virgo get "$id" --length 3)" = new ] || fail "what was written late is there"
	node 1 virgo free "$id"
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

up=("$cluster" up)
[ "${VIRGO_LANE:-slim}" != stock ] || up+=(--stock)

begin=$EPOCHREALTIME
step 'three nodes boot' "${up[@]}"
step 'all nodes record what happens' node 1 virgo eventnet on
step 'a program for the calls of 2017 runs on node1' original_program
step 'a C program on node1 uses 1 MiB of cluster memory' program_on_node1
step 'its pieces lie on several nodes' where_it_lies
step 'node2 reads the same data by its id, and frees it' node2_reads
step 'a person on node3 uses the pool by telnet' pool_by_telnet
step 'a C program on node1 has each node run functions and a program' calls_by_program
step 'the command line on node2 has them run at random places' calls_at_random_places
step 'a person on node3 has other nodes run them by telnet' calls_by_telnet
step 'a file is copied from node to node by program, command line and telnet' files_are_copied
step 'a call on node1 becomes a request on node2, and is replied to' request_and_reply
step 'the command line on node1 shows the cluster' command_line
step 'what the nodes have recorded is put in order' picture
step 'a lock moves when the node of its holder dies' lock_moves
step 'the nodes go down' "$cluster" down

printf '\n== All steps did what they say; it took %s:\n' "$(seconds_since "$begin")"
printf '%s\n' "${summary[@]}"
