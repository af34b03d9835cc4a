// SPDX-License-Identifier: GPL-2.0
/*
 * Datagrams between kernels. What arrives is handed on in the softirq that has
 * received it, and what is sent goes to the network with its own UDP and IP
 * header and a route that is kept: neither waits in a socket, so that a request
 * is answered without a task.
 *
 * A datagram is never a fragment: it is sent with "don't fragment", and one that
 * is too long for the route is refused.
 */
#include <linux/ip.h>
#include <linux/jiffies.h>
#include <linux/net.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/siphash.h>
#include <linux/skbuff.h>
#include <linux/udp.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/route.h>
#include <net/sock.h>
#include <net/udp.h>
#include <net/udp_tunnel.h>

#include "datagram.h"

/* Any value says that the socket has a callback; this one means no protocol of the kernel's. */
#define VIRGO_ENCAP_TYPE	1

static int virgo_udp_receive(struct sock *sk, struct sk_buff *skb)
{
	struct virgo_udp_hook *hook = rcu_dereference_sk_user_data(sk);
	struct virgo_received received = {
		.from = ip_hdr(skb)->saddr,
		.to = ip_hdr(skb)->daddr,
		.port = ntohs(udp_hdr(skb)->source),
	};

	/* One that is too long, whoever has sent it, costs no memory. */
	if (!hook || skb->len > sizeof(struct udphdr) + hook->max ||
	    !pskb_may_pull(skb, skb->len)) {
		kfree_skb(skb);
		return 0;
	}
	__skb_pull(skb, sizeof(struct udphdr));
	/* It may be kept for longer than the route is good. */
	skb_dst_drop(skb);
	hook->receive(hook->data, skb, &received);
	return 0;
}

/* Takes the datagrams of @port. @hook and its data live until virgo_udp_close() has returned. */
int virgo_udp_open(u16 port, struct virgo_udp_hook *hook, struct socket **sock)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_ANY),
		.sin_port = htons(port),
	};
	int err;

	err = sock_create_kern(&init_net, AF_INET, SOCK_DGRAM, IPPROTO_UDP, sock);
	if (err)
		return err;
	/* Before it has a port: nothing comes that the hook does not see. */
	rcu_assign_sk_user_data((*sock)->sk, hook);
	WRITE_ONCE(udp_sk((*sock)->sk)->encap_rcv, virgo_udp_receive);
	WRITE_ONCE(udp_sk((*sock)->sk)->encap_type, VIRGO_ENCAP_TYPE);
	udp_tunnel_encap_enable((*sock)->sk);
	err = kernel_bind(*sock, (struct sockaddr_unsized *)&sin, sizeof(sin));
	if (err)
		sock_release(*sock);
	return err;
}

/* When this returns no callback runs any more, nor will. Sleeps. */
void virgo_udp_close(struct socket *sock)
{
	/* Others may have a reference to the socket, and packets for it that they hold back. */
	WRITE_ONCE(udp_sk(sock->sk)->encap_rcv, NULL);
	rcu_assign_sk_user_data(sock->sk, NULL);
	sock_release(sock);
	synchronize_rcu();
}

void virgo_route_put(struct virgo_route *route)
{
	/* Freed after a grace period. */
	dst_release(route->dst);
	route->dst = NULL;
}

/*
 * The route to @port, with a reference; looked up if there is none or it is not
 * good any more. Rules and policies may depend on ports, so only the route to
 * the port that is the same at both ends, as nodes use it, is kept.
 */
static struct dst_entry *virgo_route_get(struct virgo_route *route, u16 port)
{
	struct dst_entry *dst;
	struct flowi4 flow = {};
	struct rtable *rt;

	rcu_read_lock();
	dst = port == route->port ? READ_ONCE(route->dst) : NULL;
	if (dst && dst_check(dst, 0) && dst_hold_safe(dst)) {
		rcu_read_unlock();
		return dst;
	}
	rcu_read_unlock();
	flow.saddr = route->from;
	flow.daddr = route->to;
	flow.flowi4_proto = IPPROTO_UDP;
	flow.fl4_sport = htons(route->port);
	flow.fl4_dport = htons(port);
	rt = ip_route_output_key(&init_net, &flow);
	if (IS_ERR(rt))
		return ERR_CAST(rt);
	if (port != route->port)
		return &rt->dst;
	dst_hold(&rt->dst);
	/* Several may do this at once: each releases what it has taken out. */
	dst_release(xchg(&route->dst, &rt->dst));
	return &rt->dst;
}

/* An empty datagram of up to @max bytes, or NULL. Any context. */
struct sk_buff *virgo_skb_new(size_t max)
{
	size_t head = LL_MAX_HEADER + sizeof(struct iphdr) + sizeof(struct udphdr);
	struct sk_buff *skb = alloc_skb(head + max, GFP_ATOMIC | __GFP_NOWARN);

	if (skb)
		skb_reserve(skb, head);
	return skb;
}

/* Appends bytes; false if there is no room. */
bool virgo_skb_put(struct sk_buff *skb, const void *bytes, size_t len)
{
	if (len > skb_tailroom(skb))
		return false;
	skb_put_data(skb, bytes, len);
	return true;
}

/* Takes the bytes behind the first @len away. */
void virgo_skb_trim(struct sk_buff *skb, size_t len)
{
	skb_trim(skb, len);
}

void virgo_skb_free(struct sk_buff *skb)
{
	consume_skb(skb);
}

/* The bytes of a datagram, which are all in one place. */
void *virgo_skb_bytes(struct sk_buff *skb, size_t *len)
{
	*len = skb_headlen(skb);
	return skb->data;
}

/* Sends a datagram made here to @port, and it is gone then. Any context but hard interrupts. */
int virgo_skb_send(struct virgo_route *route, u16 port, struct sk_buff *skb)
{
	struct dst_entry *dst = virgo_route_get(route, port);
	struct udphdr *udp;
	struct iphdr *ip;
	int err;

	if (IS_ERR(dst)) {
		kfree_skb(skb);
		return PTR_ERR(dst);
	}
	skb_dst_set(skb, dst);
	if (skb->len + sizeof(*udp) + sizeof(*ip) > dst_mtu(dst)) {
		kfree_skb(skb);
		return -EMSGSIZE;
	}
	udp = skb_push(skb, sizeof(*udp));
	skb_reset_transport_header(skb);
	udp->source = htons(route->port);
	udp->dest = htons(port);
	udp->len = htons(skb->len);
	udp->check = 0;
	udp_set_csum(false, skb, route->from, route->to, skb->len);

	ip = skb_push(skb, sizeof(*ip));
	skb_reset_network_header(skb);
	memset(ip, 0, sizeof(*ip));
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->ttl = ip4_dst_hoplimit(dst);
	ip->protocol = IPPROTO_UDP;
	ip->frag_off = htons(IP_DF);
	ip->saddr = route->from;
	ip->daddr = route->to;
	skb->protocol = htons(ETH_P_IP);
	err = ip_local_out(&init_net, NULL, skb);
	return net_xmit_eval(err);
}

/* SipHash-2-4 of the bytes. Any context. */
u64 virgo_siphash(const void *bytes, size_t len, const u8 key[16])
{
	siphash_key_t words;

	words.key[0] = get_unaligned_le64(key);
	words.key[1] = get_unaligned_le64(key + 8);
	return siphash(bytes, len, &words);
}

void virgo_mailbox_init(struct virgo_mailbox *box)
{
	spin_lock_init(&box->lock);
	box->awaited = 0;
	box->skb = NULL;
	box->task = NULL;
}

/* The current task waits for the datagram with this name, not 0, until it closes the box. */
void virgo_mailbox_open(struct virgo_mailbox *box, u64 awaited)
{
	spin_lock_bh(&box->lock);
	box->awaited = awaited;
	box->task = current;
	spin_unlock_bh(&box->lock);
}

/* Nobody waits any more. Returns the datagram, if it has come. */
struct sk_buff *virgo_mailbox_close(struct virgo_mailbox *box)
{
	struct sk_buff *skb;

	spin_lock_bh(&box->lock);
	skb = box->skb;
	box->skb = NULL;
	box->awaited = 0;
	box->task = NULL;
	spin_unlock_bh(&box->lock);
	return skb;
}

/* Gives the datagram to who waits for it. False if nobody does. Softirq. */
bool virgo_mailbox_put(struct virgo_mailbox *box, u64 name, struct sk_buff *skb)
{
	bool is_wanted;

	spin_lock_bh(&box->lock);
	is_wanted = name && box->awaited == name && !box->skb;
	if (is_wanted) {
		WRITE_ONCE(box->skb, skb);
		/* The task closes the box before it goes. */
		wake_up_process(box->task);
	}
	spin_unlock_bh(&box->lock);
	return is_wanted;
}

/* Has the task that waits look whether it is to wait on. Any context but hard interrupts. */
void virgo_mailbox_poke(struct virgo_mailbox *box)
{
	spin_lock_bh(&box->lock);
	if (box->task)
		wake_up_process(box->task);
	spin_unlock_bh(&box->lock);
}

/*
 * Waits killably until the datagram is there or *@over is true, if virgo_mailbox_poke()
 * comes after that. Returns the jiffies left, 0 at the timeout, -ERESTARTSYS when killed.
 */
long virgo_mailbox_wait(struct virgo_mailbox *box, const bool *over, long timeout)
{
	for (;;) {
		if (READ_ONCE(box->skb))
			return max(timeout, 1);
		/* Has a barrier: who wakes sees the state, or this what it has written. */
		set_current_state(TASK_KILLABLE);
		if (READ_ONCE(box->skb) || READ_ONCE(*over)) {
			timeout = max(timeout, 1);
			break;
		}
		if (fatal_signal_pending(current)) {
			timeout = -ERESTARTSYS;
			break;
		}
		if (!timeout)
			break;
		timeout = schedule_timeout(timeout);
	}
	__set_current_state(TASK_RUNNING);
	return timeout;
}
