// SPDX-License-Identifier: GPL-2.0

//! Changes that are made together, once all of each is done that may fail. Under the registry's mutex.

use super::{
    origin::ValueOrigin,
    refused::{
        refused,
        Refused, //
    },
    table::{
        NamedVariable,
        VariableValue, //
    }, //
};
use crate::budget::Charge;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::rcu::RcuBox;
use virgo_proto::errno::Errno;

/// What a source may set.
pub struct SourceRules {
    /// Pairs at once.
    pub max_pairs: usize,
    /// Variables.
    pub may_set: fn(&str) -> bool,
}

impl SourceRules {
    pub(super) const ALL: SourceRules = SourceRules {
        max_pairs: usize::MAX,
        may_set: |_| true,
    };
}

/// A change that is sure to succeed.
pub(super) struct Pending {
    pub(super) named: Arc<NamedVariable>,
    pub(super) value: Arc<VariableValue>,
    pub(super) shared: RcuBox<Arc<VariableValue>>,
    pub(super) number: i64,
    /// The variable was put into the table for this change.
    pub(super) is_new: bool,
}

/// Changes that are made together, or not at all.
pub(super) struct Batch {
    /// No other has this number.
    pub(super) number: u64,
    pub(super) origin: ValueOrigin,
    pub(super) pending: KVVec<Pending>,
    /// Pairs, those that change nothing and those that others have replaced included.
    pub(super) pairs: usize,
    /// Variables that they name.
    pub(super) variables: usize,
    /// How many variables are new.
    pub(super) new: usize,
}

impl Batch {
    pub(super) fn new(number: u64, origin: ValueOrigin) -> Self {
        Batch {
            number,
            origin,
            pending: KVVec::new(),
            pairs: 0,
            variables: 0,
            new: 0,
        }
    }

    /// Whether one more pair is allowed.
    pub(super) fn admit(&mut self, key: &str, rules: &SourceRules) -> Result<(), Refused> {
        self.pairs = self.pairs.saturating_add(1);
        if self.pairs > rules.max_pairs {
            return Err(refused(
                Errno::EMSGSIZE,
                key,
                "more pairs than a line may have",
            ));
        }
        match (rules.may_set)(key) {
            true => Ok(()),
            false => Err(refused(Errno::EPERM, key, "not to be set in this way")),
        }
    }

    /// The change of this variable, if there is one already.
    pub(super) fn find(&mut self, named: &Arc<NamedVariable>) -> Option<&mut Pending> {
        let at = named.place.load(Relaxed);
        let pending = self.pending.get_mut(at)?;
        // The place may be that of another batch.
        Arc::ptr_eq(&pending.named, named).then_some(pending)
    }

    /// The variable is named by this batch.
    pub(super) fn note(&mut self, named: &NamedVariable) {
        if named.batch.load(Relaxed) != self.number {
            named.batch.store(self.number, Relaxed);
            self.variables = self.variables.saturating_add(1);
        }
    }

    pub(super) fn add(
        &mut self,
        named: &Arc<NamedVariable>,
        text: &str,
        number: i64,
        is_new: bool,
        charge: Option<Charge>,
    ) -> Result {
        let at = self.pending.len();
        let value = VariableValue::new(text, self.origin, charge)?;
        let shared = RcuBox::new(value.clone())?;
        self.pending.push(
            Pending {
                named: named.clone(),
                value,
                shared,
                number,
                is_new,
            },
            GFP_KERNEL,
        )?;
        named.place.store(at, Relaxed);
        self.new = self.new.saturating_add(is_new.into());
        Ok(())
    }
}
