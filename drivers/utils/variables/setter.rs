// SPDX-License-Identifier: GPL-2.0

//! Setting variables: the privilege of virgo_kernel_analytics.

use super::{
    batch::{
        Batch,
        SourceRules, //
    },
    change::Observer,
    held::HeldChanges,
    origin::ValueOrigin,
    refused::{
        refused,
        Refused, //
    },
    registry::{
        RegistryState,
        STATE, //
    },
    table::{
        self,
        KeyCharge,
        NamedVariable,
        VariableValue, //
    }, //
};
use crate::budget::{
    Budget,
    Charge, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        rcu,
        Arc, //
    }, //
};
use linux::{
    deadline::Deadline,
    rcu::RcuBox, //
};
use virgo_proto::{
    analytics::{
        pairs::{
            self,
            Pair, //
        },
        source::ValueSource,
        variable::{
            Declaration,
            InvalidValue, //
        }, //
    },
    errno::Errno, //
};

/// Bytes that a value costs besides its text.
const VALUE_BYTES: u64 = (size_of::<VariableValue>() + 32) as u64;

/// Bytes that an undeclared variable costs besides its key.
const NAMED_BYTES: u64 = (size_of::<NamedVariable>() + 32) as u64;

/// Root's values of declared variables are not charged if they are no longer than this: whatever others
/// have filled, root can steer. There are few of them, and root may have the memory.
const FREE_BYTES: usize = 64;

/// RCU callbacks are not waited for more often than this for a user other than root, in milliseconds.
const WAIT_MS: u32 = 100;

/// What a text has set.
pub struct SetCount {
    /// Variables that have its values now.
    pub variables: usize,
    /// Pairs that it has: more, if a key comes more than once.
    pub pairs: usize,
}

/// The right to set variables. There is one at a time; dropping it gives all variables their defaults,
/// and those that nobody has declared are gone.
pub struct Setter {
    budget: Pin<KBox<Budget>>,
    /// Keys that are not declared, of others than root: each has a share.
    keys: Pin<KBox<Budget>>,
    max_keys: usize,
}

impl Setter {
    /// Takes the right, for `max_keys` variables that nobody has declared, and values charged to
    /// `budget`, in bytes. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if somebody has it.
    pub fn new(
        observer: Arc<dyn Observer>,
        budget: Pin<KBox<Budget>>,
        max_keys: usize,
    ) -> Result<Self> {
        let keys = Budget::new(max_keys as u64)?;
        let mut state = STATE.lock();
        if state.observer.is_some() {
            return Err(EBUSY);
        }
        state.observer = Some(observer);
        Ok(Setter {
            budget,
            keys,
            max_keys,
        })
    }

    /// Bytes that values take, and may take.
    pub fn used(&self) -> (u64, u64) {
        (self.budget.used(), self.budget.limit())
    }

    /// Sets all variables of `text`, whose grammar is that of [`pairs`], or none. When this returns,
    /// all who read them have been told. Returns how many variables have the values of `text`; those
    /// that had them before, from the same origin, have not changed. May sleep.
    ///
    /// There has to be room for the new values beside those that they replace, which may still be read.
    ///
    /// # Errors
    ///
    /// Why none was set.
    pub fn set(&self, text: &[u8], origin: ValueOrigin) -> Result<usize, Refused> {
        Ok(self.set_by(&SourceRules::ALL, text, origin)?.variables)
    }

    /// As [`Self::set`], by rules.
    ///
    /// # Errors
    ///
    /// As there; [`Errno::EPERM`] for a variable that is not to be set in this way,
    /// [`Errno::EMSGSIZE`] for more pairs than are allowed.
    pub fn set_by(
        &self,
        rules: &SourceRules,
        text: &[u8],
        origin: ValueOrigin,
    ) -> Result<SetCount, Refused> {
        self.change(origin, |state| {
            let batch = self.set_locked(state, text, origin, rules)?;
            Ok(SetCount {
                variables: batch.variables,
                pairs: batch.pairs,
            })
        })
    }

    /// As [`Self::set`], for the whole of a source: what has a value of this source and is not in
    /// `text` gets its default back.
    ///
    /// # Errors
    ///
    /// As for [`Self::set`]; then nothing has changed.
    pub fn set_whole(&self, text: &[u8], origin: ValueOrigin) -> Result<usize, Refused> {
        self.change(origin, |state| {
            let batch = self.set_locked(state, text, origin, &SourceRules::ALL)?;
            reset_if(state, origin, |named, value| {
                value.origin.source == origin.source && named.batch.load(Relaxed) != batch.number
            });
            Ok(batch.variables)
        })
    }

    /// Makes a change under the mutex. If it is refused for want of room, and former values may still
    /// be charged because their RCU callbacks have not run, it is tried once more after those; not if
    /// they were waited for just now on behalf of the same user, unless it is root.
    fn change<T>(
        &self,
        origin: ValueOrigin,
        mut make: impl FnMut(&mut RegistryState) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut state = STATE.lock();
        let before = table::replaced();
        let made = make(&mut state);
        let has_room = !matches!(made, Err(Refused::Error(ENOMEM | EDQUOT)));
        // If nothing was replaced since they were waited for last, whoever has its share waits for
        // nothing.
        if has_room || before == state.freed || !may_wait(&mut state, origin.account()) {
            return made;
        }
        let replaced = table::replaced();
        drop(state);
        // Without the mutex: others make changes meanwhile.
        rcu::rcu_barrier();
        let mut state = STATE.lock();
        state.freed = state.freed.max(replaced);
        make(&mut state)
    }

    /// Does all that may fail of setting the variables of `text`, by rules, and sets none: see
    /// [`HeldChanges`]. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::set_by`].
    pub fn hold(
        &self,
        rules: &SourceRules,
        text: &[u8],
        origin: ValueOrigin,
    ) -> Result<HeldChanges, Refused> {
        self.change(origin, |state| {
            let batch = self.prepare_all(state, text, origin, rules)?;
            Ok(HeldChanges::of(state, batch)?)
        })
    }

    /// Gives a variable its default back, as `by` wants; one that nobody has declared is gone then. False if
    /// nobody has set it. May sleep.
    pub fn reset(&self, key: &str, by: ValueOrigin) -> bool {
        let mut state = STATE.lock();
        let Some(named) = table::find(key) else {
            return false;
        };
        match named.value() {
            Some(value) if value.origin.source != ValueSource::Default => {
                reset(&mut state, &named, by);
                true
            }
            _ => false,
        }
    }

    /// Shows `see` each variable: its key, its value, what is declared. No variable changes meanwhile.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// Those of `see`.
    pub fn try_for_each<E>(
        &self,
        mut see: impl FnMut(&str, &VariableValue, Option<&Declaration>) -> Result<(), E>,
    ) -> Result<(), E> {
        let state = STATE.lock();
        table::try_for_each(|named, value| {
            let declared = state.declared(named.key());
            see(
                named.key(),
                value,
                declared.map(|declared| declared.declaration),
            )
        })
    }

    /// Shows `see` one variable, as [`Self::try_for_each`] does; `None` if there is none.
    pub fn with<T>(
        &self,
        key: &str,
        see: impl FnOnce(&VariableValue, Option<&Declaration>) -> T,
    ) -> Option<T> {
        let state = STATE.lock();
        let value = table::find(key)?.value()?;
        let declared = state.declared(key);
        Some(see(&value, declared.map(|declared| declared.declaration)))
    }

    fn set_locked(
        &self,
        state: &mut RegistryState,
        text: &[u8],
        origin: ValueOrigin,
        rules: &SourceRules,
    ) -> Result<Batch, Refused> {
        let mut batch = self.prepare_all(state, text, origin, rules)?;
        for change in core::mem::take(&mut batch.pending) {
            let is_declared = state.declared(change.named.key()).is_some();
            if !is_declared && change.named.value().is_none() {
                state.undeclared = state.undeclared.saturating_add(1);
            }
            state.changes = state.changes.saturating_add(1);
            let old = change.named.value();
            change.named.set(change.shared);
            state.tell(
                &change.named,
                Some((&change.value, change.number)),
                old.as_deref(),
                origin,
            );
        }
        Ok(batch)
    }

    /// Checks `text`, and does all of its changes that may fail. New variables are in the table then,
    /// without a value; if it is refused nothing has changed.
    fn prepare_all(
        &self,
        state: &mut RegistryState,
        text: &[u8],
        origin: ValueOrigin,
        rules: &SourceRules,
    ) -> Result<Batch, Refused> {
        state.batches = state.batches.saturating_add(1);
        let mut batch = Batch::new(state.batches, origin);
        let mut failure = None;
        let parsed = pairs::parse(text, |_, pair| {
            let prepared = match batch.admit(pair.key, rules) {
                Ok(()) => self.prepare(state, &mut batch, pair),
                refused => refused,
            };
            prepared.map_err(|refused| {
                failure = Some(refused);
                ""
            })
        });
        let Err(fault) = parsed else {
            return Ok(batch);
        };
        for new in batch.pending.iter().filter(|change| change.is_new) {
            new.named.remove();
        }
        Err(match failure {
            None => refused(Errno::EINVAL, "", fault.reason).at(fault.line),
            Some(refused) => refused.at(fault.line),
        })
    }

    /// Does all of a change that may fail.
    fn prepare(
        &self,
        state: &RegistryState,
        batch: &mut Batch,
        pair: Pair<'_>,
    ) -> Result<(), Refused> {
        let Pair { key, value: text } = pair;
        let bad = |errno, reason| Err(refused(errno, key, reason));
        let declared = state.declared(key);
        let number = match declared.map(|declared| declared.declaration.read(text)) {
            None => 0,
            Some(Ok(number)) => number,
            Some(Err(InvalidValue::Bounds)) => {
                return bad(Errno::ERANGE, InvalidValue::Bounds.reason())
            }
            Some(Err(refusal)) => return bad(Errno::EINVAL, refusal.reason()),
        };
        let origin = batch.origin;
        let account = origin.account();
        let is_free = account == 0 && declared.is_some() && text.len() <= FREE_BYTES;
        let charge = || match is_free {
            true => Ok(None),
            false => self.charge(account, VALUE_BYTES, text).map(Some),
        };
        let found = table::find(key);
        let pending = match &found {
            Some(named) => batch.find(named),
            None => None,
        };
        if let Some(pending) = pending {
            let value = VariableValue::new(text, origin, charge()?)?;
            // Nobody has seen the value that this one replaces.
            pending.shared = RcuBox::new(value.clone())?;
            pending.value = value;
            pending.number = number;
            return Ok(());
        }
        if let Some(named) = &found {
            batch.note(named);
            let same = |value: Arc<VariableValue>| value.origin == origin && value.text() == text;
            if named.value().is_some_and(same) {
                return Ok(());
            }
        }
        // So many values at once would only push each other out.
        if batch.pending.len() >= self.max_keys {
            return bad(Errno::ENOSPC, "more values at once than max_keys");
        }
        let (named, is_new, charge) = match found {
            Some(named) => (named, false, charge()?),
            None if state.keys().saturating_add(batch.new) >= self.max_keys => {
                return bad(Errno::ENOSPC, "more variables than max_keys");
            }
            None => {
                // All charges first: what is refused for want of room has put nothing into the table.
                let of_key = KeyCharge {
                    _bytes: self.charge(account, NAMED_BYTES, key)?,
                    _key: match account {
                        0 => None,
                        account => Some(self.keys.charge(account, 1)?),
                    },
                };
                let of_value = charge()?;
                let named = NamedVariable::insert(key, Some(of_key))?;
                batch.note(&named);
                (named, true, of_value)
            }
        };
        batch
            .add(&named, text, number, is_new, charge)
            .map_err(|error| {
                if is_new {
                    named.remove();
                }
                error.into()
            })
    }

    fn charge(&self, account: u32, bytes: u64, text: &str) -> Result<Charge> {
        self.budget.charge(account, bytes + text.len() as u64)
    }
}

/// Whether RCU callbacks may be waited for on behalf of a user.
fn may_wait(state: &mut RegistryState, account: u32) -> bool {
    if account == 0 {
        return true;
    }
    state.waited.retain(|(_, until)| !until.passed());
    if state.waited.iter().any(|(other, _)| *other == account) {
        return false;
    }
    let until = Deadline::after_ms(WAIT_MS);
    state.waited.push((account, until), GFP_KERNEL).is_ok()
}

/// Resets all variables whose value is `old`.
fn reset_if(
    state: &mut RegistryState,
    by: ValueOrigin,
    old: impl Fn(&NamedVariable, &VariableValue) -> bool,
) {
    let mut from = 0;
    while let Some((place, named)) = table::next(from, &old) {
        reset(state, &named, by);
        from = place;
    }
}

/// Gives a variable its default, or takes it out of the table.
pub(super) fn reset(state: &mut RegistryState, named: &Arc<NamedVariable>, by: ValueOrigin) {
    state.changes = state.changes.saturating_add(1);
    let old = named.value();
    let default = state
        .declared(named.key())
        .map(|declared| (declared.default.clone(), declared.declaration.default));
    match default {
        Some((default, number)) => {
            match RcuBox::new(default.clone()) {
                Ok(shared) => named.set(shared),
                // The module has its default all the same; only look-ups find nothing.
                Err(_) => named.clear(),
            }
            state.tell(named, Some((&default, number)), old.as_deref(), by);
        }
        None => {
            named.remove();
            state.undeclared = state.undeclared.saturating_sub(1);
            state.tell(named, None, old.as_deref(), by);
        }
    }
}

impl Drop for Setter {
    fn drop(&mut self) {
        let mut state = STATE.lock();
        let observer = state.observer.take();
        reset_if(&mut state, ValueOrigin::DEFAULT, |_, value| {
            value.origin.source != ValueSource::Default
        });
        drop(state);
        drop(observer);
        // What was set is charged to the budget.
        rcu::rcu_barrier();
    }
}
