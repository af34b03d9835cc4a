// SPDX-License-Identifier: GPL-2.0
/*
 * A module in C that uses the bakery lock of virgo_cloudsync, with 16 threads.
 * It can be loaded if all is as it should be. With measure=1 it says instead how
 * long it takes to take and release the lock that nobody else wants.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/task.h>
#include <linux/virgo_bakery.h>

/* As many as the lock has participants if nobody says otherwise. */
#define THREADS 16

/* Every so many entries who is inside sleeps, so that the others come and wait. */
#define SLEEP_EVERY 64

#define ROUNDS 100000

static unsigned int entries = 100000;
module_param(entries, uint, 0444);
MODULE_PARM_DESC(entries, "Entries of all threads together");

static bool measure;
module_param(measure, bool, 0444);
MODULE_PARM_DESC(measure, "Take the time instead");

/* Guarded by the lock and by nothing else. */
static unsigned int counter, inside;

struct visitor {
	struct task_struct *task;
	struct completion done;
	unsigned int id;
	/* Its entries. */
	unsigned int share;
	/* The most entries of others between its call and its own. */
	unsigned int longest;
	int err;
};

static struct visitor visitors[THREADS];
static DECLARE_COMPLETION(begin);

#define EXPECT(condition)						\
({									\
	bool holds = (condition);					\
	if (!holds)							\
		pr_err("line %d: expected %s\n", __LINE__, #condition);	\
	holds;								\
})

/* Enters until all together have done so often enough. */
static int visit_often(void *data)
{
	struct visitor *visitor = data;
	bool goes_on = true;

	wait_for_completion(&begin);
	while (goes_on) {
		unsigned int before = READ_ONCE(counter), seen;

		/* Half of the threads wait by one loop, half by two. */
		visitor->err = bakery_lock(visitor->id, visitor->id % 2);
		if (visitor->err)
			break;
		if (inside++)
			visitor->err = -EINVAL;
		seen = counter;
		goes_on = seen < entries && !visitor->err;
		if (goes_on) {
			visitor->longest = max(visitor->longest, seen - before);
			if (seen % SLEEP_EVERY == 0)
				usleep_range(20, 100);
			WRITE_ONCE(counter, seen + 1);
			visitor->share++;
		}
		inside--;
		if (bakery_unlock(visitor->id))
			visitor->err = -EPERM;
	}
	complete(&visitor->done);
	return 0;
}

/* Enters once, and notes as which one. */
static int visit_once(void *data)
{
	struct visitor *visitor = data;

	visitor->err = bakery_lock(visitor->id, visitor->id % 2);
	if (!visitor->err) {
		visitor->share = ++counter;
		visitor->err = bakery_unlock(visitor->id);
	}
	complete(&visitor->done);
	return 0;
}

static bool start(struct visitor *visitor, int (*visit)(void *))
{
	unsigned int id = visitor - visitors;

	*visitor = (struct visitor) { .id = id, .err = -EINPROGRESS };
	init_completion(&visitor->done);
	visitor->task = kthread_create(visit, visitor, "virgo_bakery/%u", id);
	if (IS_ERR(visitor->task)) {
		visitor->task = NULL;
		return EXPECT(false);
	}
	get_task_struct(visitor->task);
	wake_up_process(visitor->task);
	return true;
}

/* Waits until it has ended, in parts for which no wait is too long. */
static bool finish(struct visitor *visitor)
{
	if (!visitor->task)
		return true;
	while (!wait_for_completion_timeout(&visitor->done, 10 * HZ))
		;
	kthread_stop_put(visitor->task);
	visitor->task = NULL;
	return EXPECT(!visitor->err);
}

static bool misuse_is_refused(void)
{
	return EXPECT(bakery_lock(-1, 0) == -EINVAL) && EXPECT(bakery_lock(64, 0) == -EINVAL) &&
	       EXPECT(bakery_lock_timeout(INT_MAX, 0, 1) == -EINVAL) &&
	       EXPECT(bakery_unlock(INT_MIN) == -EINVAL) && EXPECT(bakery_unlock(64) == -EINVAL) &&
	       EXPECT(bakery_unlock(0) == -EPERM) && EXPECT(!bakery_lock(0, 1)) &&
	       EXPECT(bakery_lock(0, 0) == -EDEADLK) &&
	       EXPECT(bakery_lock_timeout(0, 1, 10) == -EDEADLK) &&
	       EXPECT(bakery_lock_timeout(1, 0, 0) == -ETIMEDOUT) &&
	       EXPECT(bakery_lock_timeout(2, 1, 30) == -ETIMEDOUT) &&
	       EXPECT(bakery_unlock(1) == -EPERM) && EXPECT(!bakery_unlock(0)) &&
	       EXPECT(bakery_unlock(0) == -EPERM) && EXPECT(!bakery_lock_timeout(2, 0, 0)) &&
	       EXPECT(!bakery_unlock(2));
}

/* Those who have come while another had the lock get it in that order, which is none of numbers. */
static bool first_come_is_first_served(void)
{
	const unsigned int step = 5;
	unsigned int i, id = 0;
	bool good;

	counter = 0;
	good = EXPECT(!bakery_lock(0, 0));
	for (i = 1; good && i < THREADS; i++) {
		id = (id + step) % THREADS;
		good = start(&visitors[id], visit_once);
		msleep(50);
		/* It waits, and as it nobody else can come. */
		good = good && EXPECT(bakery_lock_timeout(id, 0, 1000) == -EBUSY);
	}
	good = EXPECT(counter == 0) && good;
	good = EXPECT(!bakery_unlock(0)) && good;
	for (i = 1, id = 0; i < THREADS; i++) {
		id = (id + step) % THREADS;
		good = finish(&visitors[id]) && good;
		good = good && EXPECT(visitors[id].share == i);
	}
	return good;
}

static bool one_at_a_time_enters(void)
{
	unsigned int i, sum = 0, least = UINT_MAX, longest = 0;
	bool good = true;

	counter = 0;
	for (i = 0; good && i < THREADS; i++)
		good = start(&visitors[i], visit_often);
	complete_all(&begin);
	for (i = 0; i < THREADS; i++) {
		good = finish(&visitors[i]) && good;
		sum += visitors[i].share;
		least = min(least, visitors[i].share);
		longest = max(longest, visitors[i].longest);
	}
	pr_info("%u entries, at least %u of each thread, at most %u between call and entry\n",
		counter, least, longest);
	/* The others begin a little later than the first one. */
	return good && EXPECT(counter == entries) && EXPECT(sum == entries) &&
	       EXPECT(least >= entries / THREADS / 2);
}

static void take_times(void)
{
	static DEFINE_MUTEX(mutex);
	u64 start, bakery, other;
	int i;

	start = ktime_get_ns();
	for (i = 0; i < ROUNDS; i++) {
		if (bakery_lock(0, 1) || bakery_unlock(0))
			return;
	}
	bakery = ktime_get_ns() - start;
	start = ktime_get_ns();
	for (i = 0; i < ROUNDS; i++) {
		mutex_lock(&mutex);
		mutex_unlock(&mutex);
	}
	other = ktime_get_ns() - start;
	pr_info("bakery %llu mutex %llu\n", div_u64(bakery, ROUNDS), div_u64(other, ROUNDS));
}

static int __init test_init(void)
{
	if (measure) {
		take_times();
		return 0;
	}
	if (misuse_is_refused() && first_come_is_first_served() && one_at_a_time_enters())
		return 0;
	return -EINVAL;
}

static void __exit test_exit(void)
{
}

module_init(test_init);
module_exit(test_exit);

MODULE_AUTHOR("The VIRGO developers");
MODULE_DESCRIPTION("VIRGO: a module in C that uses the bakery lock");
MODULE_LICENSE("GPL");
