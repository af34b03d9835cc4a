// SPDX-License-Identifier: GPL-2.0

//! What an fsync of another node says. See [`super`].

use crate::errno::Errno;
use zerocopy::little_endian::{U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Reply of Sync: what the open file has met with since it was opened.
///
/// The node that has it open remembers how many of these failures it has reported to its programs:
/// the serving node cannot know which replies were lost, or came too late.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SyncReply {
    /// Failures to bring to the disk what was written.
    pub failures: U64,
    /// Error number of the last one, 0 if there was none.
    pub errno: U32,
}

impl SyncReply {
    /// Adds a failure.
    pub fn add(&mut self, errno: Errno) {
        // Nobody waits until it overflows.
        self.failures = self.failures.get().wrapping_add(1).into();
        self.errno = errno.to_wire().into();
    }

    /// The failure that is to be reported to who was told of `told` failures before, if there is one.
    /// They have been told of all then.
    pub fn news(&self, told: u64) -> Option<Errno> {
        // Replies may overtake each other.
        match self.failures.get() > told {
            true => Some(Errno::from_wire(self.errno.get())),
            false => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Syncs that fail or not, with replies that are lost, late, or arrive.
        #[test]
        fn each_failure_is_reported_once(
            syncs in prop::collection::vec((any::<bool>(), 0..3u8), 0..40),
        ) {
            let (mut file, mut told, mut unreported) = (SyncReply::default(), 0, false);
            let mut late: Option<SyncReply> = None;
            for (fails, fate) in syncs {
                if fails {
                    file.add(Errno::EIO);
                    unreported = true;
                }
                let arrives = match fate {
                    0 => None,
                    1 => late.replace(file),
                    _ => Some(file),
                };
                let Some(reply) = arrives else { continue };
                let news = reply.news(told);
                if news.is_some() {
                    told = reply.failures.get();
                    prop_assert!(unreported);
                }
                if told == file.failures.get() {
                    unreported = false;
                }
                prop_assert_eq!(unreported, told < file.failures.get());
            }
            // The next reply that arrives tells what is left, and the one after it nothing.
            prop_assert_eq!(file.news(told).is_some(), unreported);
            prop_assert_eq!(file.news(file.failures.get()), None);
        }
    }
}
