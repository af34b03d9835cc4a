// SPDX-License-Identifier: GPL-2.0
/*
 * The queues of sockets, for modules: drivers/linux/skbuff.c reads them.
 */
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virgo_skbuff.h>

#include "skbuff.h"

void virgo_skbuff_debug(struct socket *sock)
{
	virgo_skbuff_log(sock);
}
EXPORT_SYMBOL_GPL(virgo_skbuff_debug);

int virgo_skbuff_fill(struct socket *sock, struct virgo_skbuff_report *report, size_t size)
{
	struct virgo_skbuff_report *whole = report;
	bool is_read;

	if (size < sizeof(*report)) {
		whole = kmalloc_obj(*whole, GFP_ATOMIC | __GFP_NOWARN);
		if (!whole)
			return -ENOMEM;
	}
	is_read = virgo_skbuff_read(sock, whole);
	if (whole == report) {
		memset((u8 *)report + sizeof(*report), 0, size - sizeof(*report));
	} else {
		memcpy(report, whole, size);
		kfree(whole);
	}
	return is_read ? 0 : -EBUSY;
}
EXPORT_SYMBOL_GPL(virgo_skbuff_fill);
