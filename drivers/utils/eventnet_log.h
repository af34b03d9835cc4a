/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VIRGO_EVENTNET_LOG_H
#define VIRGO_EVENTNET_LOG_H

#include <linux/types.h>

/* eventnet/log.rs */
void virgo_eventnet_log_bytes(const char *text, size_t len);

#endif /* VIRGO_EVENTNET_LOG_H */
