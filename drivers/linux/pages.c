// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes on their way to a socket that are not copied into it: those of a file
 * where the kernel has them, mostly in its page cache, and those of a program
 * in pages that nobody else has. As with sendfile(2), who changes the file
 * meanwhile may change what arrives.
 */
#include <linux/bvec.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/string.h>
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

/*
 * Whether what the kernel has of a file is found without waiting for anybody. File
 * systems of other machines say that (FMODE_NOWAIT) and ask all the same whether it is
 * still true; tmpfs does not say it.
 */
static bool virgo_caches(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	/* Whoever watches reads is asked, and may be slow to answer. */
	if (FMODE_FSNOTIFY_ACCESS_PERM(file->f_mode) || FMODE_FSNOTIFY_HSM(file->f_mode))
		return false;
	/* Knows the size of a file only while it has a lock of its cluster. */
	if (!strcmp(sb->s_type->name, "ocfs2"))
		return false;
	return (file->f_mode & FMODE_NOWAIT && sb->s_bdev) || shmem_mapping(file->f_mapping);
}

/*
 * The folio with byte @at, if it can be read now; NULL if the disk would have to be
 * waited for, or is to be asked to read ahead.
 */
static struct folio *virgo_cached_folio(struct file *file, loff_t at)
{
	struct folio *folio = filemap_get_folio(file->f_mapping, at >> PAGE_SHIFT);

	if (IS_ERR(folio))
		return NULL;
	if (folio_test_uptodate(folio) && !folio_test_readahead(folio) &&
	    !folio_contain_hwpoisoned_page(folio))
		return folio;
	folio_put(folio);
	return NULL;
}

/* Gives back what @pages refers to. */
static void virgo_pages_put(struct virgo_pages *pages)
{
	while (pages->count)
		put_page(pages->vecs[--pages->count].bv_page);
}

/*
 * Takes up to @len bytes at @pos into @pages, which is empty, from where the page cache
 * has them: fewer at the end of the file, or if they lie on too many pages. As a read
 * does it, but -EAGAIN if that would wait for the disk, or if this is no regular file;
 * and without noting the time of the access, which may wait for the file system's journal.
 */
static int virgo_pages_gather(struct virgo_pages *pages, struct file *file, size_t len, loff_t pos)
{
	struct inode *inode = file->f_mapping->host;
	int err;

	if (!S_ISREG(file_inode(file)->i_mode) || !virgo_caches(file))
		return -EAGAIN;
	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	/* The caller's affair, as in sendfile(2): a security module may have changed its mind. */
	err = rw_verify_area(READ, file, &pos, len);
	if (err)
		return err;
	while (pages->len < len && pages->count < VIRGO_PAGES && pos < i_size_read(inode)) {
		struct folio *folio = virgo_cached_folio(file, pos);
		size_t part = min(len - pages->len, PAGE_SIZE - offset_in_page(pos));
		loff_t size;

		if (!folio) {
			virgo_pages_put(pages);
			return -EAGAIN;
		}
		/* Once more: the folio may be older than what has been added to the file. */
		size = i_size_read(inode);
		if (pos >= size) {
			folio_put(folio);
			break;
		}
		part = min_t(u64, part, size - pos);
		folio_mark_accessed(folio);
		bvec_set_page(&pages->vecs[pages->count++],
			      folio_file_page(folio, pos >> PAGE_SHIFT), part,
			      offset_in_page(pos));
		pages->len += part;
		pos += part;
	}
	return 0;
}

/* What virgo_pages_gather() takes, to be sent. */
struct virgo_pages *virgo_pages_cached(struct file *file, size_t len, loff_t pos)
{
	struct virgo_pages *pages = kzalloc_obj(*pages, GFP_KERNEL);
	int err;

	if (!pages)
		return ERR_PTR(-ENOMEM);
	err = virgo_pages_gather(pages, file, len, pos);
	if (!err)
		return pages;
	kfree(pages);
	return ERR_PTR(err);
}

/* Copies what virgo_pages_gather() takes to @data. Returns how many bytes. */
ssize_t virgo_file_read_cached(struct file *file, void *data, size_t len, loff_t pos)
{
	struct virgo_pages pages = {};
	ssize_t n;

	n = virgo_pages_gather(&pages, file, len, pos);
	if (n)
		return n;
	n = virgo_pages_copy(&pages, 0, data, len);
	virgo_pages_put(&pages);
	return n;
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
	virgo_pages_put(pages);
	kfree(pages);
}
