// SPDX-License-Identifier: GPL-2.0

//! The state of the service.

use crate::pending::PendingLines;
use kernel::sync::Arc;

/// EventNet of this node.
pub(crate) struct EventNet {
    pub(crate) pending: Arc<PendingLines>,
}
