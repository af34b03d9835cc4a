// SPDX-License-Identifier: GPL-2.0
/*
 * virgo_eventnet_log() for modules in C; eventnet/log.rs does it.
 */
#include <linux/export.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/virgo_eventnet.h>

#include "eventnet_log.h"

/* The longest text that is kept, as in proto/eventnet/event.rs. */
#define VIRGO_EVENTNET_MAX_TEXT 256

void virgo_eventnet_log(const char *msg)
{
	virgo_eventnet_log_bytes(msg, strnlen(msg, VIRGO_EVENTNET_MAX_TEXT));
}
EXPORT_SYMBOL_GPL(virgo_eventnet_log);
