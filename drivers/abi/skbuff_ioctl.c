// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctl of /dev/virgo that reports the queues of a socket: of one that the
 * caller has a descriptor of, or one after the other of VIRGO's own.
 *
 * Where what comes and goes between others lies, and by which numbers, is told to
 * those only who administer the network, whoever may use the device.
 */
#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/virgo_skbuff.h>

#include "device.h"
#include "skbuff.h"

/* The file of @fd is held while its socket is read: it is not released meanwhile. */
static int virgo_skbuff_of_fd(int fd, struct virgo_skbuff_report *report)
{
	CLASS(fd, file)(fd);
	struct socket *sock;

	if (fd_empty(file))
		return -EBADF;
	sock = sock_from_file(fd_file(file));
	if (!sock || !sock->sk)
		return -ENOTSOCK;
	return virgo_skbuff_read_wait(sock, report);
}

/* Sleeps. */
long virgo_skbuff_ioctl(void __user *from, size_t size)
{
	struct virgo_skbuff_report *report __free(kfree) = NULL;
	struct virgo_skbuff_args args;
	void __user *to;
	int err;

	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	if (size < sizeof(args))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(&args, sizeof(args), from, size);
	if (err)
		return err;
	if (args.flags || args.reserved || (args.fd != -1 && args.number))
		return -EINVAL;
	if (args.size > PAGE_SIZE)
		return -E2BIG;

	report = kzalloc_obj(*report);
	if (!report)
		return -ENOMEM;
	err = args.fd == -1 ? virgo_own_sock_read(args.number, report) :
			      virgo_skbuff_of_fd(args.fd, report);
	if (err)
		return err;
	to = u64_to_user_ptr(args.report);
	if (copy_to_user(to, report, min(args.size, sizeof(*report))))
		return -EFAULT;
	if (args.size > sizeof(*report) &&
	    clear_user(to + sizeof(*report), args.size - sizeof(*report)))
		return -EFAULT;
	return 0;
}
