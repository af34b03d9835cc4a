// SPDX-License-Identifier: GPL-2.0

//! Setting variables: the privilege of virgo_kernel_analytics.

use super::{
    change::Observer,
    origin::ValueOrigin,
    registry::{
        RegistryState,
        STATE, //
    },
    table::{
        self,
        NamedVariable,
        VariableValue, //
    }, //
};
use crate::budget::Budget;
use core::mem::size_of;
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        rcu,
        Arc, //
    }, //
};
use linux::rcu::RcuBox;
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

/// Why nothing was set.
pub enum Refused {
    /// The values are bad.
    Text {
        /// Line, from 1.
        line: u32,
        /// In a number.
        errno: Errno,
        /// Which variable it is about, and what is wrong.
        reason: CString,
    },
    /// It is not the values' fault.
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Error(error)
    }
}

impl From<kernel::alloc::AllocError> for Refused {
    fn from(_: kernel::alloc::AllocError) -> Self {
        Refused::Error(ENOMEM)
    }
}

/// Bytes that a value costs besides its text.
const VALUE_BYTES: u64 = (size_of::<VariableValue>() + 32) as u64;

/// Bytes that an undeclared variable costs besides its key.
const NAMED_BYTES: u64 = (size_of::<NamedVariable>() + 32) as u64;

/// The right to set variables. There is one at a time; dropping it gives all variables their defaults,
/// and those that nobody has declared are gone.
pub struct Setter {
    budget: Pin<KBox<Budget>>,
    max_keys: usize,
}

/// A change that is sure to succeed.
struct Pending {
    named: Arc<NamedVariable>,
    value: Arc<VariableValue>,
    shared: RcuBox<Arc<VariableValue>>,
    number: i64,
    /// The variable was put into the table for this change.
    is_new: bool,
}

/// Changes that are made together, or not at all.
#[derive(Default)]
struct Batch {
    pending: KVVec<Pending>,
    /// How many variables are new.
    new: usize,
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
        let mut state = STATE.lock();
        if state.observer.is_some() {
            return Err(EBUSY);
        }
        state.observer = Some(observer);
        Ok(Setter { budget, max_keys })
    }

    /// Bytes that values take, and may take.
    pub fn used(&self) -> (u64, u64) {
        (self.budget.used(), self.budget.limit())
    }

    /// Sets all variables of `text`, whose grammar is that of [`pairs`], or none. When this returns,
    /// all who read them have been told. Returns how many values were set. May sleep.
    ///
    /// There has to be room for the new values beside those that they replace, which may still be read.
    ///
    /// # Errors
    ///
    /// Why none was set.
    pub fn set(&self, text: &[u8], origin: ValueOrigin) -> Result<usize, Refused> {
        self.change(|state| self.set_locked(state, text, origin, |_| true))
    }

    /// As [`Self::set`], for pairs that are `allowed`.
    ///
    /// # Errors
    ///
    /// As there; [`Errno::EPERM`] for another variable.
    pub fn set_allowed(
        &self,
        text: &[u8],
        origin: ValueOrigin,
        allowed: impl Fn(&str) -> bool,
    ) -> Result<usize, Refused> {
        self.change(|state| self.set_locked(state, text, origin, &allowed))
    }

    /// As [`Self::set`], for the whole of a source: what has a value of this source and is not in
    /// `text` gets its default back.
    ///
    /// # Errors
    ///
    /// As for [`Self::set`]; then nothing has changed.
    pub fn set_whole(&self, text: &[u8], origin: ValueOrigin) -> Result<usize, Refused> {
        self.change(|state| {
            let before = state.changes;
            let set = self.set_locked(state, text, origin, |_| true)?;
            reset_if(state, |value| {
                value.origin.source == origin.source && value.number <= before
            });
            Ok(set)
        })
    }

    /// Makes a change under the mutex. If it is refused for want of room, and former values may still
    /// be charged because their RCU callbacks have not run, it is tried once more after those.
    fn change<T>(
        &self,
        mut make: impl FnMut(&mut RegistryState) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut state = STATE.lock();
        let before = table::replaced();
        let made = make(&mut state);
        let has_room = !matches!(made, Err(Refused::Error(ENOMEM | EDQUOT)));
        // If nothing was replaced since they were waited for last, whoever has its share waits for
        // nothing.
        if has_room || before == state.freed {
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

    /// Gives a variable its default back; one that nobody has declared is gone then. False if nobody
    /// has set it. May sleep.
    pub fn reset(&self, key: &str) -> bool {
        let mut state = STATE.lock();
        let Some(named) = table::find(key) else {
            return false;
        };
        match named.value() {
            Some(value) if value.origin.source != ValueSource::Default => {
                reset(&mut state, &named);
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
        allowed: impl Fn(&str) -> bool,
    ) -> Result<usize, Refused> {
        let mut batch = Batch::default();
        let mut failure = None;
        let parsed = pairs::parse(text, |_, pair| {
            let prepared = match allowed(pair.key) {
                true => self.prepare(state, &mut batch, pair, origin),
                false => Err(refused(Errno::EPERM, pair.key, "not to be set in this way")),
            };
            prepared.map_err(|refused| {
                failure = Some(refused);
                ""
            })
        });
        if let Err(fault) = parsed {
            for new in batch.pending.iter().filter(|change| change.is_new) {
                new.named.remove();
            }
            return Err(match failure {
                None => refused(Errno::EINVAL, "", fault.reason).at(fault.line),
                Some(refused) => refused.at(fault.line),
            });
        }
        let count = batch.pending.len();
        for change in batch.pending {
            let is_declared = state.declared(change.named.key()).is_some();
            if !is_declared && change.named.value().is_none() {
                state.undeclared = state.undeclared.saturating_add(1);
            }
            state.changes = change.value.number;
            change.named.set(change.shared);
            state.tell(&change.named, Some(&change.value), change.number);
        }
        Ok(count)
    }

    /// Does all of a change that may fail.
    fn prepare(
        &self,
        state: &RegistryState,
        batch: &mut Batch,
        pair: Pair<'_>,
        origin: ValueOrigin,
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
        // So many values at once would only push each other out.
        if batch.pending.len() >= self.max_keys {
            return bad(Errno::ENOSPC, "more values at once than max_keys");
        }
        let charge = |bytes: u64, len: usize| self.budget.charge(origin.uid, bytes + len as u64);
        let (named, is_new, charge) = match table::find(key) {
            Some(named) => (named, false, charge(VALUE_BYTES, text.len())?),
            None if state.undeclared.saturating_add(batch.new) >= self.max_keys => {
                return bad(Errno::ENOSPC, "more variables than max_keys");
            }
            None => {
                // Both charges first: what is refused for want of room has put nothing into the table.
                let of_key = charge(NAMED_BYTES, key.len())?;
                let of_value = charge(VALUE_BYTES, text.len())?;
                (NamedVariable::insert(key, Some(of_key))?, true, of_value)
            }
        };
        let prepare = || {
            let change = state
                .changes
                .saturating_add(batch.pending.len() as u64)
                .saturating_add(1);
            let value = VariableValue::new(text, origin, change, Some(charge))?;
            let shared = RcuBox::new(value.clone())?;
            batch.pending.push(
                Pending {
                    named: named.clone(),
                    value,
                    shared,
                    number,
                    is_new,
                },
                GFP_KERNEL,
            )?;
            batch.new = batch.new.saturating_add(is_new.into());
            Ok::<_, Error>(())
        };
        prepare().map_err(|error| {
            if is_new {
                named.remove();
            }
            error.into()
        })
    }
}

/// Resets all variables whose value is `old`.
fn reset_if(state: &mut RegistryState, old: impl Fn(&VariableValue) -> bool) {
    let mut from = 0;
    while let Some((place, named)) = table::next(from, &old) {
        reset(state, &named);
        from = place;
    }
}

/// Gives a variable its default, or takes it out of the table.
fn reset(state: &mut RegistryState, named: &Arc<NamedVariable>) {
    state.changes = state.changes.saturating_add(1);
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
            state.tell(named, Some(&default), number);
        }
        None => {
            named.remove();
            state.undeclared = state.undeclared.saturating_sub(1);
            state.tell(named, None, 0);
        }
    }
}

impl Drop for Setter {
    fn drop(&mut self) {
        let mut state = STATE.lock();
        let observer = state.observer.take();
        reset_if(&mut state, |value| {
            value.origin.source != ValueSource::Default
        });
        drop(state);
        drop(observer);
        // What was set is charged to the budget.
        rcu::rcu_barrier();
    }
}

impl Refused {
    /// With the line that it is about.
    fn at(self, line: u32) -> Self {
        match self {
            Refused::Text { errno, reason, .. } => Refused::Text {
                line,
                errno,
                reason,
            },
            error => error,
        }
    }
}

fn refused(errno: Errno, key: &str, reason: &str) -> Refused {
    let text = match key {
        "" => CString::try_from_fmt(fmt!("{reason}")),
        _ => CString::try_from_fmt(fmt!("{key}: {reason}")),
    };
    match text {
        Ok(reason) => Refused::Text {
            line: 0,
            errno,
            reason,
        },
        Err(error) => Refused::Error(error),
    }
}
