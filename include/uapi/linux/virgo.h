/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * VIRGO - user interface of the cluster system calls.
 *
 * Every structure is extensible: the caller passes its size, newer kernels
 * append members, members a kernel does not know must be zero (E2BIG).
 * Reserved members and unknown flags must be zero (EINVAL).
 */
#ifndef _UAPI_LINUX_VIRGO_H
#define _UAPI_LINUX_VIRGO_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * System call numbers, x86-64. The first nine keep the numbers and the
 * prototypes of the 2017 kernel; the others take (args pointer, args size).
 * A call whose module is not loaded returns ENOSYS.
 */
#define __NR_virgo_clone	548
#define __NR_virgo_malloc	549
#define __NR_virgo_set		550
#define __NR_virgo_get		551
#define __NR_virgo_free		552
#define __NR_virgo_open		553
#define __NR_virgo_close	554
#define __NR_virgo_read		555
#define __NR_virgo_write	556

#define __NR_virgo_clone2	557
#define __NR_virgo_wait		558
#define __NR_virgo_cancel	559
#define __NR_virgo_malloc2	560
#define __NR_virgo_set2		561
#define __NR_virgo_get2		562
#define __NR_virgo_free2	563
#define __NR_virgo_open2	564
#define __NR_virgo_read2	565
#define __NR_virgo_write2	566
#define __NR_virgo_fsync	567
#define __NR_virgo_stat		568
#define __NR_virgo_truncate	569
#define __NR_virgo_unlink	570
#define __NR_virgo_rename	571
#define __NR_virgo_mkdir	572
#define __NR_virgo_readdir	573
#define __NR_virgo_queue	574
#define __NR_virgo_lock		575

/*
 * A kernel without these system calls has the device /dev/virgo, which has to be
 * open for reading and writing: ioctl(fd, VIRGO_IOC(number, size), args) does
 * what syscall(number, args, size) does, with the same errors; ENOTTY if there
 * is no such call. It counts at most INT_MAX bytes. The first nine calls have
 * their arguments in a struct virgo_first_args.
 */
#define VIRGO_IOC_TYPE		0xb9
#define VIRGO_IOC(number, size)						\
	_IOC(_IOC_READ | _IOC_WRITE, VIRGO_IOC_TYPE, (number) - __NR_virgo_clone, size)

/**
 * struct virgo_first_args - arguments of one of the first nine calls, for the device
 * @args: in their order, addresses and signed numbers as 64 bits; what the call
 *        does not have does not count
 */
struct virgo_first_args {
	__aligned_u64 args[4];
};

/**
 * struct virgo_fence - a lock that guards an object, and the token with which it was granted
 * @name:     user address of the lock's name
 * @token:    from virgo_lock, not 0
 * @name_len: bytes at @name: 1 to VIRGO_LOCK_MAX_NAME
 * @flags:    must be 0
 *
 * An object that was used with a token refuses smaller ones of the same lock (ESTALE):
 * somebody else had it since. It refuses other locks, and none (ENOLCK).
 */
struct virgo_fence {
	__aligned_u64 name;
	__aligned_u64 token;
	__u32 name_len;
	__u32 flags;
};

/* virgo_malloc2: flags. */
#define VIRGO_MALLOC_SHARED	(1U << 0) /* every uid of the cluster may set, get and free */

/* virgo_malloc2: placement of the chunks. */
#define VIRGO_PLACE_DEFAULT	0 /* as /etc/virgo_client.conf says */
#define VIRGO_PLACE_RANDOM	1 /* each chunk on a random node */
#define VIRGO_PLACE_LEAST_USED	2 /* each chunk where the most pool memory is free */
#define VIRGO_PLACE_NODE	3 /* all chunks on `node` */

/**
 * struct virgo_malloc_args - allocate cluster memory
 * @size:       bytes to allocate, at least 1
 * @id:         set on success: names the allocation on every node
 * @flags:      VIRGO_MALLOC_*
 * @place:      VIRGO_PLACE_*
 * @node:       number of the node for VIRGO_PLACE_NODE, otherwise 0
 * @timeout_ms: deadline of the whole call; 0 means the configured one
 */
struct virgo_malloc_args {
	__aligned_u64 size;
	__aligned_u64 id;
	__u32 flags;
	__u32 place;
	__u32 node;
	__u32 timeout_ms;
};
#define VIRGO_MALLOC_ARGS_SIZE_VER0	32

/**
 * struct virgo_data_args - copy bytes into (set) or out of (get) an allocation
 * @id:         from virgo_malloc or virgo_malloc2
 * @offset:     first byte of the allocation to touch
 * @len:        bytes at @data
 * @data:       user address of the bytes
 * @flags:      must be 0
 * @timeout_ms: deadline of the whole call; 0 means the configured one
 * @fence:      of set: user address of a struct virgo_fence, or 0
 *
 * Set refuses a range that ends beyond the allocation (EFBIG); get stops at
 * the end of the allocation. Both return the number of bytes copied.
 *
 * Each piece of a split allocation has a fence of its own; a set of no bytes
 * with @fence raises those of all pieces.
 */
struct virgo_data_args {
	__aligned_u64 id;
	__aligned_u64 offset;
	__aligned_u64 len;
	__aligned_u64 data;
	__u32 flags;
	__u32 timeout_ms;
	__aligned_u64 fence;
};
#define VIRGO_DATA_ARGS_SIZE_VER0	40 /* without @fence */
#define VIRGO_DATA_ARGS_SIZE_VER1	48

/**
 * struct virgo_free_args - give an allocation back
 * @id:         from virgo_malloc or virgo_malloc2
 * @flags:      must be 0
 * @timeout_ms: deadline of the whole call; 0 means the configured one
 * @fence:      user address of a struct virgo_fence, or 0
 *
 * Who owns it, and root, may free it without its lock.
 */
struct virgo_free_args {
	__aligned_u64 id;
	__u32 flags;
	__u32 timeout_ms;
	__aligned_u64 fence;
};
#define VIRGO_FREE_ARGS_SIZE_VER0	16 /* without @fence */
#define VIRGO_FREE_ARGS_SIZE_VER1	24

/* struct virgo_call: on which node. */
#define VIRGO_RUN_DEFAULT	0 /* as /etc/virgo_client.conf says */
#define VIRGO_RUN_LEAST		1 /* the least loaded, as far as is known */
#define VIRGO_RUN_RANDOM	2
#define VIRGO_RUN_TWO		3 /* the less loaded of two random ones */
#define VIRGO_RUN_NODE		4 /* on `node` */

/* struct virgo_call: what came of it. */
#define VIRGO_CALL_RUNNING	0 /* not known yet */
#define VIRGO_CALL_RETURNED	1 /* a function returned `value` */
#define VIRGO_CALL_EXITED	2 /* a program ended with status `value` */
#define VIRGO_CALL_KILLED	3 /* signal `value` killed it */
#define VIRGO_CALL_FAILED	4 /* it did not run, or nobody knows: error number `value` */

/* struct virgo_call: flags set by the kernel. */
#define VIRGO_CALL_TRUNCATED	(1U << 0) /* there was more output than is shown */

/**
 * struct virgo_call - one call of a function or program on some node
 * @argv:       user address: what to call and its arguments, each ended by a
 *              NUL byte. A name is a kernel function, an absolute path a
 *              program, `PATH:SYMBOL` a function of a library
 * @argv_len:   bytes there, with the NULs
 * @output:     user address for the output: standard output, then standard error;
 *              up to 64 KiB of each are kept
 * @output_len: room there; if it is too small, standard error gets up to a quarter
 * @place:      VIRGO_RUN_*
 * @node:       number of the node for VIRGO_RUN_NODE, otherwise 0; set to the
 *              node that it went to
 * @job:        set: names the job until its result was taken
 * @state:      set: VIRGO_CALL_*
 * @value:      set: see there
 * @out_len:    set: bytes of standard output in @output
 * @err_len:    set: bytes of standard error behind them
 * @flags:      0; set: VIRGO_CALL_TRUNCATED
 */
struct virgo_call {
	__aligned_u64 argv;
	__aligned_u64 output;
	__aligned_u64 job;
	__aligned_s64 value;
	__u32 argv_len;
	__u32 output_len;
	__u32 place;
	__u32 node;
	__u32 state;
	__u32 out_len;
	__u32 err_len;
	__u32 flags;
};
#define VIRGO_MAX_CALLS		1000 /* in one virgo_clone2 or virgo_wait */

/* virgo_clone2: flags. */
#define VIRGO_CLONE_ASYNC	(1U << 0) /* do not wait: virgo_wait gets the results */

/**
 * struct virgo_clone_args - run calls on nodes of the cluster
 * @calls:      user address of an array of struct virgo_call
 * @count:      how many: 1 to VIRGO_MAX_CALLS
 * @flags:      VIRGO_CLONE_*
 * @timeout_ms: deadline of each call; 0 means the configured one
 * @call_size:  sizeof(struct virgo_call)
 *
 * Returns how many calls were started or, without VIRGO_CLONE_ASYNC, have
 * ended, well or not: @state of each says which.
 */
struct virgo_clone_args {
	__aligned_u64 calls;
	__u32 count;
	__u32 flags;
	__u32 timeout_ms;
	__u32 call_size;
};
#define VIRGO_CLONE_ARGS_SIZE_VER0	24

/**
 * struct virgo_wait_args - wait for calls made with VIRGO_CLONE_ASYNC
 * @calls:      user address of an array of struct virgo_call, of which @job,
 *              @state, @output and @output_len are read, and @flags must be 0
 * @count:      how many: 1 to VIRGO_MAX_CALLS
 * @flags:      must be 0
 * @timeout_ms: longest wait; 0 means the configured deadline
 * @call_size:  sizeof(struct virgo_call)
 *
 * Waits until one of the calls whose @state is VIRGO_CALL_RUNNING has ended,
 * and fills in all those that have. Their jobs are gone then. Returns how many;
 * ETIMEDOUT if there were none. Only the uid that made a call, and root, can wait
 * for it. A job that is named twice is EINVAL.
 */
struct virgo_wait_args {
	__aligned_u64 calls;
	__u32 count;
	__u32 flags;
	__u32 timeout_ms;
	__u32 call_size;
};
#define VIRGO_WAIT_ARGS_SIZE_VER0	24

/**
 * struct virgo_cancel_args - end a call
 * @job:        from virgo_clone2
 * @flags:      must be 0
 * @timeout_ms: deadline of this call; 0 means the configured one
 *
 * The result of the job is ECANCELED, if it has not ended before.
 */
struct virgo_cancel_args {
	__aligned_u64 job;
	__u32 flags;
	__u32 timeout_ms;
};
#define VIRGO_CANCEL_ARGS_SIZE_VER0	16

/*
 * Files of other nodes. A path says where it is:
 *
 *   /path         on this node
 *   2:/path       on node 2; node2:/path is the same
 *   1,3:/path     a copy on either, to be read: the first that can be opened
 *   least-used:/path, random:/path, two-choices:/path
 *
 * It has at most 4095 bytes behind the colon. A node serves the directories of
 * the export lines of its /etc/virgo_cloud.conf, and does everything there as
 * the user that the line names.
 */

/**
 * struct virgo_open_args - open or create a file or directory
 * @path:       user address of the path, ended by NUL
 * @flags:      of open(2): O_RDONLY, O_WRONLY or O_RDWR, with O_CREAT, O_EXCL,
 *              O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_SYNC, O_CLOEXEC
 * @mode:       permissions of a new file
 * @timeout_ms: deadline of this call, and of virgo_read and virgo_write with
 *              this descriptor; 0 means the configured one
 * @reserved:   must be 0
 * @fence:      for writing: user address of a struct virgo_fence, or 0
 *
 * Returns a file descriptor for the calls below and for close(2). What is written or
 * cut with it is done by who has the lock of @fence; opening raises the fence of the
 * file. EOPNOTSUPP if its file system has no extended attributes for that.
 */
struct virgo_open_args {
	__aligned_u64 path;
	__u32 flags;
	__u32 mode;
	__u32 timeout_ms;
	__u32 reserved;
	__aligned_u64 fence;
};
#define VIRGO_OPEN_ARGS_SIZE_VER0	24 /* without @fence */
#define VIRGO_OPEN_ARGS_SIZE_VER1	32

/**
 * struct virgo_file_args - copy bytes out of (virgo_read2) or into (virgo_write2) a file
 * @offset:     first byte; ignored for a write to a file opened with O_APPEND
 * @len:        bytes at @data
 * @data:       user address of the bytes
 * @fd:         from virgo_open or virgo_open2
 * @flags:      must be 0
 * @timeout_ms: deadline of the whole call; 0 means that of the descriptor
 * @reserved:   must be 0
 *
 * Return the bytes copied: fewer at the end of the file, on a full disk, or if
 * an error came after a part was done.
 */
struct virgo_file_args {
	__aligned_u64 offset;
	__aligned_u64 len;
	__aligned_u64 data;
	__s32 fd;
	__u32 flags;
	__u32 timeout_ms;
	__u32 reserved;
};
#define VIRGO_FILE_ARGS_SIZE_VER0	40

/* virgo_fsync: flags. */
#define VIRGO_FSYNC_DATA	(1U << 0) /* like fdatasync(2) */

/**
 * struct virgo_fsync_args - wait until what was written is on the disk
 * @fd:         from virgo_open or virgo_open2
 * @flags:      VIRGO_FSYNC_*
 * @timeout_ms: deadline of this call; 0 means that of the descriptor
 * @reserved:   must be 0
 */
struct virgo_fsync_args {
	__s32 fd;
	__u32 flags;
	__u32 timeout_ms;
	__u32 reserved;
};
#define VIRGO_FSYNC_ARGS_SIZE_VER0	16

/**
 * struct virgo_stat - what is known of a file
 * @ino:      number of the inode
 * @size:     bytes
 * @blocks:   units of 512 bytes on the disk
 * @mtime_s:  last change of the content: seconds since 1970
 * @mtime_ns: and nanoseconds
 * @mode:     kind and permissions, as in stat(2)
 * @nlink:    names
 * @uid:      owner, as the node that has the file numbers them
 * @gid:      group, likewise
 * @node:     that node's number
 */
struct virgo_stat {
	__u64 ino;
	__u64 size;
	__u64 blocks;
	__s64 mtime_s;
	__u32 mtime_ns;
	__u32 mode;
	__u32 nlink;
	__u32 uid;
	__u32 gid;
	__u32 node;
};

/* virgo_stat: flags. */
#define VIRGO_STAT_NO_FOLLOW	(1U << 0) /* of a symbolic link itself */

/**
 * struct virgo_stat_args - what is known of a file
 * @path:       user address of the path, ended by NUL; 0 to use @fd
 * @stat:       user address of a struct virgo_stat, to be filled in
 * @fd:         from virgo_open or virgo_open2; 0 with a path
 * @flags:      VIRGO_STAT_*
 * @timeout_ms: deadline of this call; 0 means the configured one
 * @reserved:   must be 0
 */
struct virgo_stat_args {
	__aligned_u64 path;
	__aligned_u64 stat;
	__s32 fd;
	__u32 flags;
	__u32 timeout_ms;
	__u32 reserved;
};
#define VIRGO_STAT_ARGS_SIZE_VER0	32

/**
 * struct virgo_truncate_args - cut or lengthen a file
 * @size:       bytes that it has afterwards
 * @fd:         from virgo_open or virgo_open2, for writing
 * @flags:      must be 0
 * @timeout_ms: deadline of this call; 0 means that of the descriptor
 * @reserved:   must be 0
 */
struct virgo_truncate_args {
	__aligned_u64 size;
	__s32 fd;
	__u32 flags;
	__u32 timeout_ms;
	__u32 reserved;
};
#define VIRGO_TRUNCATE_ARGS_SIZE_VER0	24

/* virgo_unlink: flags. */
#define VIRGO_UNLINK_DIRECTORY	(1U << 0) /* an empty directory */

/**
 * struct virgo_unlink_args - remove a name
 * @path:       user address of the path, ended by NUL
 * @flags:      VIRGO_UNLINK_*
 * @timeout_ms: deadline of this call; 0 means the configured one
 */
struct virgo_unlink_args {
	__aligned_u64 path;
	__u32 flags;
	__u32 timeout_ms;
};
#define VIRGO_UNLINK_ARGS_SIZE_VER0	16

/* virgo_rename: flags. */
#define VIRGO_RENAME_NO_REPLACE	(1U << 0) /* the new name must not be there */

/**
 * struct virgo_rename_args - change a name, on one node and in one export (EXDEV)
 * @from:       user address of the path, ended by NUL
 * @to:         user address of the new path, ended by NUL
 * @flags:      VIRGO_RENAME_*
 * @timeout_ms: deadline of this call; 0 means the configured one
 */
struct virgo_rename_args {
	__aligned_u64 from;
	__aligned_u64 to;
	__u32 flags;
	__u32 timeout_ms;
};
#define VIRGO_RENAME_ARGS_SIZE_VER0	24

/**
 * struct virgo_mkdir_args - make a directory
 * @path:       user address of the path, ended by NUL
 * @mode:       permissions
 * @flags:      must be 0
 * @timeout_ms: deadline of this call; 0 means the configured one
 * @reserved:   must be 0
 */
struct virgo_mkdir_args {
	__aligned_u64 path;
	__u32 mode;
	__u32 flags;
	__u32 timeout_ms;
	__u32 reserved;
};
#define VIRGO_MKDIR_ARGS_SIZE_VER0	24

/**
 * struct virgo_dirent - an entry of a directory; the name follows, without NUL
 * @ino:  number of the inode
 * @type: DT_* of readdir(3)
 * @len:  bytes of the name
 *
 * Entries lie one behind the other, without padding; "." and ".." are not there.
 */
struct virgo_dirent {
	__u64 ino;
	__u8 type;
	__u8 len;
} __attribute__((packed));

/**
 * struct virgo_dirent_stat - the same with VIRGO_READDIR_STAT
 * @stat: what is known of it, of a symbolic link itself; @stat.mode is 0 if nothing is
 * @type: DT_* of readdir(3)
 * @len:  bytes of the name
 */
struct virgo_dirent_stat {
	struct virgo_stat stat;
	__u8 type;
	__u8 len;
} __attribute__((packed));

/* virgo_readdir: flags. */
#define VIRGO_READDIR_STAT	(1U << 0) /* entries are struct virgo_dirent_stat */

/**
 * struct virgo_readdir_args - names in a directory
 * @path:       user address of the path, ended by NUL
 * @data:       user address for the entries
 * @next:       0 at first; set to where the next call goes on
 * @len:        bytes at @data: at least 512; at most 65536 are used
 * @flags:      VIRGO_READDIR_*
 * @timeout_ms: deadline of this call; 0 means the configured one
 * @reserved:   must be 0
 *
 * Returns the bytes of entries, 0 at the end.
 */
struct virgo_readdir_args {
	__aligned_u64 path;
	__aligned_u64 data;
	__aligned_u64 next;
	__u32 len;
	__u32 flags;
	__u32 timeout_ms;
	__u32 reserved;
};
#define VIRGO_READDIR_ARGS_SIZE_VER0	40

/* virgo_queue: operations. */
#define VIRGO_QUEUE_CREATE	1 /* make a queue or topic; options at @data */
#define VIRGO_QUEUE_DELETE	2
#define VIRGO_QUEUE_PUBLISH	3 /* publish @messages; returns how many */
#define VIRGO_QUEUE_OPEN	4 /* subscribe; options at @data; returns a descriptor */
#define VIRGO_QUEUE_TAKE	5 /* take messages into @messages; returns how many */
#define VIRGO_QUEUE_ACK		6 /* the messages with these ids are done; returns how many */
#define VIRGO_QUEUE_NACK	7 /* give them back, for after their delay_ms */
#define VIRGO_QUEUE_REQUEST	8 /* publish @messages[0], reply to @data; returns its length */
#define VIRGO_QUEUE_REPLY	9 /* @messages[0].id is done, reply at its data */
#define VIRGO_QUEUE_PURGE	10 /* drop all messages; returns how many */

/* struct virgo_message: flags. */
#define VIRGO_MESSAGE_REQUEST	(1U << 0) /* set by take: somebody waits for a reply */

/**
 * struct virgo_message - a message that is published or taken
 * @id:          take: set, another one each time that the message is taken;
 *               ack, nack, reply: of which delivery
 * @position:    set: number in the queue or topic that it was published to
 * @data:        user address of the bytes
 * @subject:     take: user address for the name that it was published to
 * @len:         bytes at @data; take: room there, set to the message's bytes,
 *               which are more than the room if not all is there
 * @subject_len: take: room at @subject, set likewise
 * @delay_ms:    publish: until it can be taken; nack: until it can be again
 * @priority:    publish: 0 to 9, larger is sooner; 4 is usual
 * @deliveries:  take: set: how often it was taken, this time included
 * @flags:       0; take: set: VIRGO_MESSAGE_*
 */
struct virgo_message {
	__aligned_u64 id;
	__aligned_u64 position;
	__aligned_u64 data;
	__aligned_u64 subject;
	__u32 len;
	__u32 subject_len;
	__u32 delay_ms;
	__u32 priority;
	__u32 deliveries;
	__u32 flags;
};
#define VIRGO_MAX_MESSAGES	1024 /* in one virgo_queue */

/**
 * struct virgo_queue_args - use a queue or topic
 * @op:         VIRGO_QUEUE_*
 * @flags:      must be 0
 * @node:       whose queue; 0 is this node, and so it is for OPEN
 * @timeout_ms: longest wait, for room, messages or a reply; 0 means the
 *              configured deadline
 * @name:       user address of the name or, for OPEN, the pattern
 * @name_len:   bytes there; 0 for operations on @fd
 * @fd:         from OPEN, for TAKE, ACK, NACK and REPLY; otherwise -1
 * @messages:   user address of an array of struct virgo_message
 * @data:       user address of options, or for the reply of a request
 * @count:      messages there, at most VIRGO_MAX_MESSAGES
 * @len:        bytes at @data
 * @lost:       set by PUBLISH: copies of the accepted messages that some queue
 *              or subscription had no room for; by TAKE from @fd: messages
 *              that the subscription has lost since this was last told
 * @fence:      of PUBLISH, REQUEST, PURGE and DELETE: user address of a struct
 *              virgo_fence, or 0
 *
 * A queue that is named is taken from for all programs of this node and user
 * together: any of them may acknowledge what one has taken, by the id of that
 * delivery. The descriptor is readable
 * (poll, epoll) when TAKE would return a message at once. Publish returns how
 * many messages were accepted, an error if not even the first one was; those
 * behind are not there. After ETIMEDOUT, ECONNRESET, ESHUTDOWN or EPROTO from
 * another node, or EIO, some of the messages, from the first on, may be there.
 *
 * The fence is that of the queue or topic that has the name; without one no lock
 * can be said (ENOLCK). It takes the right to delete. Who owns a queue, and root,
 * may delete it without its lock.
 */
struct virgo_queue_args {
	__u32 op;
	__u32 flags;
	__u32 node;
	__u32 timeout_ms;
	__aligned_u64 name;
	__u32 name_len;
	__s32 fd;
	__aligned_u64 messages;
	__aligned_u64 data;
	__u32 count;
	__u32 len;
	__aligned_u64 lost;
	__aligned_u64 fence;
};
#define VIRGO_QUEUE_ARGS_SIZE_VER0	56 /* without @lost */
#define VIRGO_QUEUE_ARGS_SIZE_VER1	64 /* without @fence */
#define VIRGO_QUEUE_ARGS_SIZE_VER2	72

/* virgo_lock: operations. */
#define VIRGO_LOCK_OPEN		1 /* a session: returns a descriptor */
#define VIRGO_LOCK_LOCK		2 /* lock @name */
#define VIRGO_LOCK_CONVERT	3 /* change the mode of a lock that the session has */
#define VIRGO_LOCK_UNLOCK	4 /* give it back, or stop waiting for it */

/* virgo_lock: modes, as VMS and the kernel's DLM have them. */
#define VIRGO_LOCK_NL		1 /* null: keeps the value block */
#define VIRGO_LOCK_CR		2 /* concurrent read */
#define VIRGO_LOCK_CW		3 /* concurrent write */
#define VIRGO_LOCK_PR		4 /* protected read: shared */
#define VIRGO_LOCK_PW		5 /* protected write: one writer, others may be CR */
#define VIRGO_LOCK_EX		6 /* exclusive */

/* virgo_lock: flags. */
#define VIRGO_LOCK_TRY		(1U << 0) /* EAGAIN instead of waiting */
#define VIRGO_LOCK_ASYNC	(1U << 1) /* EINPROGRESS instead of waiting; an event follows */
#define VIRGO_LOCK_VALID	(1U << 16) /* set: @value is what was written last */

#define VIRGO_LOCK_VALUE	64 /* bytes of a value block */
#define VIRGO_LOCK_MAX_NAME	255 /* bytes of a name, which has one at least */
#define VIRGO_LOCK_FOREVER	0xffffffffU /* @timeout_ms: until the task is killed */

/**
 * struct virgo_lock_args - use a cluster lock
 * @op:         VIRGO_LOCK_OPEN to VIRGO_LOCK_UNLOCK
 * @flags:      VIRGO_LOCK_TRY, VIRGO_LOCK_ASYNC; VIRGO_LOCK_VALID is set
 * @fd:         from OPEN; -1 for OPEN
 * @mode:       VIRGO_LOCK_NL to VIRGO_LOCK_EX, for LOCK and CONVERT
 * @timeout_ms: longest wait, also with VIRGO_LOCK_ASYNC: then the event of its
 *              end has ETIMEDOUT; 0 means the configured deadline
 * @name_len:   bytes at @name
 * @name:       user address of the name
 * @token:      set by LOCK and CONVERT: the fencing token; for UNLOCK: ESTALE
 *              unless the lock has this one; 0 is any
 * @value:      user address of VIRGO_LOCK_VALUE bytes, or 0: set by LOCK and
 *              CONVERT; written by UNLOCK, and by CONVERT to a weaker mode, of
 *              a lock in PW or EX
 *
 * The locks of a session end with its last descriptor. The descriptor is
 * readable (poll, epoll) when there are events; read(2) gives as many
 * struct virgo_lock_event as fit.
 */
struct virgo_lock_args {
	__u32 op;
	__u32 flags;
	__s32 fd;
	__u32 mode;
	__u32 timeout_ms;
	__u32 name_len;
	__aligned_u64 name;
	__aligned_u64 token;
	__aligned_u64 value;
};
#define VIRGO_LOCK_ARGS_SIZE_VER0	48

/* struct virgo_lock_event: kinds. */
#define VIRGO_LOCK_EVENT_GRANTED	1 /* an ASYNC lock or conversion was granted */
#define VIRGO_LOCK_EVENT_BLOCKS		2 /* somebody waits for @mode, whom the lock keeps out */
#define VIRGO_LOCK_EVENT_REFUSED	3 /* an ASYNC one was refused: @error */
#define VIRGO_LOCK_EVENT_LOST		4 /* the cluster went on without this node */
#define VIRGO_LOCK_EVENT_MISSED		5 /* events came for which there was no room */

/**
 * struct virgo_lock_event - what has happened to a lock of a session
 * @token:    its token, if it was granted
 * @kind:     VIRGO_LOCK_EVENT_*
 * @mode:     what was granted or is waited for
 * @error:    errno
 * @name_len: bytes at @name
 * @name:     the lock, with zeros behind it
 *
 * There is room for 64 events with 4096 bytes of names. VIRGO_LOCK_EVENT_MISSED,
 * which names no lock, stands where further ones came until it is read: any
 * lock of the session may have been granted, refused, wanted or lost.
 */
struct virgo_lock_event {
	__aligned_u64 token;
	__u32 kind;
	__u32 mode;
	__u32 error;
	__u32 name_len;
	__u8 name[256];
};

#endif /* _UAPI_LINUX_VIRGO_H */
