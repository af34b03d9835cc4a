/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Datagrams between kernels: UDP without the queues of sockets. See datagram.c.
 */
#ifndef VIRGO_LINUX_DATAGRAM_H
#define VIRGO_LINUX_DATAGRAM_H

#include <linux/spinlock_types.h>
#include <linux/types.h>

struct dst_entry;
struct sk_buff;
struct socket;
struct task_struct;

/**
 * struct virgo_received - where a datagram has come from, and to which address
 * @from: the sender's address
 * @to:   one of this machine's
 * @port: the sender's port
 */
struct virgo_received {
	__be32 from;
	__be32 to;
	u16 port;
};

/**
 * struct virgo_udp_hook - who gets the datagrams of a port
 * @receive: is called in softirq, under RCU; the datagram is the callee's
 * @data:    passed on
 * @max:     longer ones are dropped
 */
struct virgo_udp_hook {
	void (*receive)(void *data, struct sk_buff *skb, const struct virgo_received *received);
	void *data;
	size_t max;
};

int virgo_udp_open(u16 port, struct virgo_udp_hook *hook, struct socket **sock);
void virgo_udp_close(struct socket *sock);

/**
 * struct virgo_route - the way to another machine
 * @from: the address here
 * @to:   the address there
 * @port: the port here
 * @dst:  the route to the same port there that was found last, or NULL; read under RCU
 */
struct virgo_route {
	__be32 from;
	__be32 to;
	u16 port;
	struct dst_entry *dst;
};

void virgo_route_put(struct virgo_route *route);

struct sk_buff *virgo_skb_new(size_t max);
bool virgo_skb_put(struct sk_buff *skb, const void *bytes, size_t len);
void virgo_skb_trim(struct sk_buff *skb, size_t len);
void virgo_skb_free(struct sk_buff *skb);
void *virgo_skb_bytes(struct sk_buff *skb, size_t *len);
int virgo_skb_send(struct virgo_route *route, u16 port, struct sk_buff *skb);

u64 virgo_siphash(const void *bytes, size_t len, const u8 key[16]);

/**
 * struct virgo_mailbox - where a task waits for one datagram
 * @lock:    guards the others; taken in softirq
 * @awaited: names the datagram; 0 if nobody waits
 * @skb:     the datagram, once it is there
 * @task:    who waits
 */
struct virgo_mailbox {
	/* Guards the others. */
	spinlock_t lock;
	u64 awaited;
	struct sk_buff *skb;
	struct task_struct *task;
};

void virgo_mailbox_init(struct virgo_mailbox *box);
void virgo_mailbox_open(struct virgo_mailbox *box, u64 awaited);
struct sk_buff *virgo_mailbox_close(struct virgo_mailbox *box);
bool virgo_mailbox_put(struct virgo_mailbox *box, u64 name, struct sk_buff *skb);
long virgo_mailbox_wait(struct virgo_mailbox *box, const bool *over, long timeout);
void virgo_mailbox_poke(struct virgo_mailbox *box);

#endif /* VIRGO_LINUX_DATAGRAM_H */
