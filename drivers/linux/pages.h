/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bytes of a file on their way to a socket, where the kernel has them. See pages.c.
 */
#ifndef VIRGO_LINUX_PAGES_H
#define VIRGO_LINUX_PAGES_H

#include <linux/types.h>

struct file;
struct socket;
struct virgo_pages;

struct virgo_pages *virgo_pages_read(struct file *file, size_t len, loff_t pos);
size_t virgo_pages_left(const struct virgo_pages *pages);
ssize_t virgo_pages_send(struct virgo_pages *pages, struct socket *sock);
void virgo_pages_free(struct virgo_pages *pages);

#endif /* VIRGO_LINUX_PAGES_H */
