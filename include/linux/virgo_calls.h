/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The link between the VIRGO system call stubs in vmlinux and the modules
 * that serve them.
 */
#ifndef _LINUX_VIRGO_CALLS_H
#define _LINUX_VIRGO_CALLS_H

#include <linux/types.h>

struct module;

/** enum virgo_service - who serves a system call; one registrant each */
enum virgo_service {
	VIRGO_CPUPOOLING,
	VIRGO_MEMPOOL,
	VIRGO_CLOUDFS,
	VIRGO_QUEUE,
	VIRGO_CLOUDSYNC,
	VIRGO_ANALYTICS,
	VIRGO_NR_SERVICES,
};

/**
 * struct virgo_calls - the system calls that one module serves
 * @owner: pinned while a call is inside the module
 * @size:  sizeof(struct virgo_calls), so that a module built for another
 *         layout is refused instead of jumped into
 *
 * A module fills the members of its own service and leaves the others NULL
 * (ENOSYS). Each member gets the structure itself first, so that a module can
 * embed it in its state. Calls run in the task of the caller, may sleep, and
 * get user pointers and sizes as the caller passed them.
 */
struct virgo_calls {
	struct module *owner;
	size_t size;

	/* VIRGO_CPUPOOLING */
	long (*clone)(const struct virgo_calls *calls, const char __user *func);
	long (*clone2)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*wait)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*cancel)(const struct virgo_calls *calls, void __user *args, size_t size);

	/* VIRGO_MEMPOOL */
	long (*malloc)(const struct virgo_calls *calls, int size, u64 __user *id);
	long (*set)(const struct virgo_calls *calls, u64 id, const char __user *data);
	long (*get)(const struct virgo_calls *calls, u64 id, char __user *data);
	long (*free)(const struct virgo_calls *calls, u64 id);
	long (*malloc2)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*set2)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*get2)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*free2)(const struct virgo_calls *calls, void __user *args, size_t size);

	/* VIRGO_CLOUDFS */
	long (*open)(const struct virgo_calls *calls, const char __user *path);
	long (*close)(const struct virgo_calls *calls, long desc);
	long (*read)(const struct virgo_calls *calls, long desc, char __user *data,
		     int size, int pos);
	long (*write)(const struct virgo_calls *calls, long desc, const char __user *data,
		      int size, int pos);
	long (*open2)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*read2)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*write2)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*fsync)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*stat)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*truncate)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*unlink)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*rename)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*mkdir)(const struct virgo_calls *calls, void __user *args, size_t size);
	long (*readdir)(const struct virgo_calls *calls, void __user *args, size_t size);

	/* VIRGO_QUEUE */
	long (*queue)(const struct virgo_calls *calls, void __user *args, size_t size);

	/* VIRGO_CLOUDSYNC */
	long (*lock)(const struct virgo_calls *calls, void __user *args, size_t size);

	/* VIRGO_ANALYTICS */
	long (*variable)(const struct virgo_calls *calls, void __user *args, size_t size);
};

/**
 * register_virgo_calls - serve system calls
 * @service: which calls
 * @calls:   stays valid and unchanged until it is unregistered
 *
 * Return: 0, -EBUSY if the service is taken, -EINVAL for an unknown service or
 * a structure of another size.
 */
int register_virgo_calls(enum virgo_service service, const struct virgo_calls *calls);

/**
 * unregister_virgo_calls - stop serving system calls
 * @service: as registered
 * @calls:   as registered; of any other structure nothing is changed
 *
 * Sleeps. On return no new call starts. Calls inside hold a reference on the
 * owner, so in the owner's exit function there are none.
 */
void unregister_virgo_calls(enum virgo_service service, const struct virgo_calls *calls);

#endif /* _LINUX_VIRGO_CALLS_H */
