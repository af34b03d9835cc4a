// SPDX-License-Identifier: GPL-2.0
/*
 * Lists of tasks that wait, each of which is woken by itself, in the order in
 * which they have come. A task that is woken is off the list, so that none is
 * woken in vain and none is passed over.
 *
 * A waiter lies on the stack of its task. It is touched under the list's lock
 * only, which the task takes once more before its frame goes.
 */
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>

#include "waiters.h"

void virgo_waiters_init(struct virgo_waiters *waiters)
{
	spin_lock_init(&waiters->lock);
	INIT_LIST_HEAD(&waiters->list);
}

/* Puts the current task at the end of the list. */
void virgo_waiter_join(struct virgo_waiters *waiters, struct virgo_waiter *waiter)
{
	waiter->task = current;
	waiter->woken = VIRGO_WAITS;
	spin_lock(&waiters->lock);
	list_add_tail(&waiter->node, &waiters->list);
	spin_unlock(&waiters->lock);
}

/* Wakes the task that has waited for longest; false if there is none. */
bool virgo_waiters_wake(struct virgo_waiters *waiters, enum virgo_woken how)
{
	struct virgo_waiter *waiter;

	spin_lock(&waiters->lock);
	waiter = list_first_entry_or_null(&waiters->list, struct virgo_waiter, node);
	if (waiter) {
		list_del(&waiter->node);
		WRITE_ONCE(waiter->woken, how);
		wake_up_process(waiter->task);
	}
	spin_unlock(&waiters->lock);
	return waiter;
}

/*
 * Sleeps killably until the current task is woken by virgo_waiters_wake(), for
 * at most @timeout jiffies. Returns 0 at the timeout, -ERESTARTSYS when killed.
 */
long virgo_waiter_sleep(struct virgo_waiter *waiter, long timeout)
{
	for (;;) {
		/* Has a barrier: virgo_waiters_wake() sees the state, or this what it writes. */
		set_current_state(TASK_KILLABLE);
		if (READ_ONCE(waiter->woken) != VIRGO_WAITS) {
			timeout = max(timeout, 1);
			break;
		}
		if (fatal_signal_pending(current)) {
			timeout = -ERESTARTSYS;
			break;
		}
		if (!timeout)
			break;
		timeout = schedule_timeout(timeout);
	}
	__set_current_state(TASK_RUNNING);
	return timeout;
}

/* Takes the current task off the list, if it was not woken. Returns how it was. */
enum virgo_woken virgo_waiter_leave(struct virgo_waiters *waiters, struct virgo_waiter *waiter)
{
	spin_lock(&waiters->lock);
	if (waiter->woken == VIRGO_WAITS)
		list_del(&waiter->node);
	spin_unlock(&waiters->lock);
	return waiter->woken;
}
