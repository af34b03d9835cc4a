// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel, made callable from Rust.
 */
#include <crypto/utils.h>
#include <linux/crc32.h>
#include <linux/cred.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/in.h>
#include <linux/inetdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/pagemap.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched/loadavg.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/signal.h>
#include <linux/tcp.h>
#include <linux/tick.h>
#include <linux/uaccess.h>
#include <linux/umh.h>
#include <linux/user_namespace.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <net/route.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "helpers.h"

/* A dead peer is noticed after about 90 s of silence, or sooner by a deadline. */
#define VIRGO_KEEPIDLE_S	60
#define VIRGO_KEEPINTVL_S	10
#define VIRGO_KEEPCNT		3
#define VIRGO_USER_TIMEOUT_MS	30000

/* Tasks that are woken with interrupts off at a time. */
#define VIRGO_WAKE_AT_ONCE	32

/* Mostly nobody waits. The barrier of wq_has_sleeper() comes after what the caller has changed. */
void virgo_wake_all(struct wait_queue_head *queue)
{
	if (wq_has_sleeper(queue))
		wake_up_all(queue);
}

/* One of those that wait exclusively. */
void virgo_wake_one(struct wait_queue_head *queue)
{
	if (wq_has_sleeper(queue))
		wake_up(queue);
}

static int virgo_no_wake(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	return 0;
}

/*
 * All, some at a time with interrupts off. A mark of its own goes along the
 * queue. Who begins to wait meanwhile has looked after the caller's change.
 */
void virgo_wake_in_steps(struct wait_queue_head *queue)
{
	struct wait_queue_entry mark = { .func = virgo_no_wake };
	int count = 0;

	might_sleep();
	if (!wq_has_sleeper(queue))
		return;
	spin_lock_irq(&queue->lock);
	list_add(&mark.entry, &queue->head);
	while (!list_is_last(&mark.entry, &queue->head)) {
		struct wait_queue_entry *entry = list_next_entry(&mark, entry);

		/* Before it may leave the queue. */
		list_move(&mark.entry, &entry->entry);
		entry->func(entry, TASK_NORMAL, 0, NULL);
		if (++count % VIRGO_WAKE_AT_ONCE)
			continue;
		spin_unlock_irq(&queue->lock);
		cond_resched();
		spin_lock_irq(&queue->lock);
	}
	list_del(&mark.entry);
	spin_unlock_irq(&queue->lock);
}

/* Wakes all, unless they are more than most; returns whether it has. Time is bounded by most. */
bool virgo_wake_few(struct wait_queue_head *queue, int most)
{
	struct wait_queue_entry *entry;
	unsigned long flags;
	int count = 0;

	if (!wq_has_sleeper(queue))
		return true;
	spin_lock_irqsave(&queue->lock, flags);
	list_for_each_entry(entry, &queue->head, entry) {
		if (++count > most)
			break;
	}
	if (count <= most)
		wake_up_all_locked(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
	return count <= most;
}

/* Sleeps killably. Returns the jiffies left, -ERESTARTSYS when killed. */
long virgo_sleep(long timeout)
{
	timeout = schedule_timeout_killable(timeout);
	return fatal_signal_pending(current) ? -ERESTARTSYS : timeout;
}

/*
 * Lets the current task have SIGKILL, which ends killable waits and nothing
 * else of a kernel thread. Returns it; NULL if it is none.
 */
struct task_struct *virgo_killable_begin(void)
{
	if (!(current->flags & PF_KTHREAD))
		return NULL;
	allow_kernel_signal(SIGKILL);
	return current;
}

/* What has come and what may come is as if it never had. */
void virgo_killable_end(void)
{
	disallow_signal(SIGKILL);
	flush_signals(current);
}

void virgo_kill(struct task_struct *task)
{
	send_sig(SIGKILL, task, 1);
}

int virgo_sock_create(struct socket **sock)
{
	return sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP, sock);
}

static struct sockaddr_in virgo_sockaddr(__be32 addr, u16 port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = addr,
		.sin_port = htons(port),
	};
}

int virgo_sock_bind(struct socket *sock, __be32 addr, u16 port)
{
	struct sockaddr_in sin = virgo_sockaddr(addr, port);

	sock_set_reuseaddr(sock->sk);
	return kernel_bind(sock, (struct sockaddr_unsized *)&sin, sizeof(sin));
}

int virgo_sock_connect(struct socket *sock, __be32 addr, u16 port)
{
	struct sockaddr_in sin = virgo_sockaddr(addr, port);

	return kernel_connect(sock, (struct sockaddr_unsized *)&sin, sizeof(sin), O_NONBLOCK);
}

int virgo_sock_error(struct socket *sock)
{
	return sock_error(sock->sk);
}

int virgo_sock_peer(struct socket *sock, __be32 *addr, u16 *port)
{
	struct sockaddr_storage peer;
	struct sockaddr_in *sin = (struct sockaddr_in *)&peer;
	int len = kernel_getpeername(sock, (struct sockaddr *)&peer);

	if (len < 0)
		return len;
	if (sin->sin_family != AF_INET)
		return -EAFNOSUPPORT;
	*addr = sin->sin_addr.s_addr;
	*port = ntohs(sin->sin_port);
	return 0;
}

void virgo_sock_tune(struct socket *sock)
{
	tcp_sock_set_nodelay(sock->sk);
	tcp_sock_set_user_timeout(sock->sk, VIRGO_USER_TIMEOUT_MS);
	tcp_sock_set_keepidle(sock->sk, VIRGO_KEEPIDLE_S);
	tcp_sock_set_keepintvl(sock->sk, VIRGO_KEEPINTVL_S);
	tcp_sock_set_keepcnt(sock->sk, VIRGO_KEEPCNT);
	sock_set_keepalive(sock->sk);
}

/*
 * As many bytes as are here, to memory of the current program: as far as it is present,
 * since a page fault takes as long as the program wants, and the socket is locked.
 */
int virgo_sock_recv_user(struct socket *sock, void __user *data, size_t len)
{
	struct msghdr msg = {};
	int err;

	err = import_ubuf(ITER_DEST, data, len, &msg.msg_iter);
	if (err)
		return err;
	pagefault_disable();
	err = sock_recvmsg(sock, &msg, MSG_DONTWAIT);
	pagefault_enable();
	return err;
}

/* Makes memory of the current program present, if it can be, and changes nothing in it. */
void virgo_fault_in(void __user *data, size_t len)
{
	fault_in_safe_writeable(data, len);
}

bool virgo_copy_if_present(void __user *data, const void *from, size_t len)
{
	return !copy_to_user_nofault(data, from, len);
}

/* Bytes sent that the peer's kernel has acknowledged; no more than fit into its buffer. */
u64 virgo_sock_acked(struct socket *sock)
{
	return READ_ONCE(tcp_sk(sock->sk)->bytes_acked);
}

/* TCP sequence number behind the last byte that was sent so far. */
u32 virgo_sock_sent(struct socket *sock)
{
	return READ_ONCE(tcp_sk(sock->sk)->write_seq);
}

/* Whether the peer's kernel has acknowledged all bytes before sequence number @seq. */
bool virgo_sock_has_acked(struct socket *sock, u32 seq)
{
	return !before(READ_ONCE(tcp_sk(sock->sk)->snd_una), seq);
}

bool virgo_sock_happened(struct socket *sock, enum virgo_sock_event event)
{
	struct sock *sk = sock->sk;

	if (READ_ONCE(sk->sk_err) || inet_sk_state_load(sk) == TCP_CLOSE)
		return true;
	switch (event) {
	case VIRGO_SOCK_CONNECTED:
		/* The peer may have closed since. */
		return !((1 << inet_sk_state_load(sk)) & (TCPF_SYN_SENT | TCPF_SYN_RECV));
	case VIRGO_SOCK_USABLE:
		return virgo_sock_happened(sock, VIRGO_SOCK_READABLE) ||
		       virgo_sock_happened(sock, VIRGO_SOCK_WRITABLE);
	case VIRGO_SOCK_READABLE:
		return !skb_queue_empty_lockless(&sk->sk_receive_queue) ||
		       READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN;
	case VIRGO_SOCK_WRITABLE:
		return sk_stream_is_writeable(sk) ||
		       READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN;
	case VIRGO_SOCK_OVER:
		return READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN;
	}
	return true;
}

/* Sockets wake interruptible sleepers only; ours are killable. */
static int virgo_sock_wake(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	return default_wake_function(entry, TASK_NORMAL, flags, key);
}

/*
 * Waits killably, also until *@counter is not @before any more, if a counter is given
 * and virgo_sock_poke() comes after that. Returns the jiffies left, 0 at the timeout,
 * -ERESTARTSYS when killed, also if there is always something to receive.
 */
long virgo_sock_wait(struct socket *sock, enum virgo_sock_event event, const u32 *counter,
		     u32 before, long timeout)
{
	wait_queue_head_t *head = sk_sleep(sock->sk);
	DEFINE_WAIT_FUNC(wait, virgo_sock_wake);

	if (event == VIRGO_SOCK_WRITABLE || event == VIRGO_SOCK_USABLE) {
		/* Without the bit the stack does not announce space. */
		set_bit(SOCK_NOSPACE, &sock->flags);
		/* Pairs with the stack's: it frees room, then looks at the bit. */
		smp_mb__after_atomic();
	}
	for (;;) {
		prepare_to_wait(head, &wait, TASK_KILLABLE);
		if (fatal_signal_pending(current)) {
			timeout = -ERESTARTSYS;
			break;
		}
		if (virgo_sock_happened(sock, event) ||
		    (counter && READ_ONCE(*counter) != before)) {
			timeout = max(timeout, 1);
			break;
		}
		if (!timeout)
			break;
		timeout = schedule_timeout(timeout);
	}
	finish_wait(head, &wait);
	return timeout;
}

/* Has those that wait for the socket look again. */
void virgo_sock_poke(struct socket *sock)
{
	virgo_wake_all(sk_sleep(sock->sk));
}

static void virgo_hook_run(struct sock *sk)
{
	struct virgo_hook *hook;

	read_lock_bh(&sk->sk_callback_lock);
	hook = __locked_read_sk_user_data_with_flags(sk, SK_USER_DATA_NOCOPY);
	if (hook)
		queue_work(hook->queue, hook->work);
	read_unlock_bh(&sk->sk_callback_lock);
}

static void virgo_write_space(struct sock *sk)
{
	struct socket *sock = sk->sk_socket;

	if (sock && sk_stream_is_writeable(sk) && test_and_clear_bit(SOCK_NOSPACE, &sock->flags))
		virgo_hook_run(sk);
}

/* The callbacks that a new socket has. */
void virgo_sock_callbacks(struct socket *sock, struct virgo_callbacks *callbacks)
{
	struct sock *sk = sock->sk;

	callbacks->data_ready = sk->sk_data_ready;
	callbacks->state_change = sk->sk_state_change;
	callbacks->write_space = sk->sk_write_space;
}

/*
 * From now on the hook's work is queued whenever @sock has news. News before that
 * are lost: the caller queues the work once afterwards.
 */
void virgo_sock_hook(struct socket *sock, struct virgo_hook *hook)
{
	struct sock *sk = sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	__rcu_assign_sk_user_data_with_flags(sk, hook, SK_USER_DATA_NOCOPY);
	sk->sk_data_ready = virgo_hook_run;
	sk->sk_state_change = virgo_hook_run;
	sk->sk_write_space = virgo_write_space;
	write_unlock_bh(&sk->sk_callback_lock);
}

/*
 * On return no callback of ours runs and none will. Also for connections just
 * accepted: they inherit the listener's callbacks, though not its hook.
 */
void virgo_sock_unhook(struct socket *sock, const struct virgo_callbacks *callbacks)
{
	struct sock *sk = sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_data_ready = callbacks->data_ready;
	sk->sk_state_change = callbacks->state_change;
	sk->sk_write_space = callbacks->write_space;
	__rcu_assign_sk_user_data_with_flags(sk, NULL, 0);
	write_unlock_bh(&sk->sk_callback_lock);
}

/* A file of the kernel's own, gone with its last user. */
struct file *virgo_result_file(void)
{
	return shmem_file_setup("virgo", 0, mk_vma_flags(VMA_NORESERVE_BIT));
}

/* Runs in the new process, before the program does; it has no open files yet. */
static int virgo_program_init(struct subprocess_info *info, struct cred *cred)
{
	struct virgo_program *program = info->data;
	int i;

	for (i = 0; i < 3; i++) {
		int fd = get_unused_fd_flags(0);

		if (fd < 0)
			return fd;
		fd_install(fd, get_file(program->file));
	}
	WRITE_ONCE(program->pid, get_task_pid(current, PIDTYPE_PID));
	/* Pairs with virgo_program_end(): one of the two sees what the other has written. */
	smp_mb();
	return READ_ONCE(program->ended) ? -ECANCELED : 0;
}

/*
 * Runs a program as root and waits for its end. Returns its wait status, or a
 * negative error number if it could not be run. A second call for the same
 * structure is not allowed.
 */
int virgo_program_run(const char *path, char **argv, struct virgo_program *program)
{
	static char *envp[3] = { "HOME=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	struct subprocess_info *info;

	info = call_usermodehelper_setup(path, argv, envp, GFP_KERNEL, virgo_program_init, NULL,
					 program);
	if (!info)
		return -ENOMEM;
	/* Killable, so that a long wait is not taken for a hung task. */
	return call_usermodehelper_exec(info, UMH_WAIT_PROC | UMH_KILLABLE);
}

/* Asks the program to end. If it has not begun it never will. */
void virgo_program_end(struct virgo_program *program)
{
	struct pid *pid;

	WRITE_ONCE(program->ended, true);
	/* Pairs with virgo_program_init(). */
	smp_mb();
	pid = READ_ONCE(program->pid);
	if (pid)
		kill_pid(pid, SIGTERM, 1);
}

void virgo_program_put(struct virgo_program *program)
{
	put_pid(program->pid);
	fput(program->file);
}

void virgo_load_get(struct virgo_load *load)
{
	struct task_struct *process, *thread;
	int cpu;

	*load = (struct virgo_load){ .free_mib = max(si_mem_available(), 0) >> (20 - PAGE_SHIFT) };
	for_each_online_cpu(cpu) {
		u64 wall;

		load->online++;
		load->idle_us += get_cpu_idle_time_us(cpu, &wall);
	}
	rcu_read_lock();
	for_each_process_thread(process, thread)
		if (thread != current && task_is_running(thread))
			load->runnable++;
	rcu_read_unlock();
}

void virgo_yield(void)
{
	cond_resched();
}

bool virgo_is_killed(void)
{
	return fatal_signal_pending(current);
}

/* Whether its initialisation has succeeded, and it does not go. */
bool virgo_module_is_live(const struct module *module)
{
	return READ_ONCE(module->state) == MODULE_STATE_LIVE;
}

/*
 * Not while it is being initialised: if that fails its memory goes, whoever has
 * pinned it.
 */
bool virgo_module_pin(struct module *module)
{
	return virgo_module_is_live(module) && try_module_get(module);
}

void virgo_module_unpin(struct module *module)
{
	module_put(module);
}

void virgo_poll_wait(struct file *file, struct wait_queue_head *head,
		     struct poll_table_struct *table)
{
	poll_wait(file, head, table);
}

bool virgo_addr_is_local(__be32 addr)
{
	return inet_addr_type(&init_net, addr) == RTN_LOCAL;
}

void virgo_wipe(void *bytes, size_t len)
{
	memzero_explicit(bytes, len);
}

bool virgo_bytes_equal(const void *a, const void *b, size_t len)
{
	return !crypto_memneq(a, b, len);
}

/*
 * Opens a file as the first process sees it: kernel threads have an empty root, and a
 * program may have one of its own.
 */
struct file *virgo_file_open(const char *path, int flags, umode_t mode)
{
	scoped_with_init_fs()
		return filp_open(path, flags, mode);
	/* Not reached: the scope is entered once. */
	return ERR_PTR(-EIO);
}

u32 virgo_crc32c(u32 seed, const void *bytes, size_t len)
{
	return crc32c(seed, bytes, len);
}

int virgo_file_owner(struct file *file, uid_t *uid, umode_t *mode, loff_t *size)
{
	struct inode *inode = file_inode(file);

	if (!S_ISREG(inode->i_mode))
		return -EINVAL;
	*uid = from_kuid(&init_user_ns, inode->i_uid);
	*mode = inode->i_mode & 07777;
	*size = i_size_read(inode);
	return 0;
}

/* When the contents and the inode of a file were changed last, since 1970. */
void virgo_file_times(struct file *file, s64 *mtime_ns, s64 *ctime_ns)
{
	struct inode *inode = file_inode(file);
	struct timespec64 mtime = inode_get_mtime(inode);
	struct timespec64 ctime = inode_get_ctime(inode);

	*mtime_ns = timespec64_to_ns(&mtime);
	*ctime_ns = timespec64_to_ns(&ctime);
}

/* Takes room on the disk for bytes that will be written; the size of the file stays. */
int virgo_file_reserve(struct file *file, loff_t at, loff_t len)
{
	return vfs_fallocate(file, FALLOC_FL_KEEP_SIZE, at, len);
}

uid_t virgo_current_uid(void)
{
	return from_kuid_munged(&init_user_ns, current_euid());
}

/* A number that names the current task among those that exist; 0 in interrupts. */
unsigned long virgo_task_number(void)
{
	return in_task() ? (unsigned long)current : 0;
}

unsigned int virgo_processors(void)
{
	return nr_cpu_ids;
}

/* The caller may be on another one by now. */
unsigned int virgo_this_processor(void)
{
	return raw_smp_processor_id();
}
