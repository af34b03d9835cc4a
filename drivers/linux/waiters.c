// SPDX-License-Identifier: GPL-2.0
/*
 * Lists of tasks that wait, each of which is woken by itself, in the order in
 * which they have come. A task that is woken is off the list, so that none is
 * woken in vain and none is passed over.
 *
 * A waiter lies on the stack of its task. It is touched under the list's lock
 * only, which the task takes once more before its frame goes. The lock is taken
 * with interrupts off: some are woken in interrupts.
 *
 * Who does not wake the first one walks along the list, in several steps if it
 * is long. A waiter that leaves meanwhile is passed over.
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
	waiters->next = &waiters->list;
}

/* Puts the current task at the end of the list, or before all others. */
void virgo_waiter_join(struct virgo_waiters *waiters, struct virgo_waiter *waiter, u64 wants,
		       bool first)
{
	unsigned long flags;

	waiter->task = current;
	waiter->wants = wants;
	waiter->woken = VIRGO_WAITS;
	spin_lock_irqsave(&waiters->lock, flags);
	if (first)
		list_add(&waiter->node, &waiters->list);
	else
		list_add_tail(&waiter->node, &waiters->list);
	spin_unlock_irqrestore(&waiters->lock, flags);
}

/* Takes a waiter off the list. A walk that has come to it goes on behind it. */
static void virgo_waiter_remove(struct virgo_waiters *waiters, struct virgo_waiter *waiter)
{
	lockdep_assert_held(&waiters->lock);
	if (waiters->next == &waiter->node)
		waiters->next = waiter->node.next;
	list_del(&waiter->node);
}

static void virgo_waiter_wake(struct virgo_waiters *waiters, struct virgo_waiter *waiter,
			      enum virgo_woken how)
{
	virgo_waiter_remove(waiters, waiter);
	WRITE_ONCE(waiter->woken, how);
	wake_up_process(waiter->task);
}

/* Wakes the task that has waited for longest; false if there is none. */
bool virgo_waiters_wake(struct virgo_waiters *waiters, enum virgo_woken how)
{
	struct virgo_waiter *waiter;
	unsigned long flags;

	spin_lock_irqsave(&waiters->lock, flags);
	waiter = list_first_entry_or_null(&waiters->list, struct virgo_waiter, node);
	if (waiter)
		virgo_waiter_wake(waiters, waiter, how);
	spin_unlock_irqrestore(&waiters->lock, flags);
	return waiter;
}

/* Begins a walk with the task that has waited for longest. */
void virgo_waiters_begin(struct virgo_waiters *waiters)
{
	unsigned long flags;

	spin_lock_irqsave(&waiters->lock, flags);
	waiters->next = waiters->list.next;
	spin_unlock_irqrestore(&waiters->lock, flags);
}

/* What the task wants that the walk has come to; false at the end. */
bool virgo_waiters_next(struct virgo_waiters *waiters, u64 *wants)
{
	unsigned long flags;
	bool found;

	spin_lock_irqsave(&waiters->lock, flags);
	found = waiters->next != &waiters->list;
	if (found)
		*wants = list_entry(waiters->next, struct virgo_waiter, node)->wants;
	spin_unlock_irqrestore(&waiters->lock, flags);
	return found;
}

/* Goes on behind it. */
void virgo_waiters_pass(struct virgo_waiters *waiters)
{
	unsigned long flags;

	spin_lock_irqsave(&waiters->lock, flags);
	if (waiters->next != &waiters->list)
		waiters->next = waiters->next->next;
	spin_unlock_irqrestore(&waiters->lock, flags);
}

/* Wakes it, and goes on behind it. */
void virgo_waiters_select_next(struct virgo_waiters *waiters)
{
	unsigned long flags;

	spin_lock_irqsave(&waiters->lock, flags);
	if (waiters->next != &waiters->list)
		virgo_waiter_wake(waiters, list_entry(waiters->next, struct virgo_waiter, node),
				  VIRGO_SELECTED);
	spin_unlock_irqrestore(&waiters->lock, flags);
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
	unsigned long flags;

	spin_lock_irqsave(&waiters->lock, flags);
	if (waiter->woken == VIRGO_WAITS)
		virgo_waiter_remove(waiters, waiter);
	spin_unlock_irqrestore(&waiters->lock, flags);
	return waiter->woken;
}
