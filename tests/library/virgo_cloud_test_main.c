// SPDX-License-Identifier: GPL-2.0
/*
 * A program for other nodes to run: it behaves well or badly, as its first argument says.
 *
 *   (none)           fork, and print a line in parent and child, as the original's did
 *   args [ARG...]    print each argument on a line
 *   ids              print user, group, and number of supplementary groups
 *   exit STATUS      print a line on each output, and exit so
 *   return VALUE     write VALUE where a function's value goes, and exit with 0
 *   crash | abort    be killed by SIGSEGV, SIGABRT
 *   hang             ignore all signals, and do nothing
 *   close            close the outputs, and do nothing
 *   leave            leave a process behind that ignores all signals and holds the outputs
 *   share KEY        leave a System V shared memory segment of this key behind
 *   bomb             fork without end
 *   print MIB        print so much
 *   flood            print a MiB on the standard output, then one as errors
 *   talk             print something on each output, and do nothing
 */
#define _GNU_SOURCE
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where virgo-run expects a value. */
#define VALUE_FD 3

static void hang(void)
{
	for (;;)
		pause();
}

static void ignore_signals(void)
{
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_IGN);
}

static int original(void)
{
	pid_t child = fork();

	if (child < 0)
		return 1;
	if (child == 0) {
		printf("virgo_cloud_test_main: child\n");
		return 0;
	}
	waitpid(child, NULL, 0);
	printf("virgo_cloud_test_main: parent\n");
	return 0;
}

static int leave(void)
{
	pid_t child = fork();

	if (child < 0)
		return 1;
	if (child == 0) {
		setsid();
		ignore_signals();
		hang();
	}
	printf("left\n");
	return 0;
}

static int print(FILE *file, char what, long mib)
{
	static char piece[1 << 16];

	memset(piece, what, sizeof(piece));
	for (long i = 0; i < mib * 16; i++) {
		if (fwrite(piece, sizeof(piece), 1, file) != 1)
			return 1;
	}
	return 0;
}

static int repeat(FILE *file, char what, long count)
{
	for (long i = 0; i < count; i++) {
		if (putc(what, file) == EOF)
			return 1;
	}
	return 0;
}

static int say_value(int64_t value)
{
	return write(VALUE_FD, &value, sizeof(value)) != sizeof(value);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const char *value = argc > 2 ? argv[2] : "";

	if (!*what)
		return original();
	if (!strcmp(what, "args")) {
		for (int i = 2; i < argc; i++)
			puts(argv[i]);
		return 0;
	}
	if (!strcmp(what, "ids")) {
		printf("%d %d %d\n", (int)getuid(), (int)getgid(), getgroups(0, NULL));
		return 0;
	}
	if (!strcmp(what, "exit")) {
		printf("out\n");
		fprintf(stderr, "err\n");
		return atoi(value);
	}
	if (!strcmp(what, "return"))
		return say_value(strtoll(value, NULL, 10));
	if (!strcmp(what, "crash"))
		*(volatile int *)8 = 1;
	if (!strcmp(what, "abort"))
		abort();
	if (!strcmp(what, "hang")) {
		ignore_signals();
		hang();
	}
	if (!strcmp(what, "close")) {
		close(STDOUT_FILENO);
		close(STDERR_FILENO);
		hang();
	}
	if (!strcmp(what, "leave"))
		return leave();
	if (!strcmp(what, "share"))
		return shmget(atoi(value), 1, IPC_CREAT | IPC_EXCL | 0666) < 0;
	if (!strcmp(what, "bomb")) {
		for (;;)
			fork();
	}
	if (!strcmp(what, "print"))
		return print(stdout, 'x', atol(value));
	if (!strcmp(what, "say"))
		return repeat(stdout, 'o', atol(value)) ||
		       repeat(stderr, 'e', argc > 3 ? atol(argv[3]) : 0);
	if (!strcmp(what, "flood"))
		return print(stdout, 'o', 1) || print(stderr, 'e', 1);
	if (!strcmp(what, "talk")) {
		printf("so far");
		fflush(stdout);
		fprintf(stderr, "and errors");
		hang();
	}
	fprintf(stderr, "virgo_cloud_test_main: what is '%s'?\n", what);
	return 2;
}
