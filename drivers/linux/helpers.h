/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the Rust side of this crate needs of the kernel and `kernel::bindings`
 * does not have: inline functions, macros, struct sock. bindgen reads this file.
 */
#ifndef VIRGO_LINUX_HELPERS_H
#define VIRGO_LINUX_HELPERS_H

#include <linux/types.h>

#include "datagram.h"
#include "pages.h"
#include "skbuff.h"
#include "trace.h"
#include "vfs.h"
#include "waiters.h"

struct file;
struct file_operations;
struct module;
struct pid;
struct poll_table_struct;
struct sock;
struct socket;
struct wait_queue_head;
struct work_struct;
struct workqueue_struct;

/** struct virgo_callbacks - what a socket calls when it has news */
struct virgo_callbacks {
	void (*data_ready)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*write_space)(struct sock *sk);
};

/**
 * struct virgo_hook - runs a work item when a socket has news
 * @queue: where the work runs
 * @work:  the work
 *
 * Written before the socket knows of it, read under its sk_callback_lock.
 */
struct virgo_hook {
	struct workqueue_struct *queue;
	struct work_struct *work;
};

/** enum virgo_sock_event - what a task or a session waits for; errors count as each */
enum virgo_sock_event {
	VIRGO_SOCK_CONNECTED,
	VIRGO_SOCK_READABLE,
	VIRGO_SOCK_WRITABLE,
	/* Readable or writable. */
	VIRGO_SOCK_USABLE,
	VIRGO_SOCK_OVER,
};

void virgo_wake_all(struct wait_queue_head *queue);
void virgo_wake_one(struct wait_queue_head *queue);
void virgo_wake_in_steps(struct wait_queue_head *queue);
bool virgo_wake_few(struct wait_queue_head *queue, int most);
long virgo_sleep(long timeout);
struct task_struct *virgo_killable_begin(void);
void virgo_killable_end(void);
void virgo_kill(struct task_struct *task);

int virgo_sock_create(struct socket **sock);
int virgo_sock_bind(struct socket *sock, __be32 addr, u16 port);
int virgo_sock_connect(struct socket *sock, __be32 addr, u16 port);
int virgo_sock_error(struct socket *sock);
int virgo_sock_peer(struct socket *sock, __be32 *addr, u16 *port);
void virgo_sock_tune(struct socket *sock);
int virgo_sock_recv_user(struct socket *sock, void __user *data, size_t len);
void virgo_fault_in(void __user *data, size_t len);
bool virgo_copy_if_present(void __user *data, const void *from, size_t len);
u64 virgo_sock_acked(struct socket *sock);
u32 virgo_sock_sent(struct socket *sock);
bool virgo_sock_has_acked(struct socket *sock, u32 seq);
bool virgo_sock_happened(struct socket *sock, enum virgo_sock_event event);
long virgo_sock_wait(struct socket *sock, enum virgo_sock_event event, const u32 *counter,
		     u32 before, long timeout);
void virgo_sock_poke(struct socket *sock);
void virgo_sock_callbacks(struct socket *sock, struct virgo_callbacks *callbacks);
void virgo_sock_hook(struct socket *sock, struct virgo_hook *hook);
void virgo_sock_unhook(struct socket *sock, const struct virgo_callbacks *callbacks);

/**
 * struct virgo_program - a program that runs for the kernel
 * @file: its standard input, output and error
 * @pid:  the process, once it exists; for as long as the structure is used
 * @ended: it is to end, though it may not exist yet
 */
struct virgo_program {
	struct file *file;
	struct pid *pid;
	bool ended;
};

struct file *virgo_result_file(void);
int virgo_program_run(const char *path, char **argv, struct virgo_program *program);
void virgo_program_end(struct virgo_program *program);
void virgo_program_put(struct virgo_program *program);

/**
 * struct virgo_load - what the processors of this machine do
 * @runnable: tasks that run or want to, other than the caller
 * @online:   processors
 * @idle_us:  time that they have been idle since the start, in microseconds, summed up
 * @free_mib: memory that can be had, in MiB
 */
struct virgo_load {
	u32 runnable;
	u32 online;
	u64 idle_us;
	u64 free_mib;
};

void virgo_load_get(struct virgo_load *load);

void virgo_yield(void);
bool virgo_is_killed(void);

bool virgo_module_pin(struct module *module);
void virgo_module_unpin(struct module *module);
bool virgo_module_is_live(const struct module *module);

void virgo_poll_wait(struct file *file, struct wait_queue_head *head,
		     struct poll_table_struct *table);

bool virgo_addr_is_local(__be32 addr);
void virgo_wipe(void *bytes, size_t len);
bool virgo_bytes_equal(const void *a, const void *b, size_t len);
struct file *virgo_file_open(const char *path, int flags, umode_t mode);
u32 virgo_crc32c(u32 seed, const void *bytes, size_t len);
int virgo_file_owner(struct file *file, uid_t *uid, umode_t *mode, loff_t *size);
void virgo_file_times(struct file *file, s64 *mtime_ns, s64 *ctime_ns);
int virgo_file_reserve(struct file *file, loff_t at, loff_t len);
uid_t virgo_current_uid(void);
unsigned long virgo_task_number(void);
unsigned int virgo_processors(void);
unsigned int virgo_this_processor(void);

#endif /* VIRGO_LINUX_HELPERS_H */
