// SPDX-License-Identifier: GPL-2.0
/*
 * What lies in the queues of a socket. Nothing is changed: buffers are neither
 * taken out nor put in, and none is kept.
 *
 * The queues of TCP belong to whoever holds the socket's spinlock while no task
 * owns the socket: softirqs change them so. Other protocols have these or the
 * locks of the queues, so both are taken. Locks are tried only, so that this can be
 * called where they are held already, such as in a callback of the socket, and never
 * waits for somebody who waits for the caller. A task may own its socket for as
 * long as it wants (a page fault in the middle of send() takes as long as its
 * program decides): lock_sock() would wait for that unkillably. So a task that
 * reads looks again for a while, and gets what needs no lock then.
 *
 * A backlog has something only while a task owns the socket, which empties it
 * before that ends: it is read when the lock is first had, whoever owns the socket.
 *
 * Each queue is walked for a bounded number of buffers.
 */
#define pr_fmt(fmt) "virgo_skbuff: " fmt

#include <linux/delay.h>
#include <linux/inet.h>
#include <linux/jiffies.h>
#include <linux/net.h>
#include <linux/printk.h>
#include <linux/rbtree.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/tcp.h>
#include <linux/timekeeping.h>
#include <linux/udp.h>
#include <linux/user_namespace.h>
#include <linux/xarray.h>
#include <net/inet_connection_sock.h>
#include <net/inet_sock.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "skbuff.h"

/* How long a task looks again at a socket that is in use, and how often. */
#define VIRGO_BUSY_MS		100
#define VIRGO_BUSY_US		100

/* What the stamps of buffers are compared with. */
struct virgo_now {
	u64 monotonic;
	u64 real;
};

static s64 virgo_age(u64 now, u64 stamp)
{
	return stamp ? max_t(s64, now - stamp, 0) : -1;
}

static void virgo_describe(struct virgo_skbuff *to, const struct sk_buff *skb, bool is_tcp,
			   unsigned int queue, const struct virgo_now *now)
{
	const struct tcp_skb_cb *cb = TCP_SKB_CB(skb);

	*to = (struct virgo_skbuff){
		.len = skb->len,
		.data_len = skb->data_len,
		.headroom = skb_headroom(skb),
		.tailroom = skb_tailroom(skb),
		.truesize = skb->truesize,
		.flags = skb_cloned(skb) ? VIRGO_SKBUFF_CLONED : 0,
		.age_ns = -1,
	};
	if (is_tcp) {
		to->seq = cb->seq;
		to->end_seq = cb->end_seq;
		to->flags |= VIRGO_SKBUFF_SEQUENCED;
	}
	switch (queue) {
	case VIRGO_SKBUFF_SEND:
		/* Stamped when it is sent. */
		break;
	case VIRGO_SKBUFF_RETRANSMIT:
		if (cb->sacked & TCPCB_EVER_RETRANS)
			to->flags |= VIRGO_SKBUFF_RESENT;
		if (cb->sacked & TCPCB_SACKED_ACKED)
			to->flags |= VIRGO_SKBUFF_SACKED;
		if (cb->sacked & TCPCB_LOST)
			to->flags |= VIRGO_SKBUFF_LOST;
		if (!(cb->sacked & TCPCB_REPAIRED))
			to->age_ns = virgo_age(now->monotonic, skb->skb_mstamp_ns);
		break;
	default:
		if (skb->tstamp_type == SKB_CLOCK_REALTIME)
			to->age_ns = virgo_age(now->real, ktime_to_ns(skb->tstamp));
	}
}

/* Counts a buffer; false if the walk ends before it. */
static bool virgo_walk(struct virgo_skbuff_queue *queue, const struct sk_buff *skb)
{
	if (queue->walked == VIRGO_SKBUFF_WALK) {
		queue->flags |= VIRGO_SKBUFF_MORE;
		return false;
	}
	queue->walked++;
	queue->bytes += skb->len;
	queue->truesize += skb->truesize;
	return true;
}

static void virgo_ends(struct virgo_skbuff_queue *queue, const struct sk_buff *head,
		       const struct sk_buff *tail, bool is_tcp, unsigned int number,
		       const struct virgo_now *now)
{
	if (head)
		virgo_describe(&queue->head, head, is_tcp, number, now);
	if (tail)
		virgo_describe(&queue->tail, tail, is_tcp, number, now);
	queue->flags |= VIRGO_SKBUFF_READ;
}

/* Adds a list to what was read of a queue. Under the list's lock. */
static void virgo_read_list(struct virgo_skbuff_report *report, unsigned int number,
			    const struct sk_buff_head *list, const struct virgo_now *now)
{
	struct virgo_skbuff_queue *queue = &report->queues[number];
	const struct sk_buff *head = queue->length ? NULL : skb_peek(list);
	const struct sk_buff *skb;

	skb_queue_walk(list, skb) {
		if (!virgo_walk(queue, skb))
			break;
	}
	queue->length += skb_queue_len(list);
	virgo_ends(queue, head, skb_peek_tail(list), report->flags & VIRGO_SKBUFF_TCP, number, now);
}

/* Under the lock of the socket, which no task owns. Only TCP has trees. */
static void virgo_read_tree(struct virgo_skbuff_report *report, unsigned int number,
			    const struct rb_root *root, const struct virgo_now *now)
{
	struct virgo_skbuff_queue *queue = &report->queues[number];
	const struct sk_buff *skb;

	skb_rbtree_walk(skb, (struct rb_root *)root) {
		if (!virgo_walk(queue, skb))
			break;
	}
	queue->length = queue->walked;
	virgo_ends(queue, skb_rb_first(root), skb_rb_last(root), true, number, now);
}

/* Under the lock of the socket. */
static void virgo_read_backlog(struct virgo_skbuff_report *report, const struct sock *sk,
			       const struct virgo_now *now)
{
	struct virgo_skbuff_queue *queue = &report->queues[VIRGO_SKBUFF_BACKLOG];
	const struct sk_buff *head = sk->sk_backlog.head;
	const struct sk_buff *skb;

	for (skb = head; skb; skb = skb->next) {
		if (!virgo_walk(queue, skb))
			break;
	}
	queue->length = queue->walked;
	report->backlog_memory = sk->sk_backlog.len;
	virgo_ends(queue, head, head ? sk->sk_backlog.tail : NULL,
		   report->flags & VIRGO_SKBUFF_TCP, VIRGO_SKBUFF_BACKLOG, now);
}

/*
 * Of others than TCP, whose queues have locks that count, too. Some take them in
 * hard interrupts. UDP has two queues of what has arrived: what the program reads
 * next is in @first, which is NULL for all others. What somebody has locked is left out.
 */
static void virgo_read_locked(struct virgo_skbuff_report *report, unsigned int number,
			      struct sk_buff_head *first, struct sk_buff_head *second,
			      const struct virgo_now *now)
{
	struct sk_buff_head *outer = first ?: second;
	unsigned long flags;

	if (!spin_trylock_irqsave(&outer->lock, flags))
		return;
	if (!first) {
		virgo_read_list(report, number, second, now);
	} else if (spin_trylock(&second->lock)) {
		virgo_read_list(report, number, first, now);
		virgo_read_list(report, number, second, now);
		spin_unlock(&second->lock);
	}
	spin_unlock_irqrestore(&outer->lock, flags);
}

/* Under the lock of the socket, which no task owns. */
static void virgo_read_others(struct virgo_skbuff_report *report, struct sock *sk,
			      const struct virgo_now *now)
{
	if (!(report->queues[VIRGO_SKBUFF_SEND].flags & VIRGO_SKBUFF_READ))
		virgo_read_locked(report, VIRGO_SKBUFF_SEND, NULL, &sk->sk_write_queue, now);
	if (!(report->queues[VIRGO_SKBUFF_RECEIVE].flags & VIRGO_SKBUFF_READ))
		virgo_read_locked(report, VIRGO_SKBUFF_RECEIVE,
				  sk_is_udp(sk) ? &udp_sk(sk)->reader_queue : NULL,
				  &sk->sk_receive_queue, now);
}

/* Under the lock of the socket, which no task owns. */
static void virgo_read_tcp(struct virgo_skbuff_report *report, struct sock *sk,
			   const struct virgo_now *now)
{
	static const u8 limits[] = {
		[TCP_CHRONO_UNSPEC] = VIRGO_SKBUFF_IDLE,
		[TCP_CHRONO_BUSY] = VIRGO_SKBUFF_SENDING,
		[TCP_CHRONO_RWND_LIMITED] = VIRGO_SKBUFF_WINDOW,
		[TCP_CHRONO_SNDBUF_LIMITED] = VIRGO_SKBUFF_BUFFER,
	};
	const struct inet_connection_sock *icsk = inet_csk(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 jiffies32 = tcp_jiffies32;

	/* A listener has no trees. */
	if (sk->sk_state != TCP_LISTEN) {
		virgo_read_tree(report, VIRGO_SKBUFF_RETRANSMIT, &sk->tcp_rtx_queue, now);
		virgo_read_tree(report, VIRGO_SKBUFF_OUT_OF_ORDER, &tp->out_of_order_queue, now);
	}
	virgo_read_list(report, VIRGO_SKBUFF_SEND, &sk->sk_write_queue, now);
	virgo_read_list(report, VIRGO_SKBUFF_RECEIVE, &sk->sk_receive_queue, now);
	report->snd_una = tp->snd_una;
	report->snd_nxt = tp->snd_nxt;
	report->write_seq = tp->write_seq;
	report->rcv_nxt = tp->rcv_nxt;
	report->copied_seq = tp->copied_seq;
	report->snd_wnd = tp->snd_wnd;
	report->rcv_wnd = tp->rcv_wnd;
	report->snd_cwnd = tcp_snd_cwnd(tp);
	report->packets_out = tp->packets_out;
	report->retrans_out = tp->retrans_out;
	report->lost_out = tp->lost_out;
	report->total_retrans = tp->total_retrans;
	report->srtt_us = tp->srtt_us >> 3;
	report->rto_ms = jiffies_to_msecs(icsk->icsk_rto);
	report->last_sent_ms = jiffies_to_msecs(jiffies32 - tp->lsndtime);
	report->last_received_ms = jiffies_to_msecs(jiffies32 - icsk->icsk_ack.lrcvtime);
	report->last_ack_ms = jiffies_to_msecs(jiffies32 - tp->rcv_tstamp);
	if (tp->chrono_type < ARRAY_SIZE(limits))
		report->limit = limits[tp->chrono_type];
	if (tp->chrono_type)
		report->limit_ms = jiffies_to_msecs(jiffies32 - tp->chrono_start);
}

/* What may change at any time, and is not wrong for that. */
static void virgo_read_socket(struct virgo_skbuff_report *report, const struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);

	report->size = sizeof(*report);
	report->flags = sk_is_tcp(sk) ? VIRGO_SKBUFF_TCP : 0;
	report->inode = sock_i_ino(sk);
	report->uid = from_kuid_munged(&init_user_ns, sk_uid(sk));
	report->family = sk->sk_family;
	report->type = sk->sk_type;
	report->protocol = sk->sk_protocol;
	report->state = READ_ONCE(sk->sk_state);
	report->error = READ_ONCE(sk->sk_err);
	report->drops = sk_drops_read(sk);
	report->receive_memory = sk_rmem_alloc_get(sk);
	report->receive_limit = READ_ONCE(sk->sk_rcvbuf);
	report->send_memory = sk_wmem_alloc_get(sk);
	report->send_queued = READ_ONCE(sk->sk_wmem_queued);
	report->send_limit = READ_ONCE(sk->sk_sndbuf);
	report->backlog_memory = READ_ONCE(sk->sk_backlog.len);
	report->accept_length = READ_ONCE(sk->sk_ack_backlog);
	report->accept_limit = READ_ONCE(sk->sk_max_ack_backlog);
	if (!sk_is_inet(sk))
		return;
	report->local_port = sk->sk_num;
	report->remote_port = ntohs(sk->sk_dport);
	if (sk->sk_family == AF_INET) {
		__be32 local = sk->sk_rcv_saddr ?: inet->inet_saddr;

		memcpy(report->local, &local, sizeof(local));
		memcpy(report->remote, &sk->sk_daddr, sizeof(sk->sk_daddr));
		return;
	}
#if IS_ENABLED(CONFIG_IPV6)
	memcpy(report->local, &sk->sk_v6_rcv_saddr, sizeof(report->local));
	memcpy(report->remote, &sk->sk_v6_daddr, sizeof(report->remote));
#endif
}

/* Whether all queues were read; what was read before stays. */
static bool virgo_read_queues(struct virgo_skbuff_report *report, struct sock *sk)
{
	struct virgo_now now = {
		.monotonic = ktime_get_ns(),
		.real = ktime_get_real_ns(),
	};
	const struct virgo_skbuff_queue *queues = report->queues;
	/* Softirqs cannot be switched on where interrupts are off, nor do they run there. */
	bool may_softirq = !irqs_disabled();

	if (!(may_softirq ? spin_trylock_bh(&sk->sk_lock.slock) : spin_trylock(&sk->sk_lock.slock)))
		return false;
	if (!(queues[VIRGO_SKBUFF_BACKLOG].flags & VIRGO_SKBUFF_READ))
		virgo_read_backlog(report, sk, &now);
	if (!sock_owned_by_user_nocheck(sk)) {
		if (report->flags & VIRGO_SKBUFF_TCP)
			virgo_read_tcp(report, sk, &now);
		else
			virgo_read_others(report, sk, &now);
	}
	if (may_softirq)
		spin_unlock_bh(&sk->sk_lock.slock);
	else
		spin_unlock(&sk->sk_lock.slock);
	return queues[VIRGO_SKBUFF_SEND].flags & queues[VIRGO_SKBUFF_RECEIVE].flags &
	       VIRGO_SKBUFF_READ;
}

static bool virgo_sk_read(struct sock *sk, struct virgo_skbuff_report *report)
{
	memset(report, 0, sizeof(*report));
	virgo_read_socket(report, sk);
	if (virgo_read_queues(report, sk))
		return true;
	report->flags |= VIRGO_SKBUFF_BUSY;
	return false;
}

/* As virgo_sk_read(), but looks again for a while. -EINTR when killed. Sleeps. */
static int virgo_sk_read_wait(struct sock *sk, struct virgo_skbuff_report *report)
{
	unsigned long end = jiffies + msecs_to_jiffies(VIRGO_BUSY_MS);

	if (virgo_sk_read(sk, report))
		return 0;
	while (!virgo_read_queues(report, sk)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (time_after(jiffies, end))
			return 0;
		usleep_range(VIRGO_BUSY_US, 2 * VIRGO_BUSY_US);
	}
	report->flags &= ~VIRGO_SKBUFF_BUSY;
	return 0;
}

/*
 * Reads the queues of a socket that the caller keeps from being released. Returns
 * whether it could; if not, the report says that the socket is busy, and has what
 * needs no lock. Any context but hard interrupts and NMI; does not sleep.
 */
bool virgo_skbuff_read(struct socket *sock, struct virgo_skbuff_report *report)
{
	return virgo_sk_read(sock->sk, report);
}

/* As virgo_skbuff_read(), but looks again while the socket is busy. -EINTR when killed. Sleeps. */
int virgo_skbuff_read_wait(struct socket *sock, struct virgo_skbuff_report *report)
{
	return virgo_sk_read_wait(sock->sk, report);
}

static void virgo_log_buffer(const char *which, const struct virgo_skbuff *skb)
{
	pr_info("    %s: seq %u to %u, %u bytes (%u in pages), headroom %u, tailroom %u, age %lld us\n",
		which, skb->seq, skb->end_seq, skb->len, skb->data_len, skb->headroom,
		skb->tailroom, skb->age_ns < 0 ? -1 : skb->age_ns / NSEC_PER_USEC);
}

static void virgo_log_queue(const char *name, const struct virgo_skbuff_queue *queue)
{
	if (!(queue->flags & VIRGO_SKBUFF_READ)) {
		pr_info("  %s: not read\n", name);
		return;
	}
	if (!queue->length)
		return;
	pr_info("  %s: %u buffers; the first %u have %llu bytes and take %llu\n", name,
		queue->length, queue->walked, queue->bytes, queue->truesize);
	virgo_log_buffer("head", &queue->head);
	if (queue->walked > 1)
		virgo_log_buffer("tail", &queue->tail);
}

/*
 * Writes what virgo_skbuff_read() says to the kernel's log, if the rate of messages
 * about the network allows it. Context as there.
 */
void virgo_skbuff_log(struct socket *sock)
{
	static const char * const names[VIRGO_SKBUFF_QUEUES] = {
		[VIRGO_SKBUFF_SEND] = "send",
		[VIRGO_SKBUFF_RETRANSMIT] = "retransmit",
		[VIRGO_SKBUFF_RECEIVE] = "receive",
		[VIRGO_SKBUFF_OUT_OF_ORDER] = "out of order",
		[VIRGO_SKBUFF_BACKLOG] = "backlog",
	};
	/* An address of IPv6 in brackets. */
	char local[INET6_ADDRSTRLEN + 2], remote[INET6_ADDRSTRLEN + 2];
	struct virgo_skbuff_report *report;
	int i;

	if (!net_ratelimit())
		return;
	report = kmalloc_obj(*report, GFP_ATOMIC | __GFP_NOWARN);
	if (!report)
		return;
	virgo_skbuff_read(sock, report);
	if (report->family == AF_INET) {
		scnprintf(local, sizeof(local), "%pI4", report->local);
		scnprintf(remote, sizeof(remote), "%pI4", report->remote);
	} else {
		scnprintf(local, sizeof(local), "[%pI6c]", report->local);
		scnprintf(remote, sizeof(remote), "[%pI6c]", report->remote);
	}
	pr_info("socket %llu: %s:%u to %s:%u, protocol %u, state %u%s\n", report->inode, local,
		report->local_port, remote, report->remote_port, report->protocol, report->state,
		report->flags & VIRGO_SKBUFF_BUSY ? ", busy" : "");
	pr_info("  receives %u of %u, sends %u of %u, drops %u\n", report->receive_memory,
		report->receive_limit, report->send_queued, report->send_limit, report->drops);
	if (report->flags & VIRGO_SKBUFF_TCP && !(report->flags & VIRGO_SKBUFF_BUSY))
		pr_info("  unacknowledged %u, not sent %u, not read %u\n",
			report->write_seq - report->snd_una, report->write_seq - report->snd_nxt,
			report->rcv_nxt - report->copied_seq);
	for (i = 0; i < VIRGO_SKBUFF_QUEUES; i++) {
		if (report->flags & VIRGO_SKBUFF_TCP ||
		    (i != VIRGO_SKBUFF_RETRANSMIT && i != VIRGO_SKBUFF_OUT_OF_ORDER))
			virgo_log_queue(names[i], &report->queues[i]);
	}
	kfree(report);
}

/* The sockets that this crate has made, by number: from before others use one until its release. */
static DEFINE_XARRAY_ALLOC1(virgo_own_socks);
static u32 virgo_own_next;

int virgo_own_sock_add(struct socket *sock, u32 *number)
{
	int err = xa_alloc_cyclic(&virgo_own_socks, number, sock->sk, XA_LIMIT(1, INT_MAX),
				  &virgo_own_next, GFP_KERNEL);

	return min(err, 0);
}

void virgo_own_sock_remove(u32 number)
{
	xa_erase(&virgo_own_socks, number);
}

/*
 * Reads the queues of the socket with the least number above @after. -ENOENT if
 * there is none, -EINTR when killed. Sleeps. A reference to the socket is held
 * meanwhile, so that nobody who releases it waits for this: what is kept by that is
 * the kernel's own, and nothing of the module that has made the socket.
 */
int virgo_own_sock_read(u64 after, struct virgo_skbuff_report *report)
{
	unsigned long number = after + 1;
	struct sock *sk;
	int err;

	if (after >= INT_MAX)
		return -ENOENT;
	xa_lock(&virgo_own_socks);
	sk = xa_find(&virgo_own_socks, &number, INT_MAX, XA_PRESENT);
	if (sk)
		sock_hold(sk);
	xa_unlock(&virgo_own_socks);
	if (!sk)
		return -ENOENT;
	err = virgo_sk_read_wait(sk, report);
	report->number = number;
	report->flags |= VIRGO_SKBUFF_OWN;
	sock_put(sk);
	return err;
}
