// SPDX-License-Identifier: GPL-2.0
/*
 * A module in C that says something to EventNet: once as it is loaded, and from a
 * timer's interrupt.
 */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/timer.h>
#include <linux/virgo_eventnet.h>

static void from_interrupt(struct timer_list *unused)
{
	virgo_eventnet_log("said in an interrupt");
	virgo_eventnet_log("eventnet_edgemsg#7001#7002#");
}

static DEFINE_TIMER(timer, from_interrupt);

static int __init test_init(void)
{
	virgo_eventnet_log("said by a module in C");
	virgo_eventnet_log("eventnet_vertextmsg#7001#1,2#(1,2)");
	mod_timer(&timer, jiffies + 1);
	return 0;
}

static void __exit test_exit(void)
{
	timer_delete_sync(&timer);
}

module_init(test_init);
module_exit(test_exit);

MODULE_AUTHOR("The VIRGO developers");
MODULE_DESCRIPTION("VIRGO: a module in C that says something to EventNet");
MODULE_LICENSE("GPL");
