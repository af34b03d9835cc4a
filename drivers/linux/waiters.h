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
 * @next: the one that a walk along the list has come to, or the list
 */
struct virgo_waiters {
	/* Guards the list and its elements. */
	spinlock_t lock;
	struct list_head list;
	struct list_head *next;
};

/**
 * struct virgo_waiter - a task that waits
 * @node:  its place on the list, until it is woken
 * @task:  the task
 * @wants: what it waits for, as those know who walk along the list
 * @woken: whether it was woken, and how
 */
struct virgo_waiter {
	struct list_head node;
	struct task_struct *task;
	u64 wants;
	enum virgo_woken woken;
};

void virgo_waiters_init(struct virgo_waiters *waiters);
void virgo_waiter_join(struct virgo_waiters *waiters, struct virgo_waiter *waiter, u64 wants,
		       bool first);
bool virgo_waiters_wake(struct virgo_waiters *waiters, enum virgo_woken how);
void virgo_waiters_begin(struct virgo_waiters *waiters);
bool virgo_waiters_next(struct virgo_waiters *waiters, u64 *wants);
void virgo_waiters_pass(struct virgo_waiters *waiters);
void virgo_waiters_select_next(struct virgo_waiters *waiters);
long virgo_waiter_sleep(struct virgo_waiter *waiter, long timeout);
enum virgo_woken virgo_waiter_leave(struct virgo_waiters *waiters, struct virgo_waiter *waiter);

#endif /* VIRGO_LINUX_WAITERS_H */
