// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/virgo: a program that can open it may use VIRGO.
 *
 * What VIRGO does for a program is done on another node, or here by the kernel
 * with other credentials, where the rules that confine the program do not reach.
 * So the right to have it done is tied to a file, which all of them can grant or
 * withhold: the permissions of the file, the rules of a security module
 * (security_file_open(): Landlock, AppArmor, SELinux and others), the device
 * rules of a control group, and the mount name space or root directory of a
 * container, which has the file or has not.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "device.h"

static const struct file_operations virgo_device_ops = {
	.owner = THIS_MODULE,
	.llseek = noop_llseek,
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
