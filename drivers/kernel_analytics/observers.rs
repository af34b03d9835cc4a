// SPDX-License-Identifier: GPL-2.0

//! All who are told of changes.

use crate::{
    audit::AuditTrail,
    history::ChangeHistory, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_utils::variables::{
    Change,
    Observer, //
};

/// See the module.
pub(crate) struct Observers {
    history: Arc<ChangeHistory>,
    audit: Arc<AuditTrail>,
}

impl Observers {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(history: Arc<ChangeHistory>, audit: Arc<AuditTrail>) -> Result<Arc<Self>> {
        Ok(Arc::new(Observers { history, audit }, GFP_KERNEL)?)
    }
}

impl Observer for Observers {
    fn changed(&self, change: &Change<'_>) {
        self.history.changed(change);
        self.audit.changed(change);
    }
}
