// SPDX-License-Identifier: GPL-2.0

//! Variables by which what was learnt outside weighs this node's load: other nodes send it fewer calls,
//! or more.

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
use virgo_proto::analytics::{
    check,
    list,
    number::{
        self,
        SCALE, //
    },
    variable::{
        Declaration,
        ValueType, //
    }, //
};
use virgo_utils::variables::{
    Changed,
    Variable,
    VariableValue, //
};

const WEIGHT: Declaration = Declaration {
    name: "cpupooling_load_weight",
    kind: ValueType::Decimal,
    unit: "",
    min: SCALE / 100,
    max: 100 * SCALE,
    default: SCALE,
    check: None,
    reader: "cpupooling",
    about: "what this node's load is multiplied by before nodes are compared",
};

const LOCALHOST_LOAD: Declaration = Declaration {
    name: "localhost_load",
    kind: ValueType::List,
    unit: "",
    min: 0,
    max: 0,
    default: 0,
    check: Some(check::load),
    reader: "cpupooling",
    about: "as /proc/loadavg has it: so many tasks count as runnable at least, by its first number",
};

/// What was learnt about the load. Reading it costs no more than two loads.
pub(crate) struct Learnt {
    weight: Variable,
    load: Arc<LearntLoad>,
    _localhost_load: Variable,
}

/// Runnable tasks, in millionths.
struct LearntLoad(Atomic<i64>);

impl Changed for LearntLoad {
    fn changed(&self, value: &VariableValue) {
        let first = list::items(value.text()).next();
        let load = first.and_then(number::decimal).unwrap_or(0);
        self.0.store(load.max(0), Relaxed);
    }
}

impl Learnt {
    /// Declares the variables. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Variable::declare`].
    pub(crate) fn new() -> Result<Self> {
        let load = Arc::new(LearntLoad(Atomic::new(0)), GFP_KERNEL)?;
        Ok(Learnt {
            weight: Variable::declare(&WEIGHT)?,
            _localhost_load: Variable::declare_and_tell(&LOCALHOST_LOAD, Some(load.clone()))?,
            load,
        })
    }

    /// Runnable tasks that count, when `measured` are.
    pub(crate) fn runnable(&self, measured: u32) -> u32 {
        let learnt = self.load.0.load(Relaxed).saturating_add(SCALE - 1) / SCALE;
        self.weighed(measured.max(u32::try_from(learnt).unwrap_or(u32::MAX)))
    }

    /// `load`, weighed.
    pub(crate) fn weighed(&self, load: u32) -> u32 {
        let weight = self.weight.get();
        if weight == SCALE {
            return load;
        }
        // To the nearest: a light weight is not to make every load nothing.
        let weighed = i64::from(load)
            .saturating_mul(weight)
            .saturating_add(SCALE / 2)
            / SCALE;
        u32::try_from(weighed).unwrap_or(u32::MAX)
    }
}
