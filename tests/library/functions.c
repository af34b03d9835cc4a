// SPDX-License-Identifier: GPL-2.0
/* Functions of C for other nodes to call: each gets its arguments as one text. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Prints the text and returns its length. */
void *virgo_test_echo(void *text)
{
	puts(text);
	return (void *)strlen(text);
}

/* Is killed by SIGSEGV. */
void *virgo_test_crash(void *text)
{
	(void)text;
	*(volatile int *)8 = 1;
	return NULL;
}

/* Sleeps so many milliseconds and returns their number. */
void *virgo_test_sleep(void *text)
{
	long ms = atol(text);
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
	return (void *)ms;
}
