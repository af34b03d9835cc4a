// SPDX-License-Identifier: GPL-2.0

//! Who is told when a variable has changed.

use super::{
    origin::ValueOrigin,
    table::{
        NamedVariable,
        VariableValue, //
    }, //
};
use kernel::sync::Arc;

/// Is told when a variable has changed.
pub trait Changed: Send + Sync {
    /// It has another value now. Called in the order in which the values change, in process context;
    /// may sleep, but delays all other changes; must not declare, withdraw or set variables.
    fn changed(&self, value: &VariableValue);
}

/// A change, as the observer sees it.
pub struct Change<'a> {
    /// Its number; later changes have higher ones.
    pub number: u64,
    /// Which variable.
    pub named: &'a Arc<NamedVariable>,
    /// Its value from now on; `None` if it is no more.
    pub value: Option<&'a Arc<VariableValue>>,
    /// Its value before; `None` if it was not there.
    pub old: Option<&'a VariableValue>,
    /// Who has changed it. A value that comes back has an origin of its own.
    pub by: ValueOrigin,
}

/// Is told of all changes.
pub trait Observer: Send + Sync {
    /// Called in the order of the changes, in process context; may sleep, but delays all other changes;
    /// must not declare, withdraw or set variables.
    fn changed(&self, change: &Change<'_>);
}
