// SPDX-License-Identifier: GPL-2.0
/*
 * Times the NULL call of rpcbind over TCP by libtirpc, as any program makes it
 * (RFC 5531): no arguments, no result.
 *
 *   virgo_bench_null ADDRESS
 *
 * Prints "null NANOSECONDS", taken as the other measurements are: see measure()
 * in guest/main.rs.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rpc/rpc.h>
#include <rpc/pmap_prot.h>

#define BATCHES 25
#define BATCH_NANOS 10000000LL

static CLIENT *client;

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Neither arguments nor results have any bytes. */
static bool_t nothing(XDR *xdr, ...)
{
	(void)xdr;
	return TRUE;
}

/* Nanoseconds for each of so many calls. */
static long long batch(long long rounds)
{
	struct timeval timeout = { 25, 0 };
	long long start = now();

	for (long long i = 0; i < rounds; i++) {
		if (clnt_call(client, NULLPROC, nothing, NULL, nothing, NULL, timeout) !=
		    RPC_SUCCESS) {
			clnt_perror(client, "virgo_bench_null");
			exit(1);
		}
	}
	return (now() - start) / rounds;
}

static int compare(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	long long nanos[BATCHES], rounds;

	if (argc != 2) {
		fprintf(stderr, "usage: virgo_bench_null ADDRESS\n");
		return 2;
	}
	client = clnt_create(argv[1], PMAPPROG, PMAPVERS, "tcp");
	if (!client) {
		clnt_pcreateerror("virgo_bench_null");
		return 1;
	}
	rounds = BATCH_NANOS / batch(400);
	if (rounds < 1)
		rounds = 1;
	for (int i = 0; i < BATCHES; i++)
		nanos[i] = batch(rounds);
	qsort(nanos, BATCHES, sizeof(*nanos), compare);
	printf("null %lld\n", nanos[BATCHES / 2]);
	return 0;
}
