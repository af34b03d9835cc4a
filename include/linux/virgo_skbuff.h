/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What lies in the queues of a socket, for modules. virgo_utils exports this.
 *
 * The caller keeps the socket from being released. Buffers are looked at only.
 *
 * Context: any but hard interrupts and NMI, also where the socket's spinlock is
 * held, such as in its callbacks: locks are tried, and if somebody has one the
 * report says VIRGO_SKBUFF_BUSY. Does not sleep. A queue is walked for
 * VIRGO_SKBUFF_WALK buffers, with softirqs or interrupts off.
 */
#ifndef _LINUX_VIRGO_SKBUFF_H
#define _LINUX_VIRGO_SKBUFF_H

#include <linux/types.h>
#include <uapi/linux/virgo_skbuff.h>

struct socket;

/**
 * virgo_skbuff_debug() - write the queues of a socket to the kernel's log
 * @sock: the socket
 *
 * As often as the rate of messages about the network allows (net_ratelimit()).
 */
void virgo_skbuff_debug(struct socket *sock);

/**
 * virgo_skbuff_fill() - report the queues of a socket
 * @sock:   the socket
 * @report: where the report goes
 * @size:   bytes there; what the structure has beyond that is left out, and
 *          bytes beyond the structure become 0
 *
 * Return: 0, -EBUSY if not all could be looked at (the rest is there), -ENOMEM.
 */
int virgo_skbuff_fill(struct socket *sock, struct virgo_skbuff_report *report, size_t size);

#endif /* _LINUX_VIRGO_SKBUFF_H */
