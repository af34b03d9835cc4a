/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lists of tasks that wait, each woken by itself. See waiters.c.
 */
#ifndef VIRGO_LINUX_WAITERS_H
#define VIRGO_LINUX_WAITERS_H

#include <linux/list.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

struct task_struct;

/** enum virgo_woken - how a waiter was woken */
enum virgo_woken {
	/* Not yet. */
	VIRGO_WAITS,
	/* It was its turn. */
	VIRGO_SELECTED,
	/* There is nothing to wait for any more. */
	VIRGO_EXPELLED,
};

/**
 * struct virgo_waiters - tasks that wait
 * @lock: guards the list and its elements
 * @list: those that were not woken yet
 */
struct virgo_waiters {
	/* Guards the list and its elements. */
	spinlock_t lock;
	struct list_head list;
};

/**
 * struct virgo_waiter - a task that waits
 * @node:  its place on the list, until it is woken
 * @task:  the task
 * @woken: whether it was woken, and how
 */
struct virgo_waiter {
	struct list_head node;
	struct task_struct *task;
	enum virgo_woken woken;
};

void virgo_waiters_init(struct virgo_waiters *waiters);
void virgo_waiter_join(struct virgo_waiters *waiters, struct virgo_waiter *waiter);
bool virgo_waiters_wake(struct virgo_waiters *waiters, enum virgo_woken how);
long virgo_waiter_sleep(struct virgo_waiter *waiter, long timeout);
enum virgo_woken virgo_waiter_leave(struct virgo_waiters *waiters, struct virgo_waiter *waiter);

#endif /* VIRGO_LINUX_WAITERS_H */
