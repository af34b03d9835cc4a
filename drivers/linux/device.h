/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/virgo: a program that can open it may use VIRGO. See device.c.
 */
#ifndef VIRGO_LINUX_DEVICE_H
#define VIRGO_LINUX_DEVICE_H

int virgo_device_register(void);
void virgo_device_unregister(void);
int virgo_device_check(void);

#endif /* VIRGO_LINUX_DEVICE_H */
