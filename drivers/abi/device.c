// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/virgo: the calls by ioctl, and the right to some of them.
 *
 * Beside the calls it has VIRGO_IOC_SKBUFF: see skbuff_ioctl.c.
 *
 * On a kernel without VIRGO's system calls the device is the only door to them.
 * It has one ioctl for each, with the same structures, sizes and errors; a
 * number that is no call is -ENOTTY.
 *
 * What VIRGO does for a program is done on another node, or here by the kernel
 * with other credentials, where the rules that confine the program do not reach.
 * So the right to have it done is tied to a file, which all of them can grant or
 * withhold: the permissions of the file, the rules of a security module
 * (security_file_open(): Landlock, AppArmor, SELinux and others), the device
 * rules of a control group, and the mount name space or root directory of a
 * container, which has the file or has not. The calls that need this right ask
 * virgo_device_check() by whichever door they came: a descriptor may have been
 * handed over by somebody else.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/ioctl.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <uapi/linux/virgo.h>
#include <uapi/linux/virgo_skbuff.h>

#include "device.h"
#include "served.h"

DEFINE_CLASS(virgo_served, const struct virgo_calls *, virgo_served_put(_T),
	     virgo_served_get(service), enum virgo_service service)

#define VIRGO_CALL(service, op, ...)					\
({									\
	CLASS(virgo_served, calls)(service);				\
	calls && calls->op ? calls->op(calls, ##__VA_ARGS__) : -ENOSYS;	\
})

/* The calls whose arguments are not a structure: they are in an array here. */
static long virgo_device_first_call(unsigned int number, void __user *from, size_t size)
{
	struct virgo_first_args args;
	u64 *a = args.args;

	if (size != sizeof(args))
		return -EINVAL;
	if (copy_from_user(&args, from, sizeof(args)))
		return -EFAULT;

	/* Each is cut to its type, as the system call stubs do it. */
	switch (number) {
	case __NR_virgo_clone:
		return VIRGO_CALL(VIRGO_CPUPOOLING, clone, u64_to_user_ptr(a[0]));
	case __NR_virgo_malloc:
		return VIRGO_CALL(VIRGO_MEMPOOL, malloc, (int)a[0], u64_to_user_ptr(a[1]));
	case __NR_virgo_set:
		return VIRGO_CALL(VIRGO_MEMPOOL, set, a[0], u64_to_user_ptr(a[1]));
	case __NR_virgo_get:
		return VIRGO_CALL(VIRGO_MEMPOOL, get, a[0], u64_to_user_ptr(a[1]));
	case __NR_virgo_free:
		return VIRGO_CALL(VIRGO_MEMPOOL, free, a[0]);
	case __NR_virgo_open:
		return VIRGO_CALL(VIRGO_CLOUDFS, open, u64_to_user_ptr(a[0]));
	case __NR_virgo_close:
		return VIRGO_CALL(VIRGO_CLOUDFS, close, (long)a[0]);
	case __NR_virgo_read:
		return VIRGO_CALL(VIRGO_CLOUDFS, read, (long)a[0], u64_to_user_ptr(a[1]),
				  (int)a[2], (int)a[3]);
	case __NR_virgo_write:
		return VIRGO_CALL(VIRGO_CLOUDFS, write, (long)a[0], u64_to_user_ptr(a[1]),
				  (int)a[2], (int)a[3]);
	}
	return -ENOTTY;
}

static long virgo_device_call(unsigned int number, void __user *args, size_t size)
{
	switch (number) {
	case __NR_virgo_clone ... __NR_virgo_write:
		return virgo_device_first_call(number, args, size);
	case __NR_virgo_clone2:
		return VIRGO_CALL(VIRGO_CPUPOOLING, clone2, args, size);
	case __NR_virgo_wait:
		return VIRGO_CALL(VIRGO_CPUPOOLING, wait, args, size);
	case __NR_virgo_cancel:
		return VIRGO_CALL(VIRGO_CPUPOOLING, cancel, args, size);
	case __NR_virgo_malloc2:
		return VIRGO_CALL(VIRGO_MEMPOOL, malloc2, args, size);
	case __NR_virgo_set2:
		return VIRGO_CALL(VIRGO_MEMPOOL, set2, args, size);
	case __NR_virgo_get2:
		return VIRGO_CALL(VIRGO_MEMPOOL, get2, args, size);
	case __NR_virgo_free2:
		return VIRGO_CALL(VIRGO_MEMPOOL, free2, args, size);
	case __NR_virgo_open2:
		return VIRGO_CALL(VIRGO_CLOUDFS, open2, args, size);
	case __NR_virgo_read2:
		return VIRGO_CALL(VIRGO_CLOUDFS, read2, args, size);
	case __NR_virgo_write2:
		return VIRGO_CALL(VIRGO_CLOUDFS, write2, args, size);
	case __NR_virgo_fsync:
		return VIRGO_CALL(VIRGO_CLOUDFS, fsync, args, size);
	case __NR_virgo_stat:
		return VIRGO_CALL(VIRGO_CLOUDFS, stat, args, size);
	case __NR_virgo_truncate:
		return VIRGO_CALL(VIRGO_CLOUDFS, truncate, args, size);
	case __NR_virgo_unlink:
		return VIRGO_CALL(VIRGO_CLOUDFS, unlink, args, size);
	case __NR_virgo_rename:
		return VIRGO_CALL(VIRGO_CLOUDFS, rename, args, size);
	case __NR_virgo_mkdir:
		return VIRGO_CALL(VIRGO_CLOUDFS, mkdir, args, size);
	case __NR_virgo_readdir:
		return VIRGO_CALL(VIRGO_CLOUDFS, readdir, args, size);
	case __NR_virgo_queue:
		return VIRGO_CALL(VIRGO_QUEUE, queue, args, size);
	case __NR_virgo_lock:
		return VIRGO_CALL(VIRGO_CLOUDSYNC, lock, args, size);
	}
	return -ENOTTY;
}

static long virgo_device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const fmode_t mode = FMODE_READ | FMODE_WRITE;
	bool is_skbuff = _IOC_TYPE(cmd) == _IOC_TYPE(VIRGO_IOC_SKBUFF) &&
			 _IOC_NR(cmd) == _IOC_NR(VIRGO_IOC_SKBUFF);
	long result;

	if ((_IOC_TYPE(cmd) != VIRGO_IOC_TYPE && !is_skbuff) ||
	    _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE))
		return -ENOTTY;
	/* As for the check below: a descriptor to look at is no right. */
	if ((file->f_mode & mode) != mode)
		return -EBADF;
	if (is_skbuff)
		return virgo_skbuff_ioctl((void __user *)arg, _IOC_SIZE(cmd));
	/*
	 * ioctl(2) returns an int: if more than INT_MAX bytes were copied, INT_MAX is returned.
	 * A caller that repeats the rest copies the same bytes again.
	 */
	result = virgo_device_call(__NR_virgo_clone + _IOC_NR(cmd), (void __user *)arg,
				   _IOC_SIZE(cmd));
	return min(result, INT_MAX);
}

static const struct file_operations virgo_device_ops = {
	.owner = THIS_MODULE,
	.llseek = noop_llseek,
	.unlocked_ioctl = virgo_device_ioctl,
};

static struct miscdevice virgo_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "virgo",
	.fops = &virgo_device_ops,
	.mode = 0666,
};

int virgo_device_register(void)
{
	return misc_register(&virgo_device);
}

void virgo_device_unregister(void)
{
	misc_deregister(&virgo_device);
}

/*
 * 0 if the current task can open the device for reading and writing, with its own
 * credentials, by the path that it sees; otherwise what opening it fails with.
 * -ENODEV if what it sees there is something else. Sleeps.
 */
int virgo_device_check(void)
{
	struct file *file = filp_open("/dev/virgo", O_RDWR | O_NONBLOCK, 0);
	bool is_ours;

	if (IS_ERR(file))
		return PTR_ERR(file);
	is_ours = file->f_op == &virgo_device_ops;
	fput(file);
	return is_ours ? 0 : -ENODEV;
}
