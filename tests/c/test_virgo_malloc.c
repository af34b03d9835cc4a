// SPDX-License-Identifier: GPL-2.0
/*
 * A program as they were written for the original interface: numbers and
 * arguments only, no header of ours. First one allocation; then a parent and a
 * child, whose data must not mix.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 100

static void check(int ok, const char *what, const char *who)
{
	if (ok)
		return;
	fprintf(stderr, "test_virgo_malloc: %s: %s: ", who, what);
	perror(NULL);
	exit(1);
}

static void round_trip(const char *who, const char *text)
{
	unsigned long long id = 3250409088u;
	char data[256];

	check(syscall(549, 100, &id) == 0, "virgo_malloc", who);
	check(syscall(550, id, text) == 0, "virgo_set", who);
	memset(data, 'x', sizeof(data));
	check(syscall(551, id, data) == 0, "virgo_get", who);
	if (strcmp(data, text) != 0) {
		fprintf(stderr, "test_virgo_malloc: %s: set '%s', got '%.100s'\n", who, text, data);
		exit(1);
	}
	check(syscall(552, id) == 0, "virgo_free", who);
}

int main(void)
{
	int status;
	pid_t child;

	round_trip("alone", "DataSet");

	child = fork();
	check(child >= 0, "fork", "parent");
	for (int i = 0; i < ROUNDS; i++) {
		if (child == 0)
			round_trip("child", "DataSet_process1");
		else
			round_trip("parent", "DataSet_process2");
	}
	if (child == 0)
		return 0;

	check(waitpid(child, &status, 0) == child, "waitpid", "parent");
	if (status != 0) {
		fprintf(stderr, "test_virgo_malloc: the child has failed\n");
		return 1;
	}
	printf("test_virgo_malloc: 2 processes, %d allocations each: all data right\n", ROUNDS);
	return 0;
}
