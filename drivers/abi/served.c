// SPDX-License-Identifier: GPL-2.0
/*
 * Who serves which calls.
 *
 * A call reaches its module by one of two doors. The system call stubs are part
 * of a kernel with CONFIG_VIRGO_SYSCALLS, and keep a table of their own, which
 * is not exported. The device has the one here. A module is entered into both,
 * or into none.
 */
#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/errno.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

#include "helpers.h"
#include "served.h"

static const struct virgo_calls __rcu *virgo_served[VIRGO_NR_SERVICES];

/*
 * Enters @calls into both tables. They stay valid and unchanged until
 * virgo_unserve(). -EBUSY if the service is taken, -EINVAL for an unknown one or
 * a structure of another size.
 */
int virgo_serve(enum virgo_service service, const struct virgo_calls *calls)
{
	int err = 0;

	if (service >= VIRGO_NR_SERVICES || calls->size != sizeof(*calls))
		return -EINVAL;
	/* Only the first registrant finds the slot empty. */
	if (!try_cmpxchg((const struct virgo_calls **)&virgo_served[service],
			 &(const struct virgo_calls *){ NULL }, calls))
		return -EBUSY;
	if (IS_ENABLED(CONFIG_VIRGO_SYSCALLS))
		err = register_virgo_calls(service, calls);
	if (err)
		virgo_unserve(service, calls);
	return err;
}

/*
 * Takes @calls out of both tables; what is not there is left alone. On return no
 * new call starts. Sleeps.
 */
void virgo_unserve(enum virgo_service service, const struct virgo_calls *calls)
{
	if (service >= VIRGO_NR_SERVICES)
		return;
	if (IS_ENABLED(CONFIG_VIRGO_SYSCALLS))
		unregister_virgo_calls(service, calls);
	if (cmpxchg((const struct virgo_calls **)&virgo_served[service], calls, NULL) == calls)
		synchronize_rcu();
}

/*
 * The calls of a service, or NULL. Their module stays until virgo_served_put().
 */
const struct virgo_calls *virgo_served_get(enum virgo_service service)
{
	const struct virgo_calls *calls;

	guard(rcu)();
	calls = rcu_dereference(virgo_served[service]);
	return calls && virgo_module_pin(calls->owner) ? calls : NULL;
}

void virgo_served_put(const struct virgo_calls *calls)
{
	if (calls)
		virgo_module_unpin(calls->owner);
}
