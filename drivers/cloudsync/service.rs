// SPDX-License-Identifier: GPL-2.0

//! The state of the service.

use crate::locks::Locks;
use kernel::sync::Arc;

/// See the module.
pub(crate) struct Cloudsync {
    pub(crate) locks: Arc<Locks>,
}
