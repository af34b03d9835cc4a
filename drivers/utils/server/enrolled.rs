// SPDX-License-Identifier: GPL-2.0

//! What a session has of its server: the hub, and its own standing there.
//!
//! The code of each phase (handshake, frames, text) works with this. It exists for as long as its session; the
//! standing is in the roster until [`Enrolled::leave`], at the latest until this is dropped.

use crate::{
    reply::Failure,
    server::{
        hub::Hub,
        standing::Standing, //
    },
    service::Service, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    net::Stream,
    work::WorkHandle, //
};
use virgo_config::Party;

/// See the module.
pub(crate) struct Enrolled<S: Service> {
    standing: Arc<Standing>,
    pub(crate) hub: Arc<Hub<S>>,
}

impl<S: Service> Enrolled<S> {
    /// Puts a session that begins on `stream` into the roster; the work of `reaper` drops it. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Roster::enroll`](super::roster::Roster::enroll).
    pub(crate) fn new(hub: Arc<Hub<S>>, stream: Arc<Stream>, reaper: WorkHandle) -> Result<Self> {
        let standing = hub.roster.enroll(stream, reaper)?;
        Ok(Enrolled { standing, hub })
    }

    /// The session is about to be dropped, and makes room for others. May sleep.
    pub(crate) fn leave(&self) {
        self.hub.roster.remove(&self.standing);
    }

    /// The peer has proven that it is `party`. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Roster::welcome`](super::roster::Roster::welcome).
    pub(crate) fn welcome(&self, party: Party) -> Result<(), Failure> {
        self.hub.roster.welcome(&self.standing, party)
    }
}

impl<S: Service> Deref for Enrolled<S> {
    type Target = Standing;

    fn deref(&self) -> &Standing {
        &self.standing
    }
}

impl<S: Service> Drop for Enrolled<S> {
    fn drop(&mut self) {
        self.leave();
    }
}
