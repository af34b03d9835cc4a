#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Load and faults for long, in parts that can be run one by one: each fuzz target for two minutes, then the
# cluster tests with their full counts on the debug kernel. Of each part one line says how long it took
# and what came of it; its output is in build/log/soak-PART.log. VIRGO_FUZZ_SECONDS=N fuzzes each target for
# N seconds instead.
#
# Usage: soak.sh [PART...]      without PART all of them; any cluster test is a part, too
set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
tests=$top/build/target/x86_64-unknown-linux-gnu/release/virgo-tests

# Cluster tests that do more here than otherwise.
long=(
	mempool_suite
	cpupooling_suite
	cloudfs_suite
	queue_suite
	wire_suite
	umb_suite
	mempool_suite_by_device
	cpupooling_suite_by_device
	cloudfs_suite_by_device
	queue_suite_by_device
	a_gibibyte_of_output_is_cut
	a_slow_node_gets_fewer_calls
	calls_are_done_once_on_a_bad_network
	a_copy_is_resumed_after_a_partition
	of_two_copies_to_one_name_one_is_done
	renames_during_a_walk_do_not_lead_out
	what_was_synced_survives_a_kill
	queue_asks_once_on_a_bad_network
	queue_keeps_what_it_acknowledged_over_kills
	queue_takes_once_on_a_bad_network
	load_and_unload_under_traffic
	locks_exclude_all_nodes
	many_locks
	bakery_lock_of_modules_in_c
)

die() {
	echo "soak: $*" >&2
	exit 2
}

cluster_tests() {
	VIRGO_SOAK=1 VIRGO_TOP=$top "$top/tests/run.sh" debug --exact "$@"
}

# Does a part; the name of its log is left in `log`.
do_part() {
	log=debug-test
	case $1 in
	fuzz)
		log=fuzz
		"$top/qemu/step.sh" fuzz "fuzz targets, $seconds s each" \
			"$top/qemu/in-root" "$top/tests/fuzz/run" "$seconds"
		;;
	others)
		cluster_tests "${long[@]/#/--skip=}"
		;;
	*)
		cluster_tests "$1"
		;;
	esac
}

seconds=${VIRGO_FUZZ_SECONDS:-120}
parts=("$@")
[ ${#parts[@]} != 0 ] || parts=(fuzz others "${long[@]}")

# A test that was renamed would run nothing, and that would be no failure.
known=" fuzz others $(VIRGO_LANE=debug "$tests" --list | sed -n 's/: test$//p' | tr '\n' ' ') "
for part in "${long[@]}" "${parts[@]}"; do
	[[ $known == *" $part "* ]] || die "there is no part or cluster test '$part'"
done

failed=0
for part in "${parts[@]}"; do
	SECONDS=0
	result=ok
	do_part "$part" || result=FAILED
	[ "$result" = ok ] || failed=1
	cp "$top/build/log/$log.log" "$top/build/log/soak-$part.log"
	printf 'soak: %-44s %d:%02d:%02d  %s\n' "$part" \
		$((SECONDS / 3600)) $((SECONDS / 60 % 60)) $((SECONDS % 60)) "$result"
done
exit $failed
