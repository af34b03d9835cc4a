// SPDX-License-Identifier: GPL-2.0

//! Changes that are ready to be made, and may be taken back.

use super::{
    batch::Batch,
    registry::{
        RegistryState,
        STATE, //
    },
    setter,
    table::{
        NamedVariable,
        SharedValue,
        VariableValue, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::rcu::RcuBox;
use virgo_proto::analytics::source::ValueSource;

/// Changes that were checked, and for which there is memory: they are sure to succeed, together, and are
/// sure to be taken back. Until this is dropped it has the memory of the new values and, while these are in
/// force, of the former ones, and a place for each of its variables; all of that is charged.
///
/// A variable whose module is loaded meanwhile, and does not take the value, keeps its default, as after any
/// change that was made before the module was there.
///
/// Must not be dropped under the registry's mutex: it takes that.
pub struct HeldChanges {
    changes: KVVec<HeldChange>,
}

struct HeldChange {
    named: Arc<NamedVariable>,
    value: Arc<VariableValue>,
    /// The value to be put in force, while it is not.
    new: Option<SharedValue>,
    /// What was in force before, while `value` is.
    old: Option<SharedValue>,
    /// `value` was put in force and not taken back.
    is_put: bool,
    /// The variable was not there: it has a place of [`RegistryState::held`].
    is_new: bool,
}

impl HeldChanges {
    /// Takes over what was prepared.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; then nothing has changed.
    pub(super) fn of(state: &mut RegistryState, mut batch: Batch) -> Result<Self> {
        let mut changes = KVVec::new();
        if let Err(e) = changes.reserve(batch.pending.len(), GFP_KERNEL) {
            for new in batch.pending.iter().filter(|change| change.is_new) {
                new.named.remove();
            }
            return Err(e.into());
        }
        for change in core::mem::take(&mut batch.pending) {
            change.named.held.fetch_add(1, Relaxed);
            state.held = state.held.saturating_add(change.is_new.into());
            let held = HeldChange {
                named: change.named,
                value: change.value,
                new: Some(change.shared.into()),
                old: None,
                is_put: false,
                is_new: change.is_new,
            };
            // There is room.
            let _ = changes.push_within_capacity(held);
        }
        Ok(HeldChanges { changes })
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Puts the new values in force, all of them, unless they are. All who read them have been told on
    /// return. May sleep.
    pub fn put(&mut self) {
        let mut state = STATE.lock();
        for change in self.changes.iter_mut().filter(|change| !change.is_put) {
            change.put(&mut state);
        }
    }

    /// Puts the former values in force, if the new ones are. A variable that somebody has set since stays as
    /// it is. All who read them have been told on return. May sleep.
    pub fn take_back(&mut self) {
        let mut state = STATE.lock();
        for change in self.changes.iter_mut().filter(|change| change.is_put) {
            change.take_back(&mut state);
        }
    }

    /// Shows `see` each variable: its key, its value now if it has one, and the new one. May sleep.
    ///
    /// # Errors
    ///
    /// Those of `see`.
    pub fn try_for_each<E>(
        &self,
        mut see: impl FnMut(&str, Option<&VariableValue>, &VariableValue) -> Result<(), E>,
    ) -> Result<(), E> {
        self.changes.iter().try_for_each(|change| {
            let old = match &change.old {
                Some(old) => Some((**old).clone()),
                None if change.is_put => None,
                None => change.named.value(),
            };
            see(change.named.key(), old.as_deref(), &change.value)
        })
    }
}

impl HeldChange {
    fn put(&mut self, state: &mut RegistryState) {
        let declared = state.declared(self.named.key());
        let number = match declared.map(|one| one.declaration.read(self.value.text())) {
            None => 0,
            Some(Ok(number)) => number,
            Some(Err(refusal)) => {
                let (key, reason) = (self.named.key(), refusal.reason());
                pr_warn!("{key}: what was rolled out is refused: {reason}\n");
                return;
            }
        };
        let is_declared = declared.is_some();
        let new = self.new.take();
        // Somebody has set the variable while this value was in force, and it went with that.
        let new = new.or_else(|| Some(RcuBox::new(self.value.clone()).ok()?.into()));
        let Some(new) = new else {
            pr_err!("{}: no memory to set it\n", self.named.key());
            return;
        };
        self.value.set_since();
        state.changes = state.changes.saturating_add(1);
        self.old = self.named.swap(Some(new));
        self.is_put = true;
        if !is_declared && self.old.is_none() {
            state.undeclared = state.undeclared.saturating_add(1);
        }
        self.release_place(state);
        let old = self.old.as_ref().map(|old| &***old);
        state.tell(
            &self.named,
            Some((&self.value, number)),
            old,
            self.value.origin,
        );
    }

    fn take_back(&mut self, state: &mut RegistryState) {
        self.is_put = false;
        let old = self.old.take();
        let is_ours = |now: Arc<VariableValue>| Arc::ptr_eq(&now, &self.value);
        if !self.named.value().is_some_and(is_ours) {
            return;
        }
        let declared = state.declared(self.named.key());
        let number = match (&old, declared) {
            (Some(old), Some(declared)) => declared.declaration.read(old.text()).ok(),
            // The default of a module that is gone.
            (Some(old), None) if old.origin.source == ValueSource::Default => None,
            (Some(_), None) => Some(0),
            (None, _) => None,
        };
        let (Some(old), Some(number)) = (old, number) else {
            // The value goes with that; `put` makes another one if need be.
            return setter::reset(state, &self.named, self.value.origin);
        };
        state.changes = state.changes.saturating_add(1);
        let value = (*old).clone();
        self.new = self.named.swap(Some(old));
        let by = self.value.origin;
        state.tell(&self.named, Some((&value, number)), Some(&self.value), by);
    }

    /// Its variable is there: it needs no place any more.
    fn release_place(&mut self, state: &mut RegistryState) {
        if core::mem::take(&mut self.is_new) {
            state.held = state.held.saturating_sub(1);
        }
    }
}

impl Drop for HeldChanges {
    fn drop(&mut self) {
        let mut state = STATE.lock();
        for change in &mut self.changes {
            change.release_place(&mut state);
            change.named.held.fetch_sub(1, Relaxed);
            if change.named.value().is_none() {
                change.named.remove();
            }
        }
        drop(state);
    }
}
