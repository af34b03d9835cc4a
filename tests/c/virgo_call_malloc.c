// SPDX-License-Identifier: GPL-2.0
/*
 * Makes call 549 with the given size and prints what it returns, or the error number, negative.
 * For the tests of what passes calls on to the modules.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <virgo.h>

int main(int argc, char **argv)
{
	unsigned long long id;
	int result;

	if (argc != 2) {
		fprintf(stderr, "usage: virgo_call_malloc SIZE\n");
		return 2;
	}
	result = virgo_malloc(atoi(argv[1]), &id);
	printf("%d\n", result < 0 ? -errno : result);
	return 0;
}
