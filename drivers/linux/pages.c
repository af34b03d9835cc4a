// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes on their way to a socket that are not copied into it: those of a file
 * where the kernel has them, mostly in its page cache, and those of a program
 * in pages that nobody else has. As with sendfile(2), who changes the file
 * meanwhile may change what arrives.
 */
#include <linux/bvec.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/splice.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "pages.h"

/* As many as 64 KiB can touch. */
#define VIRGO_PAGES	17

/* @len bytes on @count pages, to each of which a reference is held. */
struct virgo_pages {
	size_t len;
	unsigned int count;
	struct bio_vec vecs[VIRGO_PAGES];
};

/* Takes what a pipe buffer shows; 0 if there is no room for it. */
static int virgo_take(struct pipe_inode_info *pipe, struct pipe_buffer *buf,
		      struct splice_desc *sd)
{
	struct virgo_pages *pages = sd->u.data;

	if (pages->count == VIRGO_PAGES)
		return 0;
	get_page(buf->page);
	bvec_set_page(&pages->vecs[pages->count++], buf->page, sd->len, buf->offset);
	pages->len += sd->len;
	return sd->len;
}

static int virgo_take_all(struct pipe_inode_info *pipe, struct splice_desc *sd)
{
	return __splice_from_pipe(pipe, sd, virgo_take);
}

/*
 * Up to @len bytes at @pos, fewer at the end of the file, or if they lie on too
 * many pages. -EINVAL if this is not a regular file. Sleeps for the disk.
 */
struct virgo_pages *virgo_pages_read(struct file *file, size_t len, loff_t pos)
{
	struct virgo_pages *pages = kzalloc_obj(*pages, GFP_KERNEL);
	struct splice_desc sd = {
		.total_len = len,
		.pos = pos,
		.u.data = pages,
	};
	ssize_t n = -EIO;

	if (!pages)
		return ERR_PTR(-ENOMEM);
	/* The caller's affair, as in sendfile(2): a security module may have changed its mind. */
	n = rw_verify_area(READ, file, &pos, len);
	if (n < 0)
		goto free;
	scoped_with_creds(file->f_cred)
		n = splice_direct_to_actor(file, &sd, virgo_take_all);
	if (n >= 0)
		return pages;

free:
	virgo_pages_free(pages);
	return ERR_PTR(n);
}

/*
 * A copy of @len bytes of the current program, at most 64 KiB. Its memory control
 * group pays for it. Sleeps for the program.
 */
struct virgo_pages *virgo_pages_copy_user(const void __user *from, size_t len)
{
	struct virgo_pages *pages = kzalloc_obj(*pages, GFP_KERNEL_ACCOUNT);
	struct page *page;
	size_t part;
	int err;

	if (!pages)
		return ERR_PTR(-ENOMEM);
	while (pages->len < len) {
		err = -EMSGSIZE;
		if (pages->count == VIRGO_PAGES)
			goto free;
		err = -ENOMEM;
		page = alloc_page(GFP_KERNEL_ACCOUNT);
		if (!page)
			goto free;
		part = min(len - pages->len, PAGE_SIZE);
		bvec_set_page(&pages->vecs[pages->count++], page, part, 0);
		err = -EFAULT;
		if (copy_from_user(page_address(page), from + pages->len, part))
			goto free;
		pages->len += part;
	}
	return pages;

free:
	virgo_pages_free(pages);
	return ERR_PTR(err);
}

size_t virgo_pages_len(const struct virgo_pages *pages)
{
	return pages->len;
}

/*
 * Hands the bytes from @sent on to the network. Returns how many, or an error;
 * -EAGAIN if there is no room.
 */
ssize_t virgo_pages_send(const struct virgo_pages *pages, struct socket *sock, size_t sent)
{
	struct msghdr msg = {
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_SPLICE_PAGES,
	};

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, pages->vecs, pages->count, pages->len);
	iov_iter_advance(&msg.msg_iter, sent);
	return sock_sendmsg(sock, &msg);
}

/* Copies the bytes from @from on, at most @len. Returns how many. */
size_t virgo_pages_copy(const struct virgo_pages *pages, size_t from, void *to, size_t len)
{
	struct iov_iter iter;

	iov_iter_bvec(&iter, ITER_SOURCE, pages->vecs, pages->count, pages->len);
	iov_iter_advance(&iter, from);
	return copy_from_iter(to, len, &iter);
}

void virgo_pages_free(struct virgo_pages *pages)
{
	while (pages->count)
		put_page(pages->vecs[--pages->count].bv_page);
	kfree(pages);
}
