// SPDX-License-Identifier: GPL-2.0
/*
 * A program that uses memory of several nodes by system call.
 *
 *   virgo_demo              allocate 1 MiB, set and get data, check it, free it
 *   virgo_demo --keep       the same without freeing it; only the id on stdout
 *   virgo_demo --check ID   check the data of an allocation that was kept
 *   virgo_demo --free ID    free it
 *
 * Exit status: 0 if all went well, 1 if not, 2 for a wrong command line.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <virgo.h>

#define SIZE 1048576L

/* A megabyte may take longer than the usual deadline where processors are emulated. */
#define PATIENCE_MS 60000

static const char text[] = "VIRGO: one string, set as a string, at the start of a megabyte";

static unsigned char data[SIZE];
/* Where what was done is told: stderr if stdout is for the id. */
static FILE *out;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Tells what a step did, and ends the program if it failed. */
static void step(const char *what, int ok, double start)
{
	double ms = (seconds() - start) * 1e3;

	if (!ok) {
		fprintf(stderr, "virgo_demo: cannot %s: %s\n", what, strerror(errno));
		exit(1);
	}
	fprintf(out, "  %-46s %9.2f ms\n", what, ms);
}

/* Whether a call has copied all; says why if it should not have. */
static int all(long copied)
{
	if (copied >= 0 && copied != SIZE)
		errno = EIO;
	return copied == SIZE;
}

/* Byte at @at of the data: differs between places that differ in any bit. */
static unsigned char pattern(long at)
{
	unsigned long long hash = (unsigned long long)(at + 1) * 0x9e3779b97f4a7c15ULL;

	return (unsigned char)(hash >> 56);
}

static unsigned long long allocate_shared(void)
{
	unsigned long long id;
	double start = seconds();
	int failed = virgo_malloc2(SIZE, VIRGO_MALLOC_SHARED, VIRGO_PLACE_DEFAULT, 0, 0, &id);

	step("allocate 1 MiB, shared (virgo_malloc2)", !failed, start);
	fprintf(out, "  id %016llx\n", id);
	return id;
}

static void fill(unsigned long long id)
{
	double start;

	for (long i = 0; i < SIZE; i++)
		data[i] = pattern(i);
	start = seconds();
	step("set 1 MiB (virgo_set2)", all(virgo_set2(id, 0, data, SIZE, PATIENCE_MS)), start);
	start = seconds();
	step("set a string at its start (virgo_set)", virgo_set(id, text) == 0, start);
}

/* Both calls that get must find the string, and the pattern behind it. */
static void check(unsigned long long id)
{
	double start = seconds();
	long wrong = 0;

	step("get the string (virgo_get)", virgo_get(id, (char *)data) == 0, start);
	if (strcmp((char *)data, text) != 0) {
		fprintf(stderr, "virgo_demo: set '%s', got '%.100s'\n", text, (char *)data);
		exit(1);
	}
	memset(data, 0, SIZE);
	start = seconds();
	step("get 1 MiB (virgo_get2)", all(virgo_get2(id, 0, data, SIZE, PATIENCE_MS)), start);
	for (long i = 0; i < SIZE; i++)
		wrong += data[i] != (i < (long)sizeof(text) ? (unsigned char)text[i] : pattern(i));
	if (wrong) {
		fprintf(stderr, "virgo_demo: %ld of %ld bytes are wrong\n", wrong, SIZE);
		exit(1);
	}
	fprintf(out, "  all %ld bytes are right\n", SIZE);
}

static void release(unsigned long long id)
{
	double start = seconds();

	step("free it (virgo_free2)", virgo_free2(id, 0) == 0, start);
}

static unsigned long long parse_id(const char *digits)
{
	char *end;
	unsigned long long id;

	errno = 0;
	id = strtoull(digits, &end, 16);
	if (errno || end == digits || *end) {
		fprintf(stderr, "virgo_demo: '%s' is not an id: expected hexadecimal digits\n",
			digits);
		exit(2);
	}
	return id;
}

int main(int argc, char **argv)
{
	unsigned long long id;

	out = stdout;
	if (argc == 1) {
		id = allocate_shared();
		fill(id);
		check(id);
		release(id);
	} else if (argc == 2 && !strcmp(argv[1], "--keep")) {
		out = stderr;
		id = allocate_shared();
		fill(id);
		check(id);
		printf("%016llx\n", id);
	} else if (argc == 3 && !strcmp(argv[1], "--check")) {
		check(parse_id(argv[2]));
	} else if (argc == 3 && !strcmp(argv[1], "--free")) {
		release(parse_id(argv[2]));
	} else {
		fprintf(stderr, "usage: virgo_demo [--keep | --check ID | --free ID]\n");
		return 2;
	}
	return 0;
}
