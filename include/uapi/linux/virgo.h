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
 *
 * Set refuses a range that ends beyond the allocation (EFBIG); get stops at
 * the end of the allocation. Both return the number of bytes copied.
 */
struct virgo_data_args {
	__aligned_u64 id;
	__aligned_u64 offset;
	__aligned_u64 len;
	__aligned_u64 data;
	__u32 flags;
	__u32 timeout_ms;
};
#define VIRGO_DATA_ARGS_SIZE_VER0	40

/**
 * struct virgo_free_args - give an allocation back
 * @id:         from virgo_malloc or virgo_malloc2
 * @flags:      must be 0
 * @timeout_ms: deadline of the whole call; 0 means the configured one
 */
struct virgo_free_args {
	__aligned_u64 id;
	__u32 flags;
	__u32 timeout_ms;
};
#define VIRGO_FREE_ARGS_SIZE_VER0	16

#endif /* _UAPI_LINUX_VIRGO_H */
