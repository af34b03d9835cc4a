/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VIRGO - the memory of all nodes of a cluster, for programs in C and C++.
 *
 * An allocation is named by a 64-bit id, the same on every node. Every call ends
 * by its deadline: the one that the node's configuration sets, or timeout_ms if
 * that is not 0 (at most 300000).
 *
 * On failure every function returns -1 and sets errno:
 *
 *   EINVAL        no node has issued this id, or an argument makes no sense
 *   ESTALE        the allocation was freed, or its node has restarted
 *   EPERM         it belongs to another uid and is not shared
 *   EFAULT        an address is not the caller's
 *   EFBIG         the data goes beyond the end of the allocation
 *   EMSGSIZE      a string of virgo_set() has 64 KiB or more
 *   ENOMEM        the memory pools are full
 *   ENODEV        the cluster has no such node
 *   EHOSTDOWN, ETIMEDOUT, ECONNRESET
 *                 another node does not answer, or lost the request
 *   ENOSYS        the module virgo_mempool is not loaded
 */
#ifndef _VIRGO_H
#define _VIRGO_H

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/virgo.h>

#ifdef __cplusplus
extern "C" {
#else
/* <unistd.h> hides it from programs that ask for strict C; C++ always sees it. */
long syscall(long number, ...);
#endif

/**
 * virgo_malloc - allocate cluster memory
 * @size: bytes, at least 1; they are zero at first
 * @id:   set on success: names the allocation
 *
 * The allocation belongs to the caller's effective uid, and stays until it is
 * freed.
 *
 * Return: 0, or -1 and errno.
 */
static inline int virgo_malloc(int size, unsigned long long *id)
{
	return (int)syscall(__NR_virgo_malloc, size, id);
}

/**
 * virgo_set - copy a string into an allocation
 * @id:   from virgo_malloc() or virgo_malloc2()
 * @data: the string; its NUL is copied too if there is room
 *
 * Return: 0, or -1 and errno.
 */
static inline int virgo_set(unsigned long long id, const char *data)
{
	return (int)syscall(__NR_virgo_set, id, data);
}

/**
 * virgo_get - copy a string out of an allocation
 * @id:   from virgo_malloc() or virgo_malloc2()
 * @data: receives the bytes up to and with the first NUL; without any NUL the
 *        whole allocation. There must be room for all of it, or for the longest
 *        string that anybody sets. virgo_get2() has a limit.
 *
 * Return: 0, or -1 and errno.
 */
static inline int virgo_get(unsigned long long id, char *data)
{
	return (int)syscall(__NR_virgo_get, id, data);
}

/**
 * virgo_free - give an allocation back
 * @id: from virgo_malloc() or virgo_malloc2()
 *
 * Return: 0, or -1 and errno.
 */
static inline int virgo_free(unsigned long long id)
{
	return (int)syscall(__NR_virgo_free, id);
}

/**
 * virgo_malloc2 - allocate cluster memory, with options
 * @size:       bytes, at least 1; they are zero at first
 * @flags:      0, or VIRGO_MALLOC_SHARED: every uid may use the allocation
 * @place:      VIRGO_PLACE_*: where its chunks go
 * @node:       number of the node for VIRGO_PLACE_NODE, otherwise 0
 * @timeout_ms: deadline, 0 for the configured one
 * @id:         set on success: names the allocation
 *
 * Return: 0, or -1 and errno.
 */
static inline int virgo_malloc2(unsigned long long size, unsigned int flags,
				unsigned int place, unsigned int node,
				unsigned int timeout_ms, unsigned long long *id)
{
	struct virgo_malloc_args args = {
		size, 0, flags, place, node, timeout_ms
	};
	long result = syscall(__NR_virgo_malloc2, &args, sizeof(args));

	if (result == 0)
		*id = args.id;
	return (int)result;
}

/**
 * virgo_set2 - copy bytes into an allocation
 * @id:         from virgo_malloc() or virgo_malloc2()
 * @offset:     first byte of the allocation
 * @data:       the bytes
 * @len:        how many
 * @timeout_ms: deadline, 0 for the configured one
 *
 * Return: the number of bytes copied, which is less than @len only if the rest
 * failed; or -1 and errno.
 */
static inline long virgo_set2(unsigned long long id, unsigned long long offset,
			      const void *data, size_t len, unsigned int timeout_ms)
{
	struct virgo_data_args args = {
		id, offset, len, (unsigned long)data, 0, timeout_ms
	};

	return syscall(__NR_virgo_set2, &args, sizeof(args));
}

/**
 * virgo_get2 - copy bytes out of an allocation
 * @id:         from virgo_malloc() or virgo_malloc2()
 * @offset:     first byte of the allocation
 * @data:       receives the bytes
 * @len:        how many
 * @timeout_ms: deadline, 0 for the configured one
 *
 * Return: the number of bytes copied, which is less than @len only if the
 * allocation ends or the rest failed; or -1 and errno.
 */
static inline long virgo_get2(unsigned long long id, unsigned long long offset,
			      void *data, size_t len, unsigned int timeout_ms)
{
	struct virgo_data_args args = {
		id, offset, len, (unsigned long)data, 0, timeout_ms
	};

	return syscall(__NR_virgo_get2, &args, sizeof(args));
}

/**
 * virgo_free2 - give an allocation back
 * @id:         from virgo_malloc() or virgo_malloc2()
 * @timeout_ms: deadline, 0 for the configured one
 *
 * Return: 0, or -1 and errno. If a node that has a part of the allocation does
 * not answer, the allocation stays and can be freed again.
 */
static inline int virgo_free2(unsigned long long id, unsigned int timeout_ms)
{
	struct virgo_free_args args = { id, 0, timeout_ms };

	return (int)syscall(__NR_virgo_free2, &args, sizeof(args));
}

/**
 * virgo_queue - use a queue or topic
 * @args: see <linux/virgo.h>; all that is not used is 0, and fd -1
 *
 * Return: 0, a count, a length or a descriptor, by the operation; or -1 and
 * errno.
 */
static inline long virgo_queue(struct virgo_queue_args *args)
{
	return syscall(__NR_virgo_queue, args, sizeof(*args));
}

#ifdef __cplusplus
}
#endif

#endif /* _VIRGO_H */
