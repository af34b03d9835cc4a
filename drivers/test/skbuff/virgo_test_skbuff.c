// SPDX-License-Identifier: GPL-2.0
/*
 * A module in C that looks at the queues of its own sockets, in each context in
 * which that is allowed. It can be loaded if all is as it should be.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/in.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/virgo_skbuff.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp.h>

#define PORT 7990

/* What a send takes at once, and the most that is written: no buffer is larger. */
#define PART 4096
#define MOST (64 << 20)

static struct socket *listener, *client, *server;
static struct virgo_skbuff_report *report;
static int from_timer = -EINPROGRESS;

#define EXPECT(condition)						\
({									\
	bool holds = (condition);					\
	if (!holds)							\
		pr_err("line %d: expected %s\n", __LINE__, #condition);	\
	holds;								\
})

static int send_some(size_t len)
{
	static char bytes[PART];
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct kvec part = { .iov_base = bytes, .iov_len = len };

	return kernel_sendmsg(client, &msg, &part, 1, len);
}

static int make_pair(void)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(PORT),
	};
	struct sockaddr_unsized *address = (struct sockaddr_unsized *)&at;
	int err;

	err = sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP, &listener);
	if (err)
		return err;
	sock_set_reuseaddr(listener->sk);
	err = kernel_bind(listener, address, sizeof(at));
	if (!err)
		err = kernel_listen(listener, 1);
	if (!err)
		err = sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP, &client);
	if (!err)
		err = kernel_connect(client, address, sizeof(at), 0);
	if (!err)
		err = kernel_accept(listener, &server, 0);
	return err;
}

static void release(void)
{
	if (server)
		sock_release(server);
	if (client)
		sock_release(client);
	if (listener)
		sock_release(listener);
	kfree(report);
}

static int fill(struct socket *sock)
{
	memset(report, 0xff, sizeof(*report));
	return virgo_skbuff_fill(sock, report, sizeof(*report));
}

/* While a task owns a socket, what arrives for it lies in its backlog. */
static bool backlog_is_seen(void)
{
	const struct virgo_skbuff_queue *backlog = &report->queues[VIRGO_SKBUFF_BACKLOG];
	int err, sent;

	/* A send takes the lock of the other end meanwhile, which is of the same class. */
	lock_sock_nested(server->sk, SINGLE_DEPTH_NESTING);
	sent = send_some(100);
	err = fill(server);
	release_sock(server->sk);
	return EXPECT(sent == 100) && EXPECT(err == -EBUSY) &&
	       EXPECT(report->flags & VIRGO_SKBUFF_BUSY) &&
	       EXPECT(!(report->queues[VIRGO_SKBUFF_SEND].flags & VIRGO_SKBUFF_READ)) &&
	       EXPECT(backlog->flags & VIRGO_SKBUFF_READ) && EXPECT(backlog->length == 1) &&
	       EXPECT(backlog->head.end_seq - backlog->head.seq == 100) &&
	       EXPECT(!fill(server)) && EXPECT(!backlog->length) &&
	       EXPECT(report->rcv_nxt - report->copied_seq == 100);
}

/* Who has the lock of a socket is told that it is busy, instead of waiting for itself. */
static bool lock_is_only_tried(void)
{
	int err;

	spin_lock_bh(&server->sk->sk_lock.slock);
	err = fill(server);
	spin_unlock_bh(&server->sk->sk_lock.slock);
	return EXPECT(err == -EBUSY) &&
	       EXPECT(!(report->queues[VIRGO_SKBUFF_BACKLOG].flags & VIRGO_SKBUFF_READ)) &&
	       EXPECT(report->local_port == PORT);
}

static bool interrupts_stay_off(void)
{
	unsigned long flags;
	bool were_off;
	int err;

	local_irq_save(flags);
	err = fill(server);
	were_off = irqs_disabled();
	local_irq_restore(flags);
	return EXPECT(!err) && EXPECT(were_off);
}

static bool sizes_are_kept(void)
{
	const size_t less = offsetof(struct virgo_skbuff_report, inode), more = 16;
	char *bytes = kzalloc(sizeof(*report) + more + 1, GFP_KERNEL);
	bool good;
	int err;

	if (!bytes)
		return false;
	memset(bytes, 0x55, sizeof(*report) + more + 1);
	err = virgo_skbuff_fill(server, (void *)bytes, less);
	good = EXPECT(!err) && EXPECT(*(u32 *)bytes == sizeof(*report)) &&
	       EXPECT(bytes[less] == 0x55);
	err = virgo_skbuff_fill(server, (void *)bytes, sizeof(*report) + more);
	good = good && EXPECT(!err) && EXPECT(!memchr_inv(bytes + sizeof(*report), 0, more)) &&
	       EXPECT(bytes[sizeof(*report) + more] == 0x55);
	kfree(bytes);
	return good;
}

/* Until neither end takes more. What is in the queues is what was written. */
static bool full_queues_are_what_was_written(void)
{
	const struct virgo_skbuff_queue *queues = report->queues;
	u32 unread, unsent, unacknowledged, before = report->rcv_nxt - report->copied_seq;
	u64 written = 0;
	int sent;

	while (written < MOST) {
		sent = send_some(PART);
		if (sent == -EAGAIN)
			break;
		if (!EXPECT(sent > 0))
			return false;
		written += sent;
	}
	if (!EXPECT(written > 100000) || !EXPECT(written < MOST))
		return false;
	/* What is on its way arrives. */
	msleep(300);
	if (!EXPECT(!fill(server)))
		return false;
	unread = report->rcv_nxt - report->copied_seq;
	if (!EXPECT(queues[VIRGO_SKBUFF_RECEIVE].length) ||
	    !EXPECT(queues[VIRGO_SKBUFF_RECEIVE].head.seq == report->copied_seq) ||
	    !EXPECT(queues[VIRGO_SKBUFF_RECEIVE].tail.end_seq == report->rcv_nxt))
		return false;
	if (!EXPECT(!fill(client)))
		return false;
	unacknowledged = report->write_seq - report->snd_una;
	unsent = report->write_seq - report->snd_nxt;
	return EXPECT(unread - before + unacknowledged == written) && EXPECT(unsent) &&
	       EXPECT(queues[VIRGO_SKBUFF_SEND].tail.end_seq == report->write_seq) &&
	       EXPECT(queues[VIRGO_SKBUFF_SEND].head.seq == report->snd_nxt) &&
	       EXPECT(queues[VIRGO_SKBUFF_SEND].flags & VIRGO_SKBUFF_MORE ||
		      queues[VIRGO_SKBUFF_SEND].bytes == unsent) &&
	       EXPECT(queues[VIRGO_SKBUFF_SEND].head.age_ns == -1);
}

static void look_from_timer(struct timer_list *unused)
{
	WRITE_ONCE(from_timer, fill(server));
	virgo_skbuff_debug(server);
}

static DEFINE_TIMER(timer, look_from_timer);

static bool softirqs_may_look(void)
{
	mod_timer(&timer, jiffies + 1);
	msleep(100);
	timer_delete_sync(&timer);
	return EXPECT(READ_ONCE(from_timer) == 0);
}

static int __init test_init(void)
{
	bool good;
	int err;

	report = kmalloc_obj(*report);
	err = report ? make_pair() : -ENOMEM;
	if (err) {
		pr_err("no connection: %d\n", err);
		release();
		return err;
	}
	good = EXPECT(!fill(listener)) && EXPECT(report->state == TCP_LISTEN) &&
	       backlog_is_seen() && lock_is_only_tried() && interrupts_stay_off() &&
	       sizes_are_kept() && softirqs_may_look() && full_queues_are_what_was_written();
	if (good) {
		virgo_skbuff_debug(client);
		return 0;
	}
	release();
	return -EINVAL;
}

static void __exit test_exit(void)
{
	release();
}

module_init(test_init);
module_exit(test_exit);

MODULE_AUTHOR("The VIRGO developers");
MODULE_DESCRIPTION("VIRGO: a module in C that looks at the queues of sockets");
MODULE_LICENSE("GPL");
