/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/virgo: the calls by ioctl, and the right to some of them. See device.c.
 */
#ifndef VIRGO_ABI_DEVICE_H
#define VIRGO_ABI_DEVICE_H

#include <linux/compiler_types.h>
#include <linux/types.h>

int virgo_device_register(void);
void virgo_device_unregister(void);
int virgo_device_check(void);
long virgo_skbuff_ioctl(void __user *from, size_t size);

#endif /* VIRGO_ABI_DEVICE_H */
