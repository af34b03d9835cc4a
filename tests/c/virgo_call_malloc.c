// SPDX-License-Identifier: GPL-2.0
/*
 * Makes call 549 with the given size and prints what it returns, or the error number, negative.
 * For the tests of the system call stubs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/virgo.h>

int main(int argc, char **argv)
{
	uint64_t id;
	long result;

	if (argc != 2) {
		fprintf(stderr, "usage: virgo_call_malloc SIZE\n");
		return 2;
	}
	result = syscall(__NR_virgo_malloc, atoi(argv[1]), &id);
	printf("%ld\n", result < 0 ? -errno : result);
	return 0;
}
