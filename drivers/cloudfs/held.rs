// SPDX-License-Identifier: GPL-2.0

//! Open files of this node, and who closes them.
//!
//! A session of another node must not wait for a disk, and a session of text that has ended must not keep
//! those that wait to be freed with it. So workers close their files, as they do everything else that may
//! wait: in the line of whoever has opened the file, who pays for it until it is closed.

use crate::workers::{
    FileLines,
    ReplyInterest, //
};
use kernel::sync::Arc;
use linux::{
    closing::{
        in_kernel_thread,
        Close,
        ClosedBy, //
    },
    vfs::File, //
};
use virgo_proto::worker_shares::WorkOwner;
use virgo_utils::budget::Charge;

/// An open file that a worker closes.
pub(crate) type HeldFile = ClosedBy<ByWorker>;

/// Has a file closed.
pub(crate) struct ByWorker {
    lines: Arc<FileLines>,
    owner: WorkOwner,
    /// Given back when the file is closed. `None` while it is dropped.
    charge: Option<Charge>,
    /// A program that closes it waits for that, as in close(2).
    program_waits: bool,
}

/// A file that is open for `owner`, who is another node's.
pub(crate) fn of_peer(
    lines: &Arc<FileLines>,
    owner: WorkOwner,
    charge: Charge,
    file: File,
) -> HeldFile {
    held(lines, owner, charge, file, false)
}

/// A file that is open for a program or a session of text of this node.
pub(crate) fn of_this_node(lines: &Arc<FileLines>, charge: Charge, file: File) -> HeldFile {
    let owner = WorkOwner {
        device: file.device(),
        // Other nodes' have the number of their node before it.
        user: charge.uid().into(),
    };
    held(lines, owner, charge, file, true)
}

fn held(
    lines: &Arc<FileLines>,
    owner: WorkOwner,
    charge: Charge,
    file: File,
    program_waits: bool,
) -> HeldFile {
    let closer = ByWorker {
        lines: lines.clone(),
        owner,
        charge: Some(charge),
        program_waits,
    };
    ClosedBy::new(file, closer)
}

impl ByWorker {
    /// In whose line it waits.
    pub(crate) fn owner(&self) -> WorkOwner {
        self.owner
    }
}

impl Close for ByWorker {
    fn close(&mut self, file: File) {
        let charge = self.charge.take();
        if self.program_waits && !in_kernel_thread() {
            file.close();
            drop(charge);
            return;
        }
        // Without memory, and at the module's end, it is dropped, and the kernel closes it.
        let _ = self
            .lines
            .submit(self.owner, ReplyInterest::always(), move || {
                file.close();
                drop(charge);
            });
    }
}
