// SPDX-License-Identifier: GPL-2.0
//! How the processors of guests are run.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

/// How the processors of guests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accel {
    /// By the host's processors.
    Kvm,
    /// Emulated.
    Tcg,
}

impl Display for Accel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "with KVM",
            Self::Tcg => "with emulated processors",
        })
    }
}
