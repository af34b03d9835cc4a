/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who serves which calls, for the device. See served.c.
 */
#ifndef VIRGO_ABI_SERVED_H
#define VIRGO_ABI_SERVED_H

#include <linux/virgo_calls.h>

int virgo_serve(enum virgo_service service, const struct virgo_calls *calls);
void virgo_unserve(enum virgo_service service, const struct virgo_calls *calls);
const struct virgo_calls *virgo_served_get(enum virgo_service service);
void virgo_served_put(const struct virgo_calls *calls);

#endif /* VIRGO_ABI_SERVED_H */
