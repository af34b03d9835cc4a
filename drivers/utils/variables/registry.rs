// SPDX-License-Identifier: GPL-2.0

//! Who has declared which variable, and who is told of changes.

use super::{
    change::{
        Change,
        Changed,
        Observer, //
    },
    origin::ValueOrigin,
    table::{
        self,
        NamedVariable,
        VariableValue, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu,
        Arc, //
    }, //
};
use linux::{
    deadline::Deadline,
    rcu::RcuBox, //
};
use virgo_proto::analytics::{
    source::ValueSource,
    variable::Declaration, //
};

/// A number that changes under its readers.
pub(super) struct Cell(pub(super) Atomic<i64>);

/// What changes under the mutex.
pub(super) struct RegistryState {
    pub(super) declared: KVec<Declared>,
    /// Of the setter, while there is one.
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// Variables that were set and are not declared.
    pub(super) undeclared: usize,
    /// Variables that are not there, and that held changes have room for.
    pub(super) held: usize,
    /// Changes made.
    pub(super) changes: u64,
    /// What [`table::replaced`] was before RCU callbacks were waited for last.
    pub(super) freed: u64,
    /// Batches of changes that were tried.
    pub(super) batches: u64,
    /// Users for whom RCU callbacks were waited for of late, and until when they are not again.
    pub(super) waited: KVec<(u32, Deadline)>,
}

/// A declared variable.
pub(super) struct Declared {
    pub(super) declaration: &'static Declaration,
    cell: Arc<Cell>,
    changed: Option<Arc<dyn Changed>>,
    /// The value that it has unless another is set.
    pub(super) default: Arc<VariableValue>,
    named: Arc<NamedVariable>,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Registry::new`, before any other module can use it: they load after
    // this one.
    pub(super) unsafe(uninit) static STATE: Mutex<RegistryState> = RegistryState {
        declared: KVec::new(),
        observer: None,
        undeclared: 0,
        held: 0,
        changes: 0,
        freed: 0,
        batches: 0,
        waited: KVec::new(),
    };
}

/// What virgo_utils holds in its state: the table is empty when it goes.
pub struct Registry(());

impl Registry {
    /// Makes the registry usable. Called once, in the module's initialisation.
    pub(crate) fn new() -> Self {
        // SAFETY: Called once in the life of the module.
        unsafe { STATE.init() };
        table::seed();
        Registry(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        table::clear();
        let mut state = STATE.lock();
        state.declared = KVec::new();
        state.waited = KVec::new();
        drop(state);
        // What was replaced is freed by code of this module.
        rcu::rcu_barrier();
    }
}

impl RegistryState {
    pub(super) fn declared(&self, key: &str) -> Option<&Declared> {
        self.declared
            .iter()
            .find(|declared| declared.declaration.name == key)
    }

    /// Variables of `max_keys` that are in use.
    pub(super) fn keys(&self) -> usize {
        self.undeclared.saturating_add(self.held)
    }

    /// Tells all that a variable has another value because of `by`, and which number that is for who has
    /// declared it; or none any more.
    pub(super) fn tell(
        &self,
        named: &Arc<NamedVariable>,
        value: Option<(&Arc<VariableValue>, i64)>,
        old: Option<&VariableValue>,
        by: ValueOrigin,
    ) {
        if let (Some(declared), Some((value, number))) = (self.declared(named.key()), value) {
            declared.cell.0.store(number, Relaxed);
            if let Some(changed) = &declared.changed {
                changed.changed(value);
            }
        }
        if let Some(observer) = &self.observer {
            observer.changed(&Change {
                number: self.changes,
                named,
                value: value.map(|(value, _)| value),
                old,
                by,
            });
        }
    }
}

/// The default of a declared variable as a value.
fn default_value(declaration: &Declaration) -> Result<Arc<VariableValue>> {
    let text = CString::try_from_fmt(format_args!("{}", declaration.shown(declaration.default)))?;
    let text = text.to_str().map_err(|_| EINVAL)?;
    VariableValue::new(text, ValueOrigin::DEFAULT, None)
}

/// See [`super::Variable::declare_and_tell`].
pub(super) fn declare(
    declaration: &'static Declaration,
    cell: Arc<Cell>,
    changed: Option<Arc<dyn Changed>>,
) -> Result {
    let mut state = STATE.lock();
    if state.declared(declaration.name).is_some() {
        return Err(EEXIST);
    }
    state.declared.reserve(1, GFP_KERNEL)?;
    let default = default_value(declaration)?;
    let found = table::find(declaration.name);
    let value = found.as_ref().and_then(|named| named.value());
    let was_set = value.is_some();
    let named = match found {
        Some(named) => named,
        None => NamedVariable::insert(declaration.name, None)?,
    };
    let read = value.map(|value| (declaration.read(value.text()), value));
    let mut refused = None;
    let value = match read {
        Some((Ok(number), value)) => {
            cell.0.store(number, Relaxed);
            Some(value)
        }
        other => {
            refused = other.map(|(_, value)| value);
            if refused.is_some() {
                pr_warn!(
                    "{}: what was set is refused; it has its default\n",
                    declaration.name
                );
            }
            named.set(RcuBox::new(default.clone())?);
            None
        }
    };
    if was_set {
        state.undeclared = state.undeclared.saturating_sub(1);
    }
    if let (Some(changed), Some(value)) = (&changed, &value) {
        changed.changed(value);
    }
    if let Some(refused) = &refused {
        // Those who watch have been told of what was set.
        state.changes = state.changes.saturating_add(1);
        if let Some(observer) = &state.observer {
            observer.changed(&Change {
                number: state.changes,
                named: &named,
                value: Some(&default),
                old: Some(refused),
                by: ValueOrigin::DEFAULT,
            });
        }
    }
    let declared = Declared {
        declaration,
        cell,
        changed,
        default,
        named,
    };
    Ok(state.declared.push(declared, GFP_KERNEL)?)
}

/// Takes a declaration back. A value that was set stays, undeclared.
pub(super) fn withdraw(declaration: &'static Declaration) {
    let mut state = STATE.lock();
    let mut withdrawn = None;
    let at = state
        .declared
        .iter()
        .position(|declared| core::ptr::eq(declared.declaration, declaration));
    if let Some(at) = at {
        withdrawn = state.declared.remove(at).ok();
    }
    if let Some(Declared { named, .. }) = &withdrawn {
        match named.value() {
            Some(value) if value.origin.source != ValueSource::Default => {
                state.undeclared = state.undeclared.saturating_add(1);
            }
            _ => named.remove(),
        }
    }
    if state.declared.is_empty() {
        // A static is not dropped when its module goes: leave no allocation behind.
        state.declared = KVec::new();
    }
    drop(state);
    // Without the lock: its end may wait for something that declares a variable.
    drop(withdrawn);
}
