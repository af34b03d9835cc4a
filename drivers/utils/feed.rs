// SPDX-License-Identifier: GPL-2.0

//! Lines that a text session gets without having asked for each.

use crate::reply::{
    Failure,
    Reply, //
};
use core::any::Any;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    }, //
};
use linux::waker::Waker;

/// Where such lines come from. It is dropped with the session, in process context.
///
/// The methods are called by the session's work, never two at once, and may sleep.
pub trait Feed: Any + Send + Sync {
    /// Writes the next line. False if there is none; the session's waker is to be called then, when
    /// there may be one.
    ///
    /// # Errors
    ///
    /// The session gets the failure instead of the line.
    fn next(&self, line: &mut Reply<'_>) -> Result<bool, Failure>;

    /// Called before answers are sent: makes true what they say.
    ///
    /// # Errors
    ///
    /// The session ends without the answers.
    fn settle(&self) -> Result {
        Ok(())
    }

    /// Itself, for who knows what it is.
    fn as_any(&self) -> &dyn Any;
}

/// What a text session has beside its input: means to wake it, and its feed.
pub struct Attached {
    waker: Waker,
    feed: SetOnce<Arc<dyn Feed>>,
}

impl Attached {
    pub(crate) fn new(waker: Waker) -> Self {
        Attached {
            waker,
            feed: SetOnce::new(),
        }
    }

    /// The session's feed, if it has one.
    pub fn feed(&self) -> Option<&dyn Feed> {
        Some(&**self.feed.as_ref()?)
    }

    /// The session's feed; if it has none, the one that `make` makes. It stays for the session's
    /// life.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn feed_or(&self, make: impl FnOnce(Waker) -> Result<Arc<dyn Feed>>) -> Result<&dyn Feed> {
        if self.feed.as_ref().is_none() {
            self.feed.populate(make(self.waker.clone())?);
        }
        self.feed().ok_or(EIO)
    }
}
