/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VIRGO - memory, processors and files of all nodes of a cluster, for programs
 * in C and C++.
 *
 * An allocation is named by a 64-bit id, the same on every node. Every call ends
 * by its deadline: the one that the node's configuration sets, or timeout_ms if
 * that is not 0 (at most 300000).
 *
 * On failure every function returns -1 and sets errno. What the functions about
 * memory set:
 *
 *   EINVAL        no node has issued this id, or an argument makes no sense
 *   ESTALE        the allocation was freed, or its node has restarted
 *   EDQUOT        the caller's uid has all of the pools that one user may have
 *   EPERM         it belongs to another uid and is not shared
 *   EFAULT        an address is not the caller's
 *   EFBIG         the data goes beyond the end of the allocation
 *   EMSGSIZE      a string of virgo_set() has 64 KiB or more
 *   ENOMEM        the memory pools are full
 *   ENODEV        the cluster has no such node
 *   EHOSTDOWN, ETIMEDOUT, ECONNRESET
 *                 another node does not answer, or lost the request
 *   ENOSYS        the module virgo_mempool is not loaded
 *   EACCES        on a kernel without VIRGO's system calls: the program may not
 *                 open /dev/virgo
 *
 * Those about calls, beside EFAULT and ENODEV as above; what goes wrong with one
 * of several calls is its own state and value:
 *
 *   EINVAL        no calls or more than VIRGO_MAX_CALLS, nothing to wait for, or
 *                 an argument makes no sense
 *   E2BIG         more than 32 KiB of name and arguments, or 1 MiB of all
 *   EAGAIN        too many jobs whose results were not taken
 *   ESRCH, EPERM  there is no such job, or another uid has made it
 *   ETIMEDOUT     none of the calls waited for has ended yet
 *   ENOSYS        the module virgo_cpupooling is not loaded
 */
#ifndef _VIRGO_H
#define _VIRGO_H

#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/virgo.h>

#ifdef __cplusplus
extern "C" {
#else
/* <unistd.h> hides it from programs that ask for strict C; C++ always sees it. */
long syscall(long number, ...);
#endif

/*
 * The functions are inline, unless a program says otherwise before it includes
 * this: libvirgo.a has them all for languages that call functions only.
 */
#ifndef VIRGO_FUNCTION
#define VIRGO_FUNCTION static inline
#endif

/* How calls are made: not known yet, or by system call, or by this descriptor of the device. */
#define VIRGO_DOOR_UNKNOWN	(-2)
#define VIRGO_DOOR_SYSCALL	(-1)

/* One for the whole program, in however many of its files this header is. */
__attribute__((weak)) int virgo_door = VIRGO_DOOR_UNKNOWN;

/* Makes a call at the device. For functions below. */
static inline long virgo_ioctl(int fd, long number, const unsigned long *args)
{
	struct virgo_first_args first;
	long result;
	int i;

	if (number < __NR_virgo_clone2) {
		for (i = 0; i < 4; i++)
			first.args[i] = args[i];
		result = syscall(SYS_ioctl, fd, VIRGO_IOC(number, sizeof(first)), &first);
	} else {
		/* Structures have sizes known here, far below what a number has room for. */
		result = syscall(SYS_ioctl, fd, VIRGO_IOC(number, args[1] & 0x3fff), args[0]);
	}
	/* Modules that are older than this header. */
	if (result < 0 && errno == ENOTTY)
		errno = ENOSYS;
	return result;
}

/*
 * Makes the first call of the program, and decides how it makes them. A system
 * call that the kernel does not have does nothing, so that the same call can be
 * made at the device then. VIRGO_DOOR=syscall or device in the environment
 * leaves only the one, for tests.
 */
static inline long virgo_enter_first(long number, const unsigned long *args)
{
	const char *wanted = getenv("VIRGO_DOOR");
	int door = VIRGO_DOOR_UNKNOWN, fd;
	long result;

	if (!wanted || !strcmp(wanted, "syscall")) {
		result = syscall(number, args[0], args[1], args[2], args[3]);
		if (result >= 0 || errno != ENOSYS) {
			__atomic_store_n(&virgo_door, VIRGO_DOOR_SYSCALL, __ATOMIC_RELAXED);
			return result;
		}
		if (wanted)
			return result;
	}
	/* O_RDWR | O_CLOEXEC, whose names <fcntl.h> hides from programs that ask for strict C. */
	fd = (int)syscall(SYS_openat, -100, "/dev/virgo", 02000002);
	if (fd < 0) {
		if (errno == ENOENT)
			errno = ENOSYS;
		return -1;
	}
	/* Another thread may have been first. */
	if (!__atomic_compare_exchange_n(&virgo_door, &door, fd, 0, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE)) {
		close(fd);
		if (door == VIRGO_DOOR_SYSCALL)
			return syscall(number, args[0], args[1], args[2], args[3]);
		fd = door;
	}
	return virgo_ioctl(fd, number, args);
}

/* Makes a call, as syscall() would. For functions below. */
static inline long virgo_enter(long number, unsigned long a, unsigned long b, unsigned long c,
			       unsigned long d)
{
	const unsigned long args[4] = { a, b, c, d };
	int door = __atomic_load_n(&virgo_door, __ATOMIC_ACQUIRE);

	if (door == VIRGO_DOOR_SYSCALL)
		return syscall(number, a, b, c, d);
	if (door == VIRGO_DOOR_UNKNOWN)
		return virgo_enter_first(number, args);
	return virgo_ioctl(door, number, args);
}

/* Makes a call that takes a structure. */
static inline long virgo_enter_sized(long number, const void *args, size_t size)
{
	return virgo_enter(number, (unsigned long)args, size, 0, 0);
}

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
VIRGO_FUNCTION int virgo_malloc(int size, unsigned long long *id)
{
	return (int)virgo_enter(__NR_virgo_malloc, (unsigned long)size, (unsigned long)id, 0, 0);
}

/**
 * virgo_set - copy a string into an allocation
 * @id:   from virgo_malloc() or virgo_malloc2()
 * @data: the string; its NUL is copied too if there is room
 *
 * Return: 0, or -1 and errno.
 */
VIRGO_FUNCTION int virgo_set(unsigned long long id, const char *data)
{
	return (int)virgo_enter(__NR_virgo_set, id, (unsigned long)data, 0, 0);
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
VIRGO_FUNCTION int virgo_get(unsigned long long id, char *data)
{
	return (int)virgo_enter(__NR_virgo_get, id, (unsigned long)data, 0, 0);
}

/**
 * virgo_free - give an allocation back
 * @id: from virgo_malloc() or virgo_malloc2()
 *
 * Return: 0, or -1 and errno.
 */
VIRGO_FUNCTION int virgo_free(unsigned long long id)
{
	return (int)virgo_enter(__NR_virgo_free, id, 0, 0, 0);
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
VIRGO_FUNCTION int virgo_malloc2(unsigned long long size, unsigned int flags,
				unsigned int place, unsigned int node,
				unsigned int timeout_ms, unsigned long long *id)
{
	struct virgo_malloc_args args = {
		size, 0, flags, place, node, timeout_ms
	};

	if (virgo_enter_sized(__NR_virgo_malloc2, &args, sizeof(args)) != 0)
		return -1;
	*id = args.id;
	return 0;
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
VIRGO_FUNCTION long virgo_set2(unsigned long long id, unsigned long long offset,
			      const void *data, size_t len, unsigned int timeout_ms)
{
	struct virgo_data_args args = {
		id, offset, len, (unsigned long)data, 0, timeout_ms, 0
	};

	return virgo_enter_sized(__NR_virgo_set2, &args, sizeof(args));
}

/**
 * virgo_set_fenced - copy bytes into an allocation that a lock guards
 * @id:         from virgo_malloc() or virgo_malloc2()
 * @offset:     first byte of the allocation
 * @data:       the bytes
 * @len:        how many; a set of none raises the fences of all pieces
 * @fence:      the lock and the token with which it was granted
 * @timeout_ms: deadline, 0 for the configured one
 *
 * Return: as virgo_set2(); ESTALE, too, if somebody else has had the lock since.
 */
VIRGO_FUNCTION long virgo_set_fenced(unsigned long long id, unsigned long long offset,
				    const void *data, size_t len, const struct virgo_fence *fence,
				    unsigned int timeout_ms)
{
	struct virgo_data_args args = {
		id, offset, len, (unsigned long)data, 0, timeout_ms, (unsigned long)fence
	};

	return virgo_enter_sized(__NR_virgo_set2, &args, sizeof(args));
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
VIRGO_FUNCTION long virgo_get2(unsigned long long id, unsigned long long offset,
			      void *data, size_t len, unsigned int timeout_ms)
{
	struct virgo_data_args args = {
		id, offset, len, (unsigned long)data, 0, timeout_ms, 0
	};

	return virgo_enter_sized(__NR_virgo_get2, &args, sizeof(args));
}

/**
 * virgo_free2 - give an allocation back
 * @id:         from virgo_malloc() or virgo_malloc2()
 * @timeout_ms: deadline, 0 for the configured one
 *
 * Return: 0, or -1 and errno. If a node that has a part of the allocation does
 * not answer, the allocation stays and can be freed again.
 */
VIRGO_FUNCTION int virgo_free2(unsigned long long id, unsigned int timeout_ms)
{
	struct virgo_free_args args = { id, 0, timeout_ms, 0 };

	return (int)virgo_enter_sized(__NR_virgo_free2, &args, sizeof(args));
}

/**
 * virgo_free_fenced - give an allocation back that a lock guards
 * @id:         from virgo_malloc() or virgo_malloc2()
 * @fence:      the lock and the token with which it was granted
 * @timeout_ms: deadline, 0 for the configured one
 *
 * Return: as virgo_free2(); ESTALE, too, if somebody else has had the lock since.
 */
VIRGO_FUNCTION int virgo_free_fenced(unsigned long long id, const struct virgo_fence *fence,
				    unsigned int timeout_ms)
{
	struct virgo_free_args args = { id, 0, timeout_ms, (unsigned long)fence };

	return (int)virgo_enter_sized(__NR_virgo_free2, &args, sizeof(args));
}

/**
 * virgo_clone - have a node run a function or program, and wait
 * @func: its name and arguments, separated by blanks; double quotes keep blanks
 *        in one
 *
 * The configuration says which node.
 *
 * Return: 0 if the function has returned or the program has ended with status 0;
 * otherwise -1 and errno, EIO for another status or a signal.
 */
VIRGO_FUNCTION int virgo_clone(const char *func)
{
	return (int)virgo_enter(__NR_virgo_clone, (unsigned long)func, 0, 0, 0);
}

/**
 * virgo_clone2 - have nodes run functions and programs, all at once
 * @calls:      what, where, and room for the output; set: what came of each
 * @count:      how many: 1 to VIRGO_MAX_CALLS
 * @flags:      0, or VIRGO_CLONE_ASYNC: do not wait for their ends
 * @timeout_ms: deadline of each, 0 for the configured one
 *
 * Return: @count, or -1 and errno.
 */
VIRGO_FUNCTION long virgo_clone2(struct virgo_call *calls, unsigned int count, unsigned int flags,
				unsigned int timeout_ms)
{
	struct virgo_clone_args args = { (unsigned long)calls, count, flags, timeout_ms,
					 sizeof(*calls) };

	return virgo_enter_sized(__NR_virgo_clone2, &args, sizeof(args));
}

/**
 * virgo_wait - wait until one of several calls has ended
 * @calls:      as virgo_clone2() with VIRGO_CLONE_ASYNC has set them
 * @count:      how many: 1 to VIRGO_MAX_CALLS
 * @timeout_ms: longest wait, 0 for the configured deadline
 *
 * Return: how many have ended: these are filled in; or -1 and errno.
 */
VIRGO_FUNCTION long virgo_wait(struct virgo_call *calls, unsigned int count,
			      unsigned int timeout_ms)
{
	struct virgo_wait_args args = { (unsigned long)calls, count, 0, timeout_ms,
					sizeof(*calls) };

	return virgo_enter_sized(__NR_virgo_wait, &args, sizeof(args));
}

/**
 * virgo_cancel - end a call, wherever it runs
 * @job:        as virgo_clone2() has set it
 * @timeout_ms: deadline of this, 0 for the configured one
 *
 * Return: 0, or -1 and errno.
 */
VIRGO_FUNCTION int virgo_cancel(unsigned long long job, unsigned int timeout_ms)
{
	struct virgo_cancel_args args = { job, 0, timeout_ms };

	return (int)virgo_enter_sized(__NR_virgo_cancel, &args, sizeof(args));
}

/**
 * virgo_open - open a file of some node for reading and writing
 * @path: /PATH on this node, NODE:/PATH and other forms: see linux/virgo.h
 *
 * It is made if it is not there. What may only be read is opened for reading.
 * docs/files.md tells the errors of this and the following functions.
 *
 * Return: a file descriptor, for the functions below and close(); or -1 and errno.
 */
VIRGO_FUNCTION int virgo_open(const char *path)
{
	return (int)virgo_enter(__NR_virgo_open, (unsigned long)path, 0, 0, 0);
}

/**
 * virgo_close - close a file
 * @fd: from virgo_open() or virgo_open2()
 *
 * Return: 0, or -1 and errno.
 */
VIRGO_FUNCTION int virgo_close(int fd)
{
	return (int)virgo_enter(__NR_virgo_close, (unsigned long)fd, 0, 0, 0);
}

/**
 * virgo_read - copy bytes out of a file
 * @fd:   from virgo_open() or virgo_open2()
 * @data: receives the bytes
 * @size: how many
 * @pos:  first byte of the file
 *
 * Return: the number of bytes, less than @size only at the end; or -1 and errno.
 */
VIRGO_FUNCTION long virgo_read(int fd, void *data, int size, int pos)
{
	return virgo_enter(__NR_virgo_read, (unsigned long)fd, (unsigned long)data,
			   (unsigned long)size, (unsigned long)pos);
}

/**
 * virgo_write - copy bytes into a file
 * @fd:   from virgo_open() or virgo_open2()
 * @data: the bytes
 * @size: how many
 * @pos:  first byte of the file
 *
 * Return: the number of bytes, less than @size only if the rest failed; or -1
 * and errno.
 */
VIRGO_FUNCTION long virgo_write(int fd, const void *data, int size, int pos)
{
	return virgo_enter(__NR_virgo_write, (unsigned long)fd, (unsigned long)data,
			   (unsigned long)size, (unsigned long)pos);
}

/**
 * virgo_open2 - open a file of some node, with options
 * @path:       as for virgo_open()
 * @flags:      of open(): O_RDONLY, O_CREAT and so on
 * @mode:       permissions of a new file
 * @timeout_ms: deadline of this and of calls with the descriptor that name none,
 *              0 for the configured one
 *
 * Return: a file descriptor, or -1 and errno.
 */
VIRGO_FUNCTION int virgo_open2(const char *path, int flags, unsigned int mode,
			      unsigned int timeout_ms)
{
	struct virgo_open_args args = {
		(unsigned long)path, (unsigned int)flags, mode, timeout_ms, 0, 0
	};

	return (int)virgo_enter_sized(__NR_virgo_open2, &args, sizeof(args));
}

/**
 * virgo_open_fenced - open a file for writing that a lock guards
 * @path:       as for virgo_open()
 * @flags:      of open(): O_WRONLY or O_RDWR, O_CREAT and so on
 * @mode:       permissions of a new file
 * @fence:      the lock and the token with which it was granted
 * @timeout_ms: as for virgo_open2()
 *
 * Return: as virgo_open2(); ESTALE, too, if somebody else has had the lock since. So do
 * virgo_write() and the like with the descriptor.
 */
VIRGO_FUNCTION int virgo_open_fenced(const char *path, int flags, unsigned int mode,
				    const struct virgo_fence *fence, unsigned int timeout_ms)
{
	struct virgo_open_args args = {
		(unsigned long)path, (unsigned int)flags, mode, timeout_ms, 0,
		(unsigned long)fence
	};

	return (int)virgo_enter_sized(__NR_virgo_open2, &args, sizeof(args));
}

/**
 * virgo_read2 - copy bytes out of a file, with options
 * @fd:         from virgo_open() or virgo_open2()
 * @offset:     first byte of the file
 * @data:       receives the bytes
 * @len:        how many
 * @timeout_ms: deadline, 0 for that of the descriptor
 *
 * Return: as virgo_read().
 */
VIRGO_FUNCTION long virgo_read2(int fd, unsigned long long offset, void *data, size_t len,
			       unsigned int timeout_ms)
{
	struct virgo_file_args args = {
		offset, len, (unsigned long)data, fd, 0, timeout_ms, 0
	};

	return virgo_enter_sized(__NR_virgo_read2, &args, sizeof(args));
}

/**
 * virgo_write2 - copy bytes into a file, with options
 * @fd:         from virgo_open() or virgo_open2()
 * @offset:     first byte of the file
 * @data:       the bytes
 * @len:        how many
 * @timeout_ms: deadline, 0 for that of the descriptor
 *
 * Return: as virgo_write().
 */
VIRGO_FUNCTION long virgo_write2(int fd, unsigned long long offset, const void *data, size_t len,
				unsigned int timeout_ms)
{
	struct virgo_file_args args = {
		offset, len, (unsigned long)data, fd, 0, timeout_ms, 0
	};

	return virgo_enter_sized(__NR_virgo_write2, &args, sizeof(args));
}

/**
 * virgo_fsync - wait until what was written to a file is on the disk
 * @fd: from virgo_open() or virgo_open2()
 *
 * Return: 0, or -1 and errno.
 */
VIRGO_FUNCTION int virgo_fsync(int fd)
{
	struct virgo_fsync_args args = { fd, 0, 0, 0 };

	return (int)virgo_enter_sized(__NR_virgo_fsync, &args, sizeof(args));
}

/**
 * virgo_queue - use a queue or topic
 * @args: see <linux/virgo.h>; all that is not used is 0, and fd -1. What changes a
 *        queue that a lock guards has the lock and its token as fence
 *
 * Return: 0, a count, a length or a descriptor, by the operation; or -1 and
 * errno.
 */
VIRGO_FUNCTION long virgo_queue(struct virgo_queue_args *args)
{
	return virgo_enter_sized(__NR_virgo_queue, args, sizeof(*args));
}

/**
 * virgo_lock - use a cluster lock
 * @args: see <linux/virgo.h>; all that is not used is 0, and fd -1 for OPEN
 *
 * Return: 0, or a descriptor for OPEN; or -1 and errno.
 */
VIRGO_FUNCTION int virgo_lock(struct virgo_lock_args *args)
{
	return (int)virgo_enter_sized(__NR_virgo_lock, args, sizeof(*args));
}

#ifdef __cplusplus
}
#endif

#endif /* _VIRGO_H */
