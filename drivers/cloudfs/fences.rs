// SPDX-License-Identifier: GPL-2.0

//! The locks that guard files of this node, as [`virgo_proto::fence`] decides.
//!
//! A fence belongs to an inode, whatever names and export lead to it. It is kept in the extended attribute
//! [`ATTRIBUTE`] of the file, which only privileged programs of this node can change, and in memory from the
//! first to the last file that is open for changes: all of these share it, so a change costs no look-up.
//!
//! Locking: who says a token asks, writes the attribute and makes its change under the fence's lock, taken
//! exclusively; who says none under the same lock, shared. So the first who comes with a token waits for changes
//! that were let in before, and none of them is made after its own. Where no lock guards a file its writers
//! hold that lock together, as their file system's lock of the inode keeps them apart anyway. The file system
//! is waited for under it, as under that; who waits for it can be killed. The lock of the table is held for a look-up
//! only. Memory may be behind the attribute if root has changed that: who is refused has it read again.
//!
//! There is at most one fence for each open file, so what users and nodes may have open bounds them.

use core::mem::size_of;
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::{
    rwlock::RwLock,
    vfs::{
        File,
        InodeId, //
    }, //
};
use virgo_proto::fence::{
    Fence,
    FenceClaim,
    FenceToken, //
};
use virgo_utils::from_wire;

/// Where a file has its fence: a [`FenceToken`].
const ATTRIBUTE: &CStr = c"trusted.virgo.fence";

/// The fences of the files that are open for changes.
#[pin_data]
pub(crate) struct FileFences {
    #[pin]
    all: Mutex<RBTree<InodeId, Entry>>,
}

struct Entry {
    shared: Arc<InodeFence>,
    /// Open files that have it.
    users: u32,
}

/// What all open files of an inode share; `None` until the first has read it.
#[pin_data]
struct InodeFence {
    #[pin]
    fence: RwLock<Option<Fence>>,
}

/// The fence of an open file. Dropped before the file is closed, which keeps the inode what it is.
pub(crate) struct FileFence {
    fences: Arc<FileFences>,
    inode: InodeId,
    shared: Arc<InodeFence>,
}

impl FileFences {
    /// None yet.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                all <- kernel::new_mutex!(RBTree::new(), "virgo_file_fences"),
            }),
            GFP_KERNEL,
        )
    }

    /// That of `file`. Sleeps for the file system if no other open file has it.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], [`EINTR`]; those of the file system; [`EIO`] if the attribute is none of ours.
    pub(crate) fn of(this: &Arc<Self>, file: &File) -> Result<FileFence> {
        let inode = file.inode();
        // Before others wait for the lock.
        let new = Arc::pin_init(
            pin_init!(InodeFence {
                fence <- linux::new_rwlock!(None, "virgo_file_fence"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let place = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let mut all = this.all.lock();
        let shared = match all.get_mut(&inode) {
            Some(entry) => {
                entry.users = entry.users.checked_add(1).ok_or(ENFILE)?;
                entry.shared.clone()
            }
            None => {
                let entry = Entry {
                    shared: new.clone(),
                    users: 1,
                };
                all.insert(place.into_node(inode, entry));
                new
            }
        };
        drop(all);
        let fence = FileFence {
            fences: this.clone(),
            inode,
            shared,
        };
        fence.load(file)?;
        Ok(fence)
    }
}

impl FileFence {
    /// Reads it from the file, if nobody has.
    fn load(&self, file: &File) -> Result {
        if self.shared.fence.read_killable()?.is_some() {
            return Ok(());
        }
        let mut fence = self.shared.fence.write_killable()?;
        if fence.is_none() {
            *fence = Some(read(file)?);
        }
        Ok(())
    }

    /// Whether a lock guards the file. Sleeps while somebody with a lock changes it.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub(crate) fn is_closed(&self) -> Result<bool> {
        let fence = self.shared.fence.read_killable()?;
        Ok(fence.is_some_and(|fence| fence.seen().is_some()))
    }

    /// Changes `file`, of which this is the fence, for who has the lock `claim`, or none. Sleeps for the file
    /// system.
    ///
    /// # Errors
    ///
    /// Those of [`Fence::admit`]; [`EOPNOTSUPP`] for a lock if the file system has no attributes for it; those of
    /// the file system, and of `change`: the fence may be raised then. [`EINTR`].
    pub(crate) fn change<T>(
        &self,
        file: &File,
        claim: Option<FenceClaim>,
        change: impl FnOnce(&File) -> Result<T>,
    ) -> Result<T> {
        if claim.is_none() {
            let mut fence = self.shared.fence.read_killable()?;
            if admit(*fence, None).is_err() {
                // Root may have taken it off since.
                drop(fence);
                *self.shared.fence.write_killable()? = Some(read(file)?);
                fence = self.shared.fence.read_killable()?;
            }
            admit(*fence, None)?;
            return change(file);
        }
        let mut fence = self.shared.fence.write_killable()?;
        if admit(*fence, claim).is_err() {
            *fence = Some(read(file)?);
        }
        let raised = admit(*fence, claim)?;
        if *fence != Some(raised) {
            write(file, raised)?;
            *fence = Some(raised);
        }
        change(file)
    }
}

impl Drop for FileFence {
    fn drop(&mut self) {
        let mut all = self.fences.all.lock();
        let Some(entry) = all.get_mut(&self.inode) else {
            return;
        };
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0 {
            let unused = all.remove(&self.inode);
            drop(all);
            drop(unused);
        }
    }
}

/// What a fence is when that was done for which `claim` was said.
fn admit(fence: Option<Fence>, claim: Option<FenceClaim>) -> Result<Fence> {
    // It was read when the file was opened.
    let mut fence = fence.ok_or(EIO)?;
    let admitted = fence.admit(claim);
    admitted.map_err(|errno| from_wire(errno.to_wire()))?;
    Ok(fence)
}

/// The fence that a file has on its file system.
fn read(file: &File) -> Result<Fence> {
    let mut bytes = [0; size_of::<FenceToken>()];
    match file.attribute(ATTRIBUTE, &mut bytes) {
        Ok(len) => Fence::stored(bytes.get(..len).unwrap_or_default()).ok_or(EIO),
        // Some file systems let nobody look; there is nothing to be set there either.
        Err(ENODATA | EOPNOTSUPP | EPERM | EACCES) => Ok(Fence::OPEN),
        // It is longer than ours.
        Err(ERANGE) => Err(EIO),
        Err(e) => Err(e),
    }
}

fn write(file: &File, fence: Fence) -> Result {
    let Some(claim) = fence.seen() else {
        return Ok(());
    };
    file.set_attribute(ATTRIBUTE, claim.to_wire().as_bytes())
}
