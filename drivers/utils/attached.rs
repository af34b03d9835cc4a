// SPDX-License-Identifier: GPL-2.0

//! What a text session has of its own in a service: files, subscriptions.

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
use linux::work::WorkHandle;

/// What lets an [`Attachment`] be asked for by its type.
pub trait AsAny: Any {
    /// Itself.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any> AsAny for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What a service attaches to a text session. It is dropped with the session, in process context.
///
/// The methods are called by the session's work, never two at once, and may sleep.
pub trait Attachment: AsAny + Send + Sync {
    /// Writes the next line that the session gets without having asked for it. False if there is
    /// none; the session's work is to be run then, when there may be one.
    ///
    /// # Errors
    ///
    /// The session gets the failure instead of the line.
    fn next(&self, _line: &mut Reply<'_>) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Called before answers are sent: makes true what they say.
    ///
    /// # Errors
    ///
    /// The session ends without the answers.
    fn settle(&self) -> Result {
        Ok(())
    }
}

/// Place for the one thing that is attached to a text session.
pub struct Attached {
    /// Runs the session's work.
    session: WorkHandle,
    attachment: SetOnce<Arc<dyn Attachment>>,
}

impl Attached {
    pub(crate) fn new(session: WorkHandle) -> Self {
        Attached {
            session,
            attachment: SetOnce::new(),
        }
    }

    pub(crate) fn any(&self) -> Option<&dyn Attachment> {
        Some(&**self.attachment.as_ref()?)
    }

    /// What the session has, if it has it.
    pub fn get<T: Attachment>(&self) -> Option<&T> {
        self.any()?.as_any().downcast_ref()
    }

    /// What the session has; if it has nothing, what `make` makes. It stays until the session's
    /// end. A service attaches one type only.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn get_or<T: Attachment>(
        &self,
        make: impl FnOnce(WorkHandle) -> Result<Arc<T>>,
    ) -> Result<&T> {
        if self.attachment.as_ref().is_none() {
            self.attachment.populate(make(self.session.clone())?);
        }
        self.get().ok_or(EINVAL)
    }
}
