// SPDX-License-Identifier: GPL-2.0

//! What all that serves requests of a server shares: the service, what is remembered of its peers, the counters,
//! and who is connected.
//!
//! Sessions, the receiver of datagrams and the files in debugfs refer to it. It refers to none of them: whoever
//! drops the last reference waits for no session.

use crate::{
    ratelimit::LogLimit,
    server::{
        datagrams::Datagrams,
        peers::Peers,
        roster::Roster, //
    },
    service::Service,
    stats::Stats, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    }, //
};
use virgo_config::Node;

/// See the module. What changes has locks of its own.
pub(crate) struct Hub<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) node: Arc<Node>,
    /// Random number of this server's incarnation: with another one it has forgotten all requests.
    pub(crate) boot: u64,
    /// Challenges made: numbers the sessions of nodes in the order in which they were begun.
    pub(crate) challenges: Atomic<u64>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) peers: Pin<KBox<Peers>>,
    pub(crate) datagrams: Arc<Datagrams>,
    pub(crate) roster: Pin<KBox<Roster>>,
    pub(crate) log: Pin<KBox<LogLimit>>,
    /// How often work of this server has run: nothing may make an idle node do anything.
    pub(crate) runs: Atomic<u64>,
}

impl<S: Service> Hub<S> {
    /// The hub of a server that begins, at which nobody is connected. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(service: Arc<S>, node: Arc<Node>, stats: Arc<Stats>) -> Result<Arc<Self>> {
        let datagrams = Arc::pin_init(Datagrams::new(), GFP_KERNEL)?;
        let hub = Hub {
            service,
            boot: linux::crypto::random_u64(),
            challenges: Atomic::new(0),
            stats,
            peers: KBox::pin_init(Peers::new(), GFP_KERNEL)?,
            roster: Roster::new(S::PORT, node.clone(), datagrams.clone())?,
            node,
            datagrams,
            log: LogLimit::new()?,
            runs: Atomic::new(0),
        };
        Ok(Arc::new(hub, GFP_KERNEL)?)
    }
}
