// SPDX-License-Identifier: GPL-2.0
/*
 * VIRGO system call stubs.
 *
 * All policy is in the modules. A stub finds the module that registered for
 * the service, pins it for the time of the call, and passes the arguments on
 * unchanged; user pointers are neither read nor written here.
 */
#include <linux/cleanup.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/syscalls.h>
#include <linux/virgo_calls.h>

static const struct virgo_calls __rcu *virgo_calls[VIRGO_NR_SERVICES];

/*
 * A module is used only when its initialisation is over: one that fails is freed
 * no matter who holds it.
 */
static const struct virgo_calls *virgo_calls_get(enum virgo_service service)
{
	const struct virgo_calls *calls;

	guard(rcu)();
	calls = rcu_dereference(virgo_calls[service]);
	if (!calls || READ_ONCE(calls->owner->state) != MODULE_STATE_LIVE ||
	    !try_module_get(calls->owner))
		return NULL;
	return calls;
}

static void virgo_calls_put(const struct virgo_calls *calls)
{
	if (calls)
		module_put(calls->owner);
}

DEFINE_CLASS(virgo_calls, const struct virgo_calls *, virgo_calls_put(_T),
	     virgo_calls_get(service), enum virgo_service service)

#define VIRGO_CALL(service, op, ...)					\
({									\
	CLASS(virgo_calls, calls)(service);				\
	calls && calls->op ? calls->op(calls, ##__VA_ARGS__) : -ENOSYS;	\
})

int register_virgo_calls(enum virgo_service service, const struct virgo_calls *calls)
{
	if (service >= VIRGO_NR_SERVICES || calls->size != sizeof(*calls))
		return -EINVAL;
	/* Only the first registrant finds the slot empty. */
	if (!try_cmpxchg((const struct virgo_calls **)&virgo_calls[service],
			 &(const struct virgo_calls *){ NULL }, calls))
		return -EBUSY;
	return 0;
}
EXPORT_SYMBOL_FOR_MODULES(register_virgo_calls, "virgo_*");

void unregister_virgo_calls(enum virgo_service service, const struct virgo_calls *calls)
{
	if (service >= VIRGO_NR_SERVICES)
		return;
	if (cmpxchg((const struct virgo_calls **)&virgo_calls[service], calls, NULL) != calls)
		return;
	synchronize_rcu();
}
EXPORT_SYMBOL_FOR_MODULES(unregister_virgo_calls, "virgo_*");

/*
 * Programs of the first VIRGO leave the unused arguments of virgo_clone
 * undefined, so only the first one is looked at.
 */
SYSCALL_DEFINE1(virgo_clone, const char __user *, func)
{
	return VIRGO_CALL(VIRGO_CPUPOOLING, clone, func);
}

SYSCALL_DEFINE2(virgo_malloc, int, size, u64 __user *, id)
{
	return VIRGO_CALL(VIRGO_MEMPOOL, malloc, size, id);
}

SYSCALL_DEFINE2(virgo_set, u64, id, const char __user *, data)
{
	return VIRGO_CALL(VIRGO_MEMPOOL, set, id, data);
}

SYSCALL_DEFINE2(virgo_get, u64, id, char __user *, data)
{
	return VIRGO_CALL(VIRGO_MEMPOOL, get, id, data);
}

SYSCALL_DEFINE1(virgo_free, u64, id)
{
	return VIRGO_CALL(VIRGO_MEMPOOL, free, id);
}

SYSCALL_DEFINE1(virgo_open, const char __user *, path)
{
	return VIRGO_CALL(VIRGO_CLOUDFS, open, path);
}

SYSCALL_DEFINE1(virgo_close, long, desc)
{
	return VIRGO_CALL(VIRGO_CLOUDFS, close, desc);
}

SYSCALL_DEFINE4(virgo_read, long, desc, char __user *, data, int, size, int, pos)
{
	return VIRGO_CALL(VIRGO_CLOUDFS, read, desc, data, size, pos);
}

SYSCALL_DEFINE4(virgo_write, long, desc, const char __user *, data, int, size, int, pos)
{
	return VIRGO_CALL(VIRGO_CLOUDFS, write, desc, data, size, pos);
}

/* The calls from 557 on are all of one shape: extensible structure and size. */
#define VIRGO_SIZED_CALL(name, service, op)					\
SYSCALL_DEFINE2(name, void __user *, args, size_t, size)			\
{										\
	return VIRGO_CALL(service, op, args, size);				\
}

VIRGO_SIZED_CALL(virgo_clone2, VIRGO_CPUPOOLING, clone2)
VIRGO_SIZED_CALL(virgo_wait, VIRGO_CPUPOOLING, wait)
VIRGO_SIZED_CALL(virgo_cancel, VIRGO_CPUPOOLING, cancel)
VIRGO_SIZED_CALL(virgo_malloc2, VIRGO_MEMPOOL, malloc2)
VIRGO_SIZED_CALL(virgo_set2, VIRGO_MEMPOOL, set2)
VIRGO_SIZED_CALL(virgo_get2, VIRGO_MEMPOOL, get2)
VIRGO_SIZED_CALL(virgo_free2, VIRGO_MEMPOOL, free2)
VIRGO_SIZED_CALL(virgo_open2, VIRGO_CLOUDFS, open2)
VIRGO_SIZED_CALL(virgo_read2, VIRGO_CLOUDFS, read2)
VIRGO_SIZED_CALL(virgo_write2, VIRGO_CLOUDFS, write2)
VIRGO_SIZED_CALL(virgo_fsync, VIRGO_CLOUDFS, fsync)
VIRGO_SIZED_CALL(virgo_stat, VIRGO_CLOUDFS, stat)
VIRGO_SIZED_CALL(virgo_truncate, VIRGO_CLOUDFS, truncate)
VIRGO_SIZED_CALL(virgo_unlink, VIRGO_CLOUDFS, unlink)
VIRGO_SIZED_CALL(virgo_rename, VIRGO_CLOUDFS, rename)
VIRGO_SIZED_CALL(virgo_mkdir, VIRGO_CLOUDFS, mkdir)
VIRGO_SIZED_CALL(virgo_readdir, VIRGO_CLOUDFS, readdir)
VIRGO_SIZED_CALL(virgo_queue, VIRGO_QUEUE, queue)
VIRGO_SIZED_CALL(virgo_lock, VIRGO_CLOUDSYNC, lock)
VIRGO_SIZED_CALL(virgo_variable, VIRGO_ANALYTICS, variable)
