/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What lies in the queues of sockets. See skbuff.c.
 */
#ifndef VIRGO_LINUX_SKBUFF_H
#define VIRGO_LINUX_SKBUFF_H

#include <linux/types.h>
#include <uapi/linux/virgo_skbuff.h>

struct sock;
struct socket;

bool virgo_skbuff_read(struct socket *sock, struct virgo_skbuff_report *report);
int virgo_skbuff_read_wait(struct socket *sock, struct virgo_skbuff_report *report);
void virgo_skbuff_log(struct socket *sock);

int virgo_own_sock_add(struct socket *sock, u32 *number);
void virgo_own_sock_remove(u32 number);
int virgo_own_sock_read(u64 after, struct virgo_skbuff_report *report);

#endif /* VIRGO_LINUX_SKBUFF_H */
