// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes of a file on their way to a socket, where the kernel has them: mostly in
 * its page cache, so that they are not copied. As with sendfile(2), who changes
 * the file meanwhile may change what arrives.
 */
#include <linux/bvec.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/splice.h>
#include <linux/uio.h>

#include "pages.h"

/* As many as 64 KiB can touch. */
#define VIRGO_PAGES	17

/* References to pages @first to @count - 1 are held, those before are sent. */
struct virgo_pages {
	size_t left;
	unsigned int first;
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
	pages->left += sd->len;
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
	scoped_with_creds(file->f_cred)
		n = splice_direct_to_actor(file, &sd, virgo_take_all);
	if (n < 0) {
		virgo_pages_free(pages);
		return ERR_PTR(n);
	}
	return pages;
}

size_t virgo_pages_left(const struct virgo_pages *pages)
{
	return pages->left;
}

/* Hands pages to the network. Returns how many bytes, or an error; -EAGAIN if there is no room. */
ssize_t virgo_pages_send(struct virgo_pages *pages, struct socket *sock)
{
	struct msghdr msg = {
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_SPLICE_PAGES,
	};
	struct bio_vec *vec;
	unsigned int part;
	int n, rest;

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, pages->vecs + pages->first,
		      pages->count - pages->first, pages->left);
	n = sock_sendmsg(sock, &msg);
	for (rest = n; rest > 0; rest -= part) {
		vec = &pages->vecs[pages->first];
		part = min_t(unsigned int, rest, vec->bv_len);
		vec->bv_offset += part;
		vec->bv_len -= part;
		pages->left -= part;
		if (!vec->bv_len) {
			put_page(vec->bv_page);
			pages->first++;
		}
	}
	return n;
}

void virgo_pages_free(struct virgo_pages *pages)
{
	while (pages->first < pages->count)
		put_page(pages->vecs[pages->first++].bv_page);
	kfree(pages);
}
