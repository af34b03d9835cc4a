// SPDX-License-Identifier: GPL-2.0

//! Variables that are learnt outside of the kernel and steer its modules.
//!
//! A module [declares](Variable::declare) the variables that it reads. The value of a number is in a
//! cell that the module holds, so that reading it costs one load. All variables, also those that no
//! module has declared, are found by key, under RCU: [`integer`], [`decimal`], [`with_text`], and for C
//! `include/linux/virgo_analytics.h`.
//!
//! Values are set by one module, virgo_kernel_analytics, which has the [`Setter`]. While it is not
//! loaded all variables have their defaults.
//!
//! # Locking
//!
//! One mutex ([`registry`]) is held while values change. Under it the declaring module is told
//! ([`Changed`]), then the setter's [`Observer`]: changes are seen in the order in which they are made,
//! and a declaration is not withdrawn while its module is being told. Look-ups take no lock.

mod batch;
mod c_api;
mod change;
mod held;
mod origin;
mod refused;
mod registry;
mod setter;
mod table;

pub use batch::SourceRules;
pub use change::{
    Change,
    Changed,
    Observer, //
};
pub use held::HeldChanges;
pub use origin::ValueOrigin;
pub use refused::Refused;
pub use registry::Registry;
pub use setter::{
    SetCount,
    Setter, //
};
pub use table::{
    NamedVariable,
    VariableValue, //
};

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use registry::Cell;
use virgo_proto::analytics::variable::Declaration;

/// A variable that a module has declared; dropping it withdraws the declaration.
pub struct Variable {
    declaration: &'static Declaration,
    cell: Arc<Cell>,
}

impl Variable {
    /// Declares a variable of the module that holds this in its state. A value that was set before is
    /// its value from now on, if it is of the type and within the bounds; otherwise the log says that
    /// it is not, and the default holds. May sleep.
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if a module has declared it already, [`ENOMEM`].
    pub fn declare(declaration: &'static Declaration) -> Result<Self> {
        Self::declare_and_tell(declaration, None)
    }

    /// As [`Self::declare`]; `changed` is told of each change until this is dropped, and of the value
    /// that was set before, if there is one. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::declare`].
    pub fn declare_and_tell(
        declaration: &'static Declaration,
        changed: Option<Arc<dyn Changed>>,
    ) -> Result<Self> {
        let cell = Arc::new(Cell(Atomic::new(declaration.default)), GFP_KERNEL)?;
        registry::declare(declaration, cell.clone(), changed)?;
        Ok(Variable { declaration, cell })
    }

    /// The number; of a decimal in millionths, of a boolean 0 or 1. Any context.
    #[inline]
    pub fn get(&self) -> i64 {
        self.cell.0.load(Relaxed)
    }
}

impl Drop for Variable {
    fn drop(&mut self) {
        registry::withdraw(self.declaration);
    }
}

/// The variable `key` as an integer; `None` if there is none, or it is something else. Any context.
pub fn integer(key: &str) -> Option<i64> {
    table::with_value(key.as_bytes(), |value| value.integer()).flatten()
}

/// The variable `key` as a decimal, in millionths. As [`integer`].
pub fn decimal(key: &str) -> Option<i64> {
    table::with_value(key.as_bytes(), |value| value.decimal()).flatten()
}

/// Shows `see` the variable `key` as it was written; `None` if there is none. Any context. `see` must
/// not sleep.
pub fn with_text<T>(key: &str, see: impl FnOnce(&str) -> T) -> Option<T> {
    table::with_value(key.as_bytes(), |value| see(value.text()))
}
