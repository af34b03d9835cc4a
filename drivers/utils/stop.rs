// SPDX-License-Identifier: GPL-2.0

//! The first step of a module's end.

use crate::service::Service;
use kernel::sync::Arc;

/// Ends all that waits for other nodes when it is dropped, which is to be before what waits for those who
/// wait: the nodes may be out of reach.
pub struct Stop<S: Service>(Arc<S>);

impl<S: Service> Stop<S> {
    /// Of `service`.
    pub fn new(service: &Arc<S>) -> Self {
        Stop(service.clone())
    }
}

impl<S: Service> Drop for Stop<S> {
    fn drop(&mut self) {
        self.0.set_stopped(true);
    }
}
