// SPDX-License-Identifier: GPL-2.0
/*
 * A program that copies a file from node to node by the system calls of 2017,
 * and brings the copy to the disk.
 *
 *   virgo_demo_files FROM TO        such as 1:/srv/data/a node2:/srv/data/a
 *
 * Exit status: 0 if all was copied, 1 if not, 2 for a wrong command line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <virgo.h>

#define BLOCK 65536

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "virgo_demo_files: cannot %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

int main(int argc, char **argv)
{
	static char data[BLOCK];
	int from, to, pos = 0;
	long n;

	if (argc != 3) {
		fprintf(stderr, "usage: virgo_demo_files FROM TO\n");
		return 2;
	}
	from = virgo_open(argv[1]);
	if (from < 0)
		fail("open", argv[1]);
	to = virgo_open(argv[2]);
	if (to < 0)
		fail("open", argv[2]);
	while ((n = virgo_read(from, data, BLOCK, pos)) > 0) {
		if (virgo_write(to, data, (int)n, pos) != n)
			fail("write", argv[2]);
		pos += (int)n;
	}
	if (n < 0)
		fail("read", argv[1]);
	if (virgo_fsync(to) != 0)
		fail("sync", argv[2]);
	if (virgo_close(from) != 0 || virgo_close(to) != 0)
		fail("close", argv[2]);
	printf("  %d bytes from %s to %s\n", pos, argv[1], argv[2]);
	return 0;
}
