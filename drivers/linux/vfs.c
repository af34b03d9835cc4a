// SPDX-License-Identifier: GPL-2.0
/*
 * Files of an exported directory, with given credentials.
 *
 * The directory itself was looked up when the configuration was read, and stays the
 * same whatever its path leads to by now. Names are relative to it, and come from
 * anywhere: the kernel's own beneath-resolution keeps them inside, whatever
 * symbolic links, mounts or renames there are. Exports inside the export are not
 * part of it; where a walk has ended decides that, not what its path looks like.
 * All functions sleep for the disk.
 */
#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/user_namespace.h>
#include <linux/xattr.h>

#include "vfs.h"

/* What every walk keeps to: below the directory, on its mount, no links of /proc. */
#define VIRGO_BENEATH	(LOOKUP_BENEATH | LOOKUP_NO_XDEV | LOOKUP_NO_MAGICLINKS)

/* How often a walk that met with a rename, or a creation with another one, is tried again. */
#define VIRGO_TRIES	8

/* An ordinary user: no group but @gid, no capability. NULL if there is no memory. */
const struct cred *virgo_cred_new(uid_t uid, gid_t gid)
{
	kuid_t kuid = make_kuid(&init_user_ns, uid);
	kgid_t kgid = make_kgid(&init_user_ns, gid);
	struct group_info *groups;
	struct cred *cred;

	if (!uid_valid(kuid) || !gid_valid(kgid))
		return NULL;
	cred = prepare_kernel_cred(&init_task);
	if (!cred)
		return NULL;
	groups = groups_alloc(0);
	if (!groups) {
		put_cred(cred);
		return NULL;
	}
	set_groups(cred, groups);
	put_group_info(groups);
	cred->uid = kuid;
	cred->euid = kuid;
	cred->suid = kuid;
	cred->fsuid = kuid;
	cred->gid = kgid;
	cred->egid = kgid;
	cred->sgid = kgid;
	cred->fsgid = kgid;
	cap_clear(cred->cap_inheritable);
	cap_clear(cred->cap_permitted);
	cap_clear(cred->cap_effective);
	cap_clear(cred->cap_bset);
	cap_clear(cred->cap_ambient);
	return cred;
}

void virgo_cred_put(const struct cred *cred)
{
	put_cred(cred);
}

u32 virgo_umask(void)
{
	return current_umask();
}

/**
 * struct virgo_dirs - the directories of all exports of a configuration
 * @count: how many there are
 * @paths: where each is; without a dentry if it could not be found
 *
 * Does not change once it is in use. A path that is held here pins its mount: umount(8)
 * says EBUSY, as it does for a directory that nfsd exports.
 */
struct virgo_dirs {
	size_t count;
	struct path paths[] __counted_by(count);
};

struct virgo_dirs *virgo_dirs_new(size_t count)
{
	struct virgo_dirs *dirs = kvzalloc_flex(*dirs, paths, count, GFP_KERNEL);

	if (dirs)
		dirs->count = count;
	return dirs;
}

/*
 * The directory at @path, found as the first process finds it and with all
 * privileges: the administrator has named it.
 */
static int virgo_dir(const char *path, struct path *dir)
{
	int err = -ENOENT;

	scoped_with_init_fs() scoped_with_kernel_creds()
		err = kern_path(path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, dir);
	return err;
}

/* Looks up the directory of export @index, before anybody uses @dirs. */
int virgo_dirs_open(struct virgo_dirs *dirs, size_t index, const char *path)
{
	struct path dir;
	int err = virgo_dir(path, &dir);

	if (!err)
		dirs->paths[index] = dir;
	return err;
}

void virgo_dirs_free(struct virgo_dirs *dirs)
{
	size_t i;

	for (i = 0; i < dirs->count; i++)
		path_put(&dirs->paths[i]);
	kvfree(dirs);
}

/* Whether @file is in @dir, as a walk would find it: that does not cross mounts. */
static bool virgo_dir_has(const struct path *dir, const struct file *file)
{
	return dir->dentry && dir->mnt == file->f_path.mnt &&
	       is_subdir(file->f_path.dentry, dir->dentry);
}

/* Whether @file is in directory @index, and in none inside that. */
bool virgo_dirs_has(const struct virgo_dirs *dirs, size_t index, const struct file *file)
{
	const struct path *dir = &dirs->paths[index];
	size_t i;

	if (!virgo_dir_has(dir, file))
		return false;
	for (i = 0; i < dirs->count; i++) {
		const struct path *inner = &dirs->paths[i];

		if (virgo_dir_has(inner, file) && inner->dentry != dir->dentry &&
		    is_subdir(inner->dentry, dir->dentry))
			return false;
	}
	return true;
}

/* The directory of @export; NULL if it was not there when the configuration was read. */
static const struct path *virgo_root(const struct virgo_export *export)
{
	const struct path *root = &export->dirs->paths[export->index];

	return root->dentry ? root : NULL;
}

/*
 * The directory of export @index if it is inside that of @export, and not the same. If it
 * is on another mount, @at is where that is mounted on the mount of @export, so that a
 * rename there would move it; a walk does not reach it (LOOKUP_NO_XDEV). To be put.
 */
static bool virgo_nested(const struct virgo_export *export, size_t index, struct path *at)
{
	const struct path *root = virgo_root(export);
	const struct path *dir = &export->dirs->paths[index];

	if (index == export->index || !dir->dentry)
		return false;
	*at = *dir;
	path_get(at);
	while (at->mnt != root->mnt && follow_up(at))
		;
	if (at->mnt == root->mnt && at->dentry != root->dentry &&
	    is_subdir(at->dentry, root->dentry))
		return true;
	path_put(at);
	return false;
}

/* -EXDEV for what belongs to an export inside this one, whichever way led there. */
static int virgo_check(const struct virgo_export *export, struct dentry *dentry)
{
	const struct path *root = virgo_root(export);
	size_t i;

	for (i = 0; i < export->dirs->count; i++) {
		const struct path *dir = &export->dirs->paths[i];

		/* One that this export is in has all of it: then it is not inside. */
		if (i != export->index && dir->dentry && dir->mnt == root->mnt &&
		    is_subdir(dentry, dir->dentry) && !is_subdir(root->dentry, dir->dentry))
			return -EXDEV;
	}
	return 0;
}

/*
 * -EBUSY for the directory of an export inside this one, and for those that it
 * is in: elsewhere, or by another name, what is in it would be this export's.
 */
static int virgo_check_name(const struct virgo_export *export, struct dentry *dentry)
{
	struct path nested;
	size_t i;
	int err = 0;

	for (i = 0; i < export->dirs->count && !err; i++) {
		if (!virgo_nested(export, i, &nested))
			continue;
		if (is_subdir(nested.dentry, dentry))
			err = -EBUSY;
		path_put(&nested);
	}
	return err;
}

static int virgo_walk(const struct virgo_export *export, const char *name, unsigned int flags,
		      struct path *path)
{
	const struct path *root = virgo_root(export);
	int tries, err = -EAGAIN;

	for (tries = 0; tries < VIRGO_TRIES && err == -EAGAIN; tries++)
		err = vfs_path_lookup(root->dentry, root->mnt, *name ? name : ".",
				      flags | VIRGO_BENEATH, path);
	if (err)
		return err;
	err = virgo_check(export, path->dentry);
	if (err)
		path_put(path);
	return err;
}

static int virgo_may_open(const struct path *path, int flags)
{
	struct inode *inode = d_inode(path->dentry);
	int access = ACC_MODE(flags) | (flags & O_TRUNC ? MAY_WRITE : 0);

	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
		break;
	case S_IFDIR:
		if (access & MAY_WRITE)
			return -EISDIR;
		break;
	case S_IFLNK:
		return -ELOOP;
	default:
		/* Devices, pipes and sockets are of this machine only; a pipe would block. */
		return -ENXIO;
	}
	if (IS_APPEND(inode) && access & MAY_WRITE && (!(flags & O_APPEND) || flags & O_TRUNC))
		return -EPERM;
	return inode_permission(mnt_idmap(path->mnt), inode, MAY_OPEN | access);
}

/* -EAGAIN while somebody has a lease, for which vfs_truncate() would wait. */
static int virgo_empty(const struct path *path)
{
	struct inode *inode = d_inode(path->dentry);
	int err;

	if (__mnt_is_readonly(path->mnt))
		return -EROFS;
	/* While there is a writer nobody gets another lease. */
	err = get_write_access(inode);
	if (err)
		return err;
	err = break_lease(inode, O_WRONLY | O_NONBLOCK);
	if (!err)
		err = vfs_truncate(path, 0);
	put_write_access(inode);
	return err;
}

/*
 * fput() of a kernel thread leaves it to one work of the system, which closes the files of all
 * kernel threads, one after the other: a file system that hangs would keep all of them open.
 * Called without locks, by those who may wait for the file system.
 */
void virgo_file_close(struct file *file)
{
	__fput_sync(file);
}

/* O_TRUNC is allowed or not here, and done by virgo_file_empty(). */
static struct file *virgo_open_existing(const struct virgo_export *export, const char *name,
					int flags)
{
	unsigned int lookup = (flags & O_NOFOLLOW ? 0 : LOOKUP_FOLLOW) |
			      (flags & O_DIRECTORY ? LOOKUP_DIRECTORY : 0);
	struct file *file;
	struct path path;
	int err;

	err = virgo_walk(export, name, lookup, &path);
	if (err)
		return ERR_PTR(err);
	err = virgo_may_open(&path, flags);
	file = err ? ERR_PTR(err) : dentry_open(&path, flags & ~O_TRUNC, current_cred());
	path_put(&path);
	return file;
}

/* The parent of @name. */
static int virgo_find_parent(const struct virgo_export *export, struct filename *name,
			     struct path *parent, struct qstr *last)
{
	int tries, err = -EAGAIN;

	for (tries = 0; tries < VIRGO_TRIES && err == -EAGAIN; tries++)
		err = vfs_path_parent_lookup(name, VIRGO_BENEATH, parent, last,
					     virgo_root(export));
	if (err)
		return err;
	err = virgo_check(export, parent->dentry);
	if (err)
		path_put(parent);
	return err;
}

/* The same, ready for changes there. On success virgo_parent_put() ends it. */
static int virgo_parent(const struct virgo_export *export, struct filename *name,
			struct path *parent, struct qstr *last)
{
	int err;

	err = virgo_find_parent(export, name, parent, last);
	if (err)
		return err;
	err = mnt_want_write(parent->mnt);
	if (err)
		path_put(parent);
	return err;
}

static void virgo_parent_put(struct path *parent)
{
	mnt_drop_write(parent->mnt);
	path_put(parent);
}

/*
 * Creates and opens @child, which is negative; its directory is locked. A file
 * system with an atomic open of its own may open what somebody else has made
 * meanwhile, which O_EXCL forbids, or only look it up: then it is opened here if it
 * was created, and is there already otherwise.
 */
static struct file *virgo_create(struct path *child, int flags, umode_t mode)
{
	struct file *file;
	bool created;

	file = dentry_create(child, (flags & ~O_TRUNC) | O_CREAT | O_EXCL, mode, current_cred());
	if (IS_ERR(file) || file->f_mode & FMODE_OPENED)
		return file;
	created = file->f_mode & FMODE_CREATED && d_is_reg(child->dentry);
	fput(file);
	if (!created)
		return ERR_PTR(-EEXIST);
	return dentry_open(child, flags & ~(O_TRUNC | O_CREAT | O_EXCL), current_cred());
}

/* -EEXIST if there is something of that name. */
static struct file *virgo_open_new(const struct virgo_export *export, const char *name, int flags,
				   umode_t mode)
{
	CLASS(filename_kernel, filename)(name);
	struct path parent, child;
	struct dentry *dentry;
	struct file *file;
	struct qstr last;
	int err;

	err = virgo_parent(export, filename, &parent, &last);
	if (err)
		return ERR_PTR(err);
	/* A name with a slash behind it is a directory's. */
	if (last.name[last.len]) {
		virgo_parent_put(&parent);
		return ERR_PTR(-EISDIR);
	}
	dentry = start_creating_killable(mnt_idmap(parent.mnt), parent.dentry, &last);
	if (IS_ERR(dentry)) {
		file = ERR_CAST(dentry);
	} else {
		child = (struct path){ .mnt = parent.mnt, .dentry = dentry };
		if (d_is_positive(dentry))
			file = ERR_PTR(-EEXIST);
		else
			file = virgo_create(&child, flags, mode);
		end_creating(child.dentry);
	}
	virgo_parent_put(&parent);
	return file;
}

/* Tells file systems apart. */
u32 virgo_export_device(const struct virgo_export *export)
{
	const struct path *root = virgo_root(export);

	return root ? root->mnt->mnt_sb->s_dev : 0;
}

/* @is_cut: by O_TRUNC it is to be cut to nothing, which its caller does. */
struct file *virgo_export_open(const struct virgo_export *export, const char *name, int flags,
			       umode_t mode, bool *is_cut)
{
	struct file *file = ERR_PTR(-ENOENT);
	int tries;

	/* -EAGAIN if somebody has a lease: it is asked for, but may take long to come back. */
	flags |= O_LARGEFILE | O_NONBLOCK;
	if (!virgo_root(export))
		return file;
	scoped_with_init_fs() scoped_with_creds(export->cred) {
		/* Somebody else may create or remove it between the two. */
		for (tries = 0; tries < VIRGO_TRIES; tries++) {
			if ((flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL)) {
				file = virgo_open_existing(export, name, flags);
				*is_cut = flags & O_TRUNC;
				if (file != ERR_PTR(-ENOENT) || !(flags & O_CREAT))
					break;
			}
			file = virgo_open_new(export, name, flags, mode);
			*is_cut = false;
			if (file != ERR_PTR(-EEXIST) || flags & O_EXCL)
				break;
		}
	}
	return file;
}

static int virgo_getattr(const struct path *path, struct virgo_file_stat *stat)
{
	struct kstat k;
	int err;

	err = vfs_getattr(path, &k, STATX_BASIC_STATS, AT_STATX_SYNC_AS_STAT);
	if (err)
		return err;
	*stat = (struct virgo_file_stat){
		.ino = k.ino,
		.size = k.size,
		.blocks = k.blocks,
		.mtime_s = k.mtime.tv_sec,
		.mtime_ns = k.mtime.tv_nsec,
		.mode = k.mode,
		.nlink = k.nlink,
		.uid = from_kuid_munged(&init_user_ns, k.uid),
		.gid = from_kgid_munged(&init_user_ns, k.gid),
	};
	return 0;
}

int virgo_export_stat(const struct virgo_export *export, const char *name, bool follow,
		      struct virgo_file_stat *stat)
{
	struct path path;
	int err;

	if (!virgo_root(export))
		return -ENOENT;
	scoped_with_creds(export->cred) {
		err = virgo_walk(export, name, follow ? LOOKUP_FOLLOW : 0, &path);
		if (!err) {
			err = virgo_getattr(&path, stat);
			path_put(&path);
		}
	}
	return err;
}

static int virgo_unlink(const struct virgo_export *export, const char *name, bool is_dir)
{
	CLASS(filename_kernel, filename)(name);
	struct mnt_idmap *idmap;
	struct dentry *dentry;
	struct path parent;
	struct qstr last;
	int err;

	err = virgo_parent(export, filename, &parent, &last);
	if (err)
		return err;
	idmap = mnt_idmap(parent.mnt);
	dentry = start_removing_killable(idmap, parent.dentry, &last);
	if (IS_ERR(dentry)) {
		err = PTR_ERR(dentry);
	} else {
		err = virgo_check_name(export, dentry);
		if (!err && !is_dir && last.name[last.len])
			err = d_is_dir(dentry) ? -EISDIR : -ENOTDIR;
		if (!err && is_dir)
			err = vfs_rmdir(idmap, d_inode(parent.dentry), dentry, NULL);
		else if (!err)
			err = vfs_unlink(idmap, d_inode(parent.dentry), dentry, NULL);
		end_removing(dentry);
	}
	virgo_parent_put(&parent);
	return err;
}

int virgo_export_unlink(const struct virgo_export *export, const char *name, bool is_dir)
{
	int err;

	if (!virgo_root(export))
		return -ENOENT;
	scoped_with_creds(export->cred)
		err = virgo_unlink(export, name, is_dir);
	return err;
}

static int virgo_rename(const struct virgo_export *export, const char *from, const char *to,
			bool replace)
{
	CLASS(filename_kernel, from_name)(from);
	CLASS(filename_kernel, to_name)(to);
	struct path from_parent, to_parent;
	struct qstr from_last, to_last;
	struct renamedata data = { .flags = replace ? 0 : RENAME_NOREPLACE };
	int err;

	err = virgo_parent(export, from_name, &from_parent, &from_last);
	if (err)
		return err;
	/* On the same mount, for which write access must not be asked for twice. */
	err = virgo_find_parent(export, to_name, &to_parent, &to_last);
	if (err)
		goto out;
	data.mnt_idmap = mnt_idmap(from_parent.mnt);
	data.old_parent = from_parent.dentry;
	data.new_parent = to_parent.dentry;
	err = start_renaming(&data, 0, &from_last, &to_last);
	if (!err) {
		err = virgo_check_name(export, data.old_dentry) ?:
		      virgo_check_name(export, data.new_dentry);
		if (!err && (from_last.name[from_last.len] || to_last.name[to_last.len]) &&
		    !d_is_dir(data.old_dentry))
			err = -ENOTDIR;
		if (!err)
			err = vfs_rename(&data);
		end_renaming(&data);
	}
	path_put(&to_parent);
out:
	virgo_parent_put(&from_parent);
	return err;
}

int virgo_export_rename(const struct virgo_export *export, const char *from, const char *to,
			bool replace)
{
	int err;

	if (!virgo_root(export))
		return -ENOENT;
	scoped_with_creds(export->cred)
		err = virgo_rename(export, from, to, replace);
	return err;
}

/* The directory at @dir alone, as the first process finds it. To be freed. */
static struct virgo_dirs *virgo_dirs_of_one(const char *dir)
{
	struct virgo_dirs *dirs = virgo_dirs_new(1);
	int err;

	if (!dirs)
		return ERR_PTR(-ENOMEM);
	err = virgo_dirs_open(dirs, 0, dir);
	if (err) {
		virgo_dirs_free(dirs);
		return ERR_PTR(err);
	}
	return dirs;
}

/* As the current task, in a directory as the first process sees it. */
int virgo_file_rename(const char *dir, const char *from, const char *to, bool replace)
{
	struct virgo_dirs *dirs = virgo_dirs_of_one(dir);
	const struct virgo_export here = { .dirs = dirs, .cred = current_cred() };
	int err;

	if (IS_ERR(dirs))
		return PTR_ERR(dirs);
	err = virgo_export_rename(&here, from, to, replace);
	virgo_dirs_free(dirs);
	return err;
}

/*
 * Opens @name in directory @dir as the first process sees it, with the current
 * task's credentials. Neither of the two may be a symbolic link.
 */
struct file *virgo_file_open_in(const char *dir, const char *name, int flags, umode_t mode)
{
	struct file *file = ERR_PTR(-ENOENT);
	struct path path;
	int err = -ENOENT;

	flags |= O_NOFOLLOW | O_LARGEFILE | O_NONBLOCK;
	scoped_with_init_fs() {
		err = kern_path(dir, LOOKUP_DIRECTORY, &path);
		if (!err) {
			file = file_open_root(&path, name, flags, mode);
			path_put(&path);
		}
	}
	return err ? ERR_PTR(err) : file;
}

/* Writes directory @dir, as the first process sees it, to disk: the names in it. */
int virgo_dir_sync(const char *dir)
{
	struct file *file = virgo_file_open_in(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	int err;

	if (IS_ERR(file))
		return PTR_ERR(file);
	err = vfs_fsync(file, 0);
	fput(file);
	return err;
}

int virgo_file_exists(const char *dir, const char *name)
{
	struct virgo_dirs *dirs = virgo_dirs_of_one(dir);
	const struct virgo_export here = { .dirs = dirs, .cred = current_cred() };
	struct virgo_file_stat stat;
	int err;

	if (IS_ERR(dirs))
		return PTR_ERR(dirs);
	err = virgo_export_stat(&here, name, false, &stat);
	virgo_dirs_free(dirs);
	return err;
}

static int virgo_mkdir(const struct virgo_export *export, const char *name, umode_t mode)
{
	CLASS(filename_kernel, filename)(name);
	struct dentry *dentry;
	struct path parent;
	struct qstr last;
	int err;

	err = virgo_parent(export, filename, &parent, &last);
	if (err)
		return err;
	dentry = start_creating_killable(mnt_idmap(parent.mnt), parent.dentry, &last);
	if (!IS_ERR(dentry)) {
		if (d_is_positive(dentry)) {
			end_creating(dentry);
			dentry = ERR_PTR(-EEXIST);
		} else {
			dentry = vfs_mkdir(mnt_idmap(parent.mnt), d_inode(parent.dentry), dentry,
					   mode, NULL);
			end_creating(dentry);
		}
	}
	virgo_parent_put(&parent);
	return PTR_ERR_OR_ZERO(dentry);
}

int virgo_export_mkdir(const struct virgo_export *export, const char *name, umode_t mode)
{
	int err;

	if (!virgo_root(export))
		return -ENOENT;
	scoped_with_init_fs() scoped_with_creds(export->cred)
		err = virgo_mkdir(export, name, mode);
	return err;
}

/*
 * Open files are used with the credentials that they were opened with: what is left
 * of a full disk, and the set-user-ID bits, depend on them.
 */
static ssize_t virgo_iter_read(struct file *file, struct iov_iter *iter, loff_t pos)
{
	ssize_t n = -EIO;

	if (S_ISDIR(file_inode(file)->i_mode))
		return -EISDIR;
	scoped_with_creds(file->f_cred)
		n = vfs_iter_read(file, iter, &pos, 0);
	return n;
}

static ssize_t virgo_iter_write(struct file *file, struct iov_iter *iter, loff_t pos)
{
	ssize_t n = -EIO;

	scoped_with_creds(file->f_cred)
		n = vfs_iter_write(file, iter, &pos, 0);
	return n;
}

ssize_t virgo_file_read(struct file *file, void *data, size_t len, loff_t pos)
{
	struct kvec part = { .iov_base = data, .iov_len = len };
	struct iov_iter iter;

	iov_iter_kvec(&iter, ITER_DEST, &part, 1, len);
	return virgo_iter_read(file, &iter, pos);
}

/* Tells file systems apart. */
u32 virgo_file_device(struct file *file)
{
	return file_inode(file)->i_sb->s_dev;
}

bool virgo_file_is_writable(const struct file *file)
{
	return file->f_mode & FMODE_WRITE;
}

/* Tells inodes apart, while the file is open. */
const void *virgo_file_inode(struct file *file)
{
	return file_inode(file);
}

/* As O_TRUNC does with a file that is there: permissions are those of its opener. */
int virgo_file_empty(struct file *file)
{
	int err = -EIO;

	scoped_with_creds(file->f_cred)
		err = virgo_empty(&file->f_path);
	return err;
}

/* Extended attributes are the kernel's own here: whoever has opened the file need not have them. */
ssize_t virgo_file_attribute(struct file *file, const char *name, void *value, size_t size)
{
	ssize_t n = -EIO;

	scoped_with_kernel_creds()
		n = vfs_getxattr(file_mnt_idmap(file), file->f_path.dentry, name, value, size);
	return n;
}

int virgo_file_set_attribute(struct file *file, const char *name, const void *value, size_t size)
{
	int err = mnt_want_write_file(file);

	if (err)
		return err;
	scoped_with_kernel_creds()
		err = vfs_setxattr(file_mnt_idmap(file), file->f_path.dentry, name, value, size, 0);
	mnt_drop_write_file(file);
	return err;
}

/* Whether each write is on the disk when it returns: opened, mounted or marked so. */
bool virgo_file_is_sync(struct file *file)
{
	return file->f_flags & O_DSYNC || IS_SYNC(file_inode(file));
}

ssize_t virgo_file_write(struct file *file, const void *data, size_t len, loff_t pos)
{
	struct kvec part = { .iov_base = (void *)data, .iov_len = len };
	struct iov_iter iter;

	iov_iter_kvec(&iter, ITER_SOURCE, &part, 1, len);
	return virgo_iter_write(file, &iter, pos);
}

/* As above, with memory of the current program. */
ssize_t virgo_file_read_user(struct file *file, void __user *data, size_t len, loff_t pos)
{
	struct iov_iter iter;

	return import_ubuf(ITER_DEST, data, len, &iter) ?: virgo_iter_read(file, &iter, pos);
}

ssize_t virgo_file_write_user(struct file *file, const void __user *data, size_t len, loff_t pos)
{
	struct iov_iter iter;

	return import_ubuf(ITER_SOURCE, (void __user *)data, len, &iter) ?:
	       virgo_iter_write(file, &iter, pos);
}

/* The task is none of a program, so that fput() leaves closing to a work of the system. */
bool virgo_in_kernel_thread(void)
{
	return current->flags & PF_KTHREAD;
}

int virgo_file_sync(struct file *file, bool data_only)
{
	return vfs_fsync(file, data_only);
}

/*
 * As ftruncate(2): opening the file for writing was the check of its permissions, which may
 * have changed since, or never have allowed it to anybody but its maker. vfs_truncate() would
 * check them again.
 */
int virgo_file_truncate(struct file *file, loff_t size)
{
	struct dentry *dentry = file->f_path.dentry;
	struct inode *inode = d_inode(dentry);
	struct iattr attr = {
		.ia_valid = ATTR_SIZE | ATTR_MTIME | ATTR_CTIME | ATTR_FILE,
		.ia_size = size,
		.ia_file = file,
	};
	int err = -EIO;

	if (!S_ISREG(inode->i_mode) || !(file->f_mode & FMODE_WRITE))
		return -EINVAL;
	if (IS_APPEND(file_inode(file)))
		return -EPERM;
	sb_start_write(inode->i_sb);
	scoped_with_creds(file->f_cred) {
		err = inode_lock_killable(inode);
		if (!err) {
			err = file_remove_privs(file) ?:
			      notify_change(file_mnt_idmap(file), dentry, &attr, NULL);
			inode_unlock(inode);
		}
	}
	sb_end_write(inode->i_sb);
	return err;
}

int virgo_file_stat(struct file *file, struct virgo_file_stat *stat)
{
	int err = -EIO;

	scoped_with_creds(file->f_cred)
		err = virgo_getattr(&file->f_path, stat);
	return err;
}

/**
 * struct virgo_dir - entries on their way from a directory
 * @ctx:   how the file system hands them over
 * @data:  where they go
 * @used:  bytes written
 * @extra: room that each entry needs beyond its own bytes, for what is added later
 * @left:  room for that
 */
struct virgo_dir {
	struct dir_context ctx;
	u8 *data;
	size_t used;
	size_t extra;
	size_t left;
};

static bool virgo_dir_emit(struct dir_context *ctx, const char *name, int len, loff_t pos,
			   u64 ino, unsigned int type)
{
	struct virgo_dir *dir = container_of(ctx, struct virgo_dir, ctx);
	struct virgo_dir_entry entry = { .ino = ino, .type = type, .len = len };
	size_t size = sizeof(entry) + len;

	if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
		return true;
	/* No file system of Linux has longer names; with a slash it leads elsewhere. */
	if (len <= 0 || len > NAME_MAX || memchr(name, '/', len))
		return true;
	if (dir->left < size + dir->extra)
		return false;
	memcpy(dir->data + dir->used, &entry, sizeof(entry));
	memcpy(dir->data + dir->used + sizeof(entry), name, len);
	dir->used += size;
	dir->left -= size + dir->extra;
	return true;
}

/*
 * Writes entries from @pos on, and leaves there where to go on. Each counts for
 * @extra bytes more than it has. Returns the bytes written; 0 at the end.
 */
ssize_t virgo_dir_read(struct file *file, loff_t *pos, void *data, size_t len, size_t extra)
{
	struct virgo_dir dir = {
		.ctx.actor = virgo_dir_emit,
		.data = data,
		.extra = extra,
		.left = len,
	};
	int err = -EIO;
	loff_t start;

	start = vfs_llseek(file, *pos, SEEK_SET);
	if (start < 0)
		return start;
	scoped_with_creds(file->f_cred)
		err = iterate_dir(file, &dir.ctx);
	*pos = dir.ctx.pos;
	if (dir.used)
		return dir.used;
	return err;
}

/*
 * What is known of an entry of a directory; of a symbolic link itself. -EXDEV if
 * something is mounted there.
 */
int virgo_dir_stat(struct file *file, const char *name, size_t len, struct virgo_file_stat *stat)
{
	struct path path = { .mnt = file->f_path.mnt };
	struct qstr last = QSTR_LEN(name, len);
	int err = -EIO;

	scoped_with_creds(file->f_cred) {
		path.dentry = lookup_one_positive_killable(mnt_idmap(path.mnt), &last,
							   file->f_path.dentry);
		if (IS_ERR(path.dentry)) {
			err = PTR_ERR(path.dentry);
		} else {
			err = d_mountpoint(path.dentry) ? -EXDEV : virgo_getattr(&path, stat);
			dput(path.dentry);
		}
	}
	return err;
}

/* A file that is in no directory. */
struct file *virgo_anon_file(const char *name, const struct file_operations *operations,
			     void *data, int flags)
{
	return anon_inode_getfile(name, operations, data, flags);
}
