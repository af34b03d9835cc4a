// SPDX-License-Identifier: GPL-2.0
/*
 * A program that has each node run a kernel function, a program and a library
 * function: all at once, by one system call.
 *
 *   virgo_demo_calls NODES
 *
 * Exit status: 0 if each did what it should where it should, 1 if not, 2 for a
 * wrong command line.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <virgo.h>

#define MAX_NODES 64
#define ROOM 256

/* What is called, and what should come of it. A name and its arguments are ended by NULs. */
static const struct kind {
	const char *what;
	const char *argv;
	unsigned int argv_len;
	unsigned int state;
	long long value;
} kinds[] = {
#define ARGV(words) words, sizeof(words)
	{ "kernel function", ARGV("echo\0hello"), VIRGO_CALL_RETURNED, 5 },
	{ "program", ARGV("/usr/lib/virgo/test/virgo_cloud_test_main\0args\0hello"),
	  VIRGO_CALL_EXITED, 0 },
	{ "library function", ARGV("/usr/lib/virgo/test/libvirgo_test.so:virgo_test_sum\0" "40\0" "2"),
	  VIRGO_CALL_RETURNED, 42 },
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

static struct virgo_call calls[MAX_NODES * KINDS];
static char outputs[MAX_NODES * KINDS][ROOM];

/* Shows what came of a call. Returns whether it is what should have. */
static int show(const struct kind *kind, unsigned int node, const struct virgo_call *call,
		const char *output)
{
	static const char *const states[] = { "runs", "returned", "exited", "was killed by", "failed" };
	const char *name = strrchr(kind->argv, '/');

	printf("  node %u: %-17s %-36s %s %lld\n", call->node, kind->what,
	       name ? name + 1 : kind->argv, call->state < 5 ? states[call->state] : "?",
	       (long long)call->value);
	if (call->node == node && call->state == kind->state && call->value == kind->value)
		return 1;
	printf("    should have %s %lld on node %u; it said: %.*s\n", states[kind->state],
	       kind->value, node, (int)(call->out_len + call->err_len), output);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int nodes = argc == 2 ? (unsigned int)atoi(argv[1]) : 0;
	unsigned int count = 0, right = 0;

	if (nodes < 1 || nodes > MAX_NODES) {
		fprintf(stderr, "usage: virgo_demo_calls NODES\n");
		return 2;
	}
	for (unsigned int node = 1; node <= nodes; node++) {
		for (unsigned int kind = 0; kind < KINDS; kind++, count++) {
			calls[count].argv = (unsigned long)kinds[kind].argv;
			calls[count].argv_len = kinds[kind].argv_len;
			calls[count].output = (unsigned long)outputs[count];
			calls[count].output_len = ROOM;
			calls[count].place = VIRGO_RUN_NODE;
			calls[count].node = node;
		}
	}
	if (virgo_clone2(calls, count, 0, 0) < 0) {
		perror("virgo_demo_calls: virgo_clone2");
		return 1;
	}
	for (unsigned int i = 0; i < count; i++)
		right += (unsigned int)show(&kinds[i % KINDS], 1 + i / KINDS, &calls[i], outputs[i]);
	printf("  %u of %u calls did what they should\n", right, count);
	return right != count;
}
