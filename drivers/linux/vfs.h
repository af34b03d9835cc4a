/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files of an exported directory, with given credentials. See vfs.c.
 */
#ifndef VIRGO_LINUX_VFS_H
#define VIRGO_LINUX_VFS_H

#include <linux/types.h>

struct cred;
struct file;
struct file_operations;

/**
 * struct virgo_file_stat - what is known of a file
 * @ino:      number of the inode
 * @size:     bytes
 * @blocks:   units of 512 bytes that it takes on the disk
 * @mtime_s:  time of the last change of its content, seconds
 * @mtime_ns: nanoseconds
 * @mode:     kind and permissions, as in stat(2)
 * @nlink:    names
 * @uid:      owner, in the initial user name space
 * @gid:      group, likewise
 */
struct virgo_file_stat {
	u64 ino;
	u64 size;
	u64 blocks;
	s64 mtime_s;
	u32 mtime_ns;
	u32 mode;
	u32 nlink;
	u32 uid;
	u32 gid;
	u32 reserved;
};

/**
 * struct virgo_dir_entry - the start of an entry that virgo_dir_read() writes; the name follows
 * @ino:  number of the inode
 * @type: DT_*
 * @len:  bytes of the name
 *
 * Entries lie one behind the other, without padding.
 */
struct virgo_dir_entry {
	u64 ino;
	u8 type;
	u8 len;
} __packed;

const struct cred *virgo_cred_new(uid_t uid, gid_t gid);
void virgo_cred_put(const struct cred *cred);
u32 virgo_umask(void);

struct virgo_dirs;

struct virgo_dirs *virgo_dirs_new(size_t count);
int virgo_dirs_open(struct virgo_dirs *dirs, size_t index, const char *path);
void virgo_dirs_free(struct virgo_dirs *dirs);
bool virgo_dirs_has(const struct virgo_dirs *dirs, size_t index, const struct file *file);

/**
 * struct virgo_export - an exported directory, and who uses it
 * @dirs:  all exported directories
 * @index: which of them this is
 * @cred:  with whose credentials it is used
 */
struct virgo_export {
	const struct virgo_dirs *dirs;
	size_t index;
	const struct cred *cred;
};

u32 virgo_export_device(const struct virgo_export *export);
struct file *virgo_export_open(const struct virgo_export *export, const char *name, int flags,
			       umode_t mode, bool *is_cut);
int virgo_export_stat(const struct virgo_export *export, const char *name, bool follow,
		      struct virgo_file_stat *stat);
int virgo_file_rename(const char *dir, const char *from, const char *to, bool replace);
struct file *virgo_file_open_in(const char *dir, const char *name, int flags, umode_t mode);
int virgo_dir_sync(const char *dir);
int virgo_file_exists(const char *dir, const char *name);
int virgo_export_unlink(const struct virgo_export *export, const char *name, bool is_dir);
int virgo_export_rename(const struct virgo_export *export, const char *from, const char *to,
			bool replace);
int virgo_export_mkdir(const struct virgo_export *export, const char *name, umode_t mode);

ssize_t virgo_file_read(struct file *file, void *data, size_t len, loff_t pos);
u32 virgo_file_device(struct file *file);
bool virgo_file_is_writable(const struct file *file);
bool virgo_file_is_sync(struct file *file);
ssize_t virgo_file_write(struct file *file, const void *data, size_t len, loff_t pos);
ssize_t virgo_file_read_user(struct file *file, void __user *data, size_t len, loff_t pos);
ssize_t virgo_file_write_user(struct file *file, const void __user *data, size_t len, loff_t pos);
const void *virgo_file_inode(struct file *file);
int virgo_file_empty(struct file *file);
ssize_t virgo_file_attribute(struct file *file, const char *name, void *value, size_t size);
int virgo_file_set_attribute(struct file *file, const char *name, const void *value, size_t size);
void virgo_file_close(struct file *file);
bool virgo_in_kernel_thread(void);
int virgo_file_sync(struct file *file, bool data_only);
int virgo_file_truncate(struct file *file, loff_t size);
int virgo_file_stat(struct file *file, struct virgo_file_stat *stat);
ssize_t virgo_dir_read(struct file *file, loff_t *pos, void *data, size_t len, size_t extra);
int virgo_dir_stat(struct file *file, const char *name, size_t len, struct virgo_file_stat *stat);

struct file *virgo_anon_file(const char *name, const struct file_operations *operations,
			     void *data, int flags);

#endif /* VIRGO_LINUX_VFS_H */
