/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bytes on their way to a socket that are not copied into it. See pages.c.
 */
#ifndef VIRGO_LINUX_PAGES_H
#define VIRGO_LINUX_PAGES_H

#include <linux/types.h>

struct file;
struct socket;
struct virgo_pages;

struct virgo_pages *virgo_pages_cached(struct file *file, size_t len, loff_t pos);
ssize_t virgo_file_read_cached(struct file *file, void *data, size_t len, loff_t pos);
struct virgo_pages *virgo_pages_copy_user(const void __user *from, size_t len);
size_t virgo_pages_len(const struct virgo_pages *pages);
ssize_t virgo_pages_send(const struct virgo_pages *pages, struct socket *sock, size_t sent);
size_t virgo_pages_copy(const struct virgo_pages *pages, size_t from, void *to, size_t len);
void virgo_pages_free(struct virgo_pages *pages);

#endif /* VIRGO_LINUX_PAGES_H */
