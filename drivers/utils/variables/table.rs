// SPDX-License-Identifier: GPL-2.0

//! The table of variables: read under RCU, changed under the registry's mutex.

use super::origin::ValueOrigin;
use crate::budget::Charge;
use kernel::{
    prelude::*,
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
    crypto,
    deadline,
    rcu::{
        RcuBox,
        RcuCell,
        RcuShared, //
    }, //
};
use virgo_proto::analytics::{
    list::unquoted,
    number, //
};

/// Places of the table; with so many variables each has one of its own, on average.
const BUCKETS: usize = 1024;

/// The table. It is a static so that a look-up needs no other pointer; [`super::Registry`] empties it.
static TABLE: [RcuCell<Bucket>; BUCKETS] = [const { RcuCell::empty() }; BUCKETS];

/// Variables of a place. With a secret key so many never come together by chance; the copy that each new
/// one makes, which nobody is charged for, is not to be larger.
const MAX_BUCKET: usize = 256;

/// The key of the hashes: whoever chooses keys of variables cannot choose their places.
static SEED: [Atomic<u64>; 2] = [Atomic::new(0), Atomic::new(0)];

/// Gives hashes a key of this boot's. Called once, before there are variables.
pub(super) fn seed() {
    for half in &SEED {
        half.store(crypto::random_u64(), Relaxed);
    }
}

/// How often a value was replaced or taken away.
static REPLACED: Atomic<u64> = Atomic::new(0);

/// How often a value or a variable was replaced or taken away. What it was charged is given back by
/// an RCU callback, later.
pub(super) fn replaced() -> u64 {
    REPLACED.load(Relaxed)
}

/// The variables of a place. Never changes: another one takes its place.
struct Bucket(KVec<Arc<NamedVariable>>);

/// A value that was in the table, or will be.
pub(super) type SharedValue = RcuShared<Arc<VariableValue>>;

/// A variable.
pub struct NamedVariable {
    hash: u64,
    key: KVec<u8>,
    value: RcuCell<Arc<VariableValue>>,
    /// Where the change was that was prepared for it last, in its batch; good for finding it, if it is
    /// still there. Used under the registry's mutex.
    pub(super) place: Atomic<usize>,
    /// Number of the batch that has named it last. Used under the registry's mutex.
    pub(super) batch: Atomic<u64>,
    /// How many held changes are about it: it stays in the table for them. Used under the registry's mutex.
    pub(super) held: Atomic<usize>,
    /// Of what is not declared.
    _charge: Option<KeyCharge>,
}

/// What an undeclared variable is charged besides its value: to who has set it first.
pub(super) struct KeyCharge {
    pub(super) _bytes: Charge,
    /// A key of `max_keys`; root's are not counted.
    pub(super) _key: Option<Charge>,
}

/// A value of a variable. Never changes.
pub struct VariableValue {
    text: KVec<u8>,
    integer: Option<i64>,
    decimal: Option<i64>,
    /// Who has set it.
    pub origin: ValueOrigin,
    /// When that was, in milliseconds since 1970. Does not change once the value is in the table.
    since_ms: Atomic<u64>,
    /// What was set is charged to who has set it.
    _charge: Option<Charge>,
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let (seconds, nanos) = deadline::wall();
    seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000)
}

impl VariableValue {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn new(
        text: &str,
        origin: ValueOrigin,
        charge: Option<Charge>,
    ) -> Result<Arc<Self>> {
        let mut copy = KVec::with_capacity(text.len(), GFP_KERNEL)?;
        copy.extend_from_slice(text.as_bytes(), GFP_KERNEL)?;
        let plain = unquoted(text);
        let value = VariableValue {
            text: copy,
            integer: number::integer(plain).or_else(|| number::boolean(plain).map(i64::from)),
            decimal: number::decimal(plain),
            origin,
            since_ms: Atomic::new(now_ms()),
            _charge: charge,
        };
        Ok(Arc::new(value, GFP_KERNEL)?)
    }

    /// It is put into the table now.
    pub(super) fn set_since(&self) {
        self.since_ms.store(now_ms(), Relaxed);
    }

    /// When it was set, in milliseconds since 1970.
    pub fn since_ms(&self) -> u64 {
        self.since_ms.load(Relaxed)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// As an integer, if it is one; a boolean is 0 or 1.
    pub fn integer(&self) -> Option<i64> {
        self.integer
    }

    /// As a decimal in millionths, if it is one.
    pub fn decimal(&self) -> Option<i64> {
        self.decimal
    }
}

impl NamedVariable {
    /// A variable without a value, in the table: nobody finds it before it has one. Not for a key that
    /// is there. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENOSPC`] if its place is full.
    pub(super) fn insert(key: &str, charge: Option<KeyCharge>) -> Result<Arc<Self>> {
        let mut copy = KVec::with_capacity(key.len(), GFP_KERNEL)?;
        copy.extend_from_slice(key.as_bytes(), GFP_KERNEL)?;
        let named = NamedVariable {
            hash: hash(key.as_bytes()),
            key: copy,
            value: RcuCell::empty(),
            place: Atomic::new(0),
            batch: Atomic::new(0),
            held: Atomic::new(0),
            _charge: charge,
        };
        let named = Arc::new(named, GFP_KERNEL)?;
        let place = bucket(named.hash).ok_or(EINVAL)?;
        let mut all = copy_of(place, 1, |_| true)?;
        if all.len() >= MAX_BUCKET {
            return Err(ENOSPC);
        }
        all.push(named.clone(), GFP_KERNEL)?;
        place.replace(Some(RcuBox::new(Bucket(all))?));
        Ok(named)
    }

    /// Takes the value away, and the variable out of the table unless changes of it are held; if there is no
    /// memory for that, it goes with the next one of its place. May sleep.
    pub(super) fn remove(&self) {
        self.clear();
        let Some(place) = bucket(self.hash) else {
            return;
        };
        let rest = copy_of(place, 0, |named| {
            named.held.load(Relaxed) > 0 || named.value.get(&rcu::read_lock()).is_some()
        });
        match rest {
            Ok(rest) if rest.is_empty() => place.replace(None),
            Ok(rest) => {
                if let Ok(rest) = RcuBox::new(Bucket(rest)) {
                    place.replace(Some(rest));
                }
            }
            Err(_) => (),
        }
    }

    /// Its key.
    pub fn key(&self) -> &str {
        core::str::from_utf8(&self.key).unwrap_or_default()
    }

    /// Its value. Any context.
    pub fn value(&self) -> Option<Arc<VariableValue>> {
        self.value.get(&rcu::read_lock()).cloned()
    }

    /// Takes the value away.
    pub(super) fn clear(&self) {
        self.replace(None);
    }

    /// Gives it another value.
    pub(super) fn set(&self, value: RcuBox<Arc<VariableValue>>) {
        self.replace(Some(value));
    }

    /// Gives it another value, or none, and returns the one that it had. Nobody else changes it.
    pub(super) fn swap(&self, value: Option<SharedValue>) -> Option<SharedValue> {
        let old = self.value.swap(value);
        if old.is_some() {
            REPLACED.fetch_add(1, Relaxed);
        }
        old
    }

    /// Nobody else changes it.
    fn replace(&self, value: Option<RcuBox<Arc<VariableValue>>>) {
        // Where nothing was, nothing is given back that somebody could wait for.
        let had_one = self.value.get(&rcu::read_lock()).is_some();
        self.value.replace(value);
        if had_one {
            REPLACED.fetch_add(1, Relaxed);
        }
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut secret = [0; 16];
    for (to, half) in secret.chunks_exact_mut(8).zip(&SEED) {
        to.copy_from_slice(&half.load(Relaxed).to_ne_bytes());
    }
    crypto::siphash(&secret, key)
}

fn bucket(hash: u64) -> Option<&'static RcuCell<Bucket>> {
    TABLE.get(hash as usize % BUCKETS)
}

fn with_named<T>(key: &[u8], see: impl FnOnce(&Arc<NamedVariable>, &rcu::Guard) -> T) -> Option<T> {
    let hash = hash(key);
    let guard = rcu::read_lock();
    let all = &bucket(hash)?.get(&guard)?.0;
    let named = all
        .iter()
        .find(|named| named.hash == hash && named.key.as_slice() == key)?;
    Some(see(named, &guard))
}

/// Shows `see`, which must not sleep, the value of a variable. Any context.
pub(super) fn with_value<T>(key: &[u8], see: impl FnOnce(&VariableValue) -> T) -> Option<T> {
    with_named(key, |named, guard| {
        named.value.get(guard).map(|value| see(value))
    })
    .flatten()
}

/// The variable with this key, which may be one without a value.
pub(super) fn find(key: &str) -> Option<Arc<NamedVariable>> {
    with_named(key.as_bytes(), |named, _| named.clone())
}

/// What is in a place, as far as `keep` says so, with room for `more`. Nobody else changes the table.
/// May sleep.
fn copy_of(
    place: &RcuCell<Bucket>,
    more: usize,
    keep: impl Fn(&NamedVariable) -> bool,
) -> Result<KVec<Arc<NamedVariable>>> {
    let len = place.get(&rcu::read_lock()).map_or(0, |all| all.0.len());
    let mut copy = KVec::with_capacity(len.saturating_add(more), GFP_KERNEL)?;
    let guard = rcu::read_lock();
    for named in place.get(&guard).map(|all| &all.0).into_iter().flatten() {
        if keep(named) {
            // There is room: nothing is allocated.
            copy.push(named.clone(), GFP_ATOMIC)?;
        }
    }
    Ok(copy)
}

/// Shows `see` each variable that has a value. Others may change it meanwhile, unless the caller keeps
/// them from it. May sleep.
///
/// # Errors
///
/// Those of `see`.
pub(super) fn try_for_each<E>(
    mut see: impl FnMut(&Arc<NamedVariable>, &VariableValue) -> Result<(), E>,
) -> Result<(), E> {
    for place in &TABLE {
        let nth = |n: usize| Some(place.get(&rcu::read_lock())?.0.get(n)?.clone());
        for named in (0..).map_while(nth) {
            if let Some(value) = named.value() {
                see(&named, &value)?;
            }
        }
    }
    Ok(())
}

/// The next variable, at or after place `from`, that is `wanted` with its value, and its place.
pub(super) fn next(
    from: usize,
    wanted: impl Fn(&NamedVariable, &VariableValue) -> bool,
) -> Option<(usize, Arc<NamedVariable>)> {
    let guard = rcu::read_lock();
    TABLE.iter().enumerate().skip(from).find_map(|(at, place)| {
        let mut all = place.get(&guard)?.0.iter();
        let named = all.find(|named| {
            let value = named.value.get(&guard);
            value.is_some_and(|value| wanted(named, value))
        })?;
        Some((at, named.clone()))
    })
}

/// Empties the table. Nobody uses it any more.
pub(super) fn clear() {
    for place in &TABLE {
        place.replace(None);
    }
}
