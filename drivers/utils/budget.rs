// SPDX-License-Identifier: GPL-2.0

//! Budgets: bounds on what users make this node keep, shared between the users.
//!
//! A [`Budget`] counts units of one kind: bytes of messages, queues, open files. What a user makes
//! the node keep is a [`Charge`] against the user's [`Account`], given back when it is dropped. The
//! budget bounds the sum of all charges. The accounts of users other than root are bounded by a
//! share of the budget (module parameter `user_share` of virgo_utils), so that no user takes all of
//! it from the others.
//!
//! Memory that is allocated on behalf of a running program is charged to the program's memory
//! cgroup, too: such allocations use `GFP_KERNEL_ACCOUNT`.
//!
//! # Locking
//!
//! The table of accounts has a mutex, taken to find an account. Charges are atomic counters; they
//! are made, resized and dropped in any context.

use crate::params;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// The most of what is shared that one user other than root may have, in percent.
pub fn user_share() -> u32 {
    params::user_share()
}

/// What a budget allows and has given out.
struct Totals {
    limit: u64,
    /// The most that one user other than root may have.
    share: u64,
    used: Atomic<u64>,
}

/// The charges of one user.
struct Entry {
    totals: Arc<Totals>,
    uid: u32,
    used: Atomic<u64>,
    /// [`Account`]s that refer to this entry, those in charges included. It grows from 0 under the
    /// table's lock only, so that an entry without any can be removed there.
    handles: Atomic<u64>,
}

/// A bound shared by users. See the module.
#[pin_data]
pub struct Budget {
    totals: Arc<Totals>,
    root: Account,
    /// Of users other than root, by uid.
    #[pin]
    table: Mutex<KVVec<Arc<Entry>>>,
}

/// A user's part of a budget: makes charges without a search for the user.
pub struct Account(Arc<Entry>);

/// Units of a budget that are in use on behalf of a user; given back when dropped.
pub struct Charge {
    account: Account,
    amount: u64,
}

impl Budget {
    /// A budget of `limit` units.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(limit: u64) -> Result<Pin<KBox<Self>>> {
        // At most 100 percent, so nothing overflows.
        let percent = u64::from(params::user_share());
        let share = limit / 100 * percent + limit % 100 * percent / 100;
        // Whoever may have a share may have one unit.
        let share = share.max(limit.min(1));
        let totals = Totals {
            limit,
            share,
            used: Atomic::new(0),
        };
        let totals = Arc::new(totals, GFP_KERNEL)?;
        let root = Account(Entry::new(&totals, 0)?);
        KBox::pin_init(
            pin_init!(Self {
                totals,
                root,
                table <- linux::new_mutex!(KVVec::new(), "virgo_budget"),
            }),
            GFP_KERNEL,
        )
    }

    /// Units that may be in use.
    pub fn limit(&self) -> u64 {
        self.totals.limit
    }

    /// Units in use.
    pub fn used(&self) -> u64 {
        self.totals.used.load(Relaxed)
    }

    /// Units that are not in use.
    pub fn free(&self) -> u64 {
        self.limit().saturating_sub(self.used())
    }

    /// Root's account. Any context.
    pub fn root(&self) -> Account {
        self.root.clone()
    }

    /// The account of user `uid`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn account(&self, uid: u32) -> Result<Account> {
        if uid == 0 {
            return Ok(self.root());
        }
        let search = |table: &KVVec<Arc<Entry>>| table.binary_search_by(|e| e.uid.cmp(&uid));
        let known = |table: &KVVec<Arc<Entry>>| {
            let entry = table.get(search(table).ok()?)?;
            Some(Account::of(entry.clone()))
        };
        let table = self.table.lock();
        if let Some(account) = known(&table) {
            return Ok(account);
        }
        drop(table);
        // Without the lock: in a memory cgroup that is full this waits, and others need not.
        let entry = Entry::new(&self.totals, uid)?;
        let mut table = self.table.lock();
        if let Some(account) = known(&table) {
            return Ok(account);
        }
        // Accounts are made seldom: a good time to remove those that nobody uses any more.
        table.retain(|entry| entry.handles.load(Relaxed) != 0);
        table.reserve(1, GFP_KERNEL)?;
        if let Err(at) = search(&table) {
            // Cannot fail: there is room.
            let _ = table.insert_within_capacity(at, entry.clone());
        }
        // `Entry::new` has counted this handle.
        Ok(Account(entry))
    }

    /// Charges `amount` units to user `uid`. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Account::charge`].
    pub fn charge(&self, uid: u32, amount: u64) -> Result<Charge> {
        self.account(uid)?.charge(amount)
    }

    /// Shows `see` each user that has charges, with their sum. May sleep.
    pub fn for_each(&self, mut see: impl FnMut(u32, u64)) {
        let root = self.root.used();
        if root > 0 {
            see(0, root);
        }
        for entry in &*self.table.lock() {
            let used = entry.used.load(Relaxed);
            if used > 0 {
                see(entry.uid, used);
            }
        }
    }
}

impl Entry {
    /// An entry with one handle.
    fn new(totals: &Arc<Totals>, uid: u32) -> Result<Arc<Self>> {
        let entry = Entry {
            totals: totals.clone(),
            uid,
            used: Atomic::new(0),
            handles: Atomic::new(1),
        };
        Ok(Arc::new(entry, GFP_KERNEL_ACCOUNT)?)
    }

    /// Adds `amount` to both counters, unless a bound is exceeded and `bounded` is true.
    ///
    /// Additions beyond a bound are taken back at once, so that a charge of another task may be
    /// refused meanwhile that would just have fitted; beyond a share only one of the same user.
    fn add(&self, amount: u64, bounded: bool) -> Result {
        let Totals { limit, share, used } = &*self.totals;
        if bounded && amount > *limit {
            return Err(ENOMEM);
        }
        let own = self.used.fetch_add(amount, Relaxed).saturating_add(amount);
        if bounded && self.uid != 0 && own > *share {
            self.used.fetch_sub(amount, Relaxed);
            return Err(EDQUOT);
        }
        let all = used.fetch_add(amount, Relaxed).saturating_add(amount);
        if bounded && all > *limit {
            self.remove(amount);
            return Err(ENOMEM);
        }
        Ok(())
    }

    fn remove(&self, amount: u64) {
        self.used.fetch_sub(amount, Relaxed);
        self.totals.used.fetch_sub(amount, Relaxed);
    }
}

impl Account {
    fn of(entry: Arc<Entry>) -> Self {
        entry.handles.fetch_add(1, Relaxed);
        Account(entry)
    }

    /// Whose account it is.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// Units in use on behalf of this user.
    pub fn used(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    /// Units that this user may still charge, if nobody else does before.
    pub fn free(&self) -> u64 {
        let Totals { limit, share, used } = &*self.0.totals;
        let free = limit.saturating_sub(used.load(Relaxed));
        match self.0.uid {
            0 => free,
            _ => free.min(share.saturating_sub(self.used())),
        }
    }

    /// Charges `amount` units. Any context.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if this user would have more than a user's share, [`ENOMEM`] if all users together
    /// would have more than the budget.
    pub fn charge(&self, amount: u64) -> Result<Charge> {
        self.0.add(amount, true)?;
        Ok(Charge {
            account: self.clone(),
            amount,
        })
    }

    /// Charges `amount` units even if that exceeds the bounds: for what is there already, such as
    /// what a disk has kept. Any context.
    pub fn charge_unbounded(&self, amount: u64) -> Charge {
        // Only a bounded addition fails.
        let _ = self.0.add(amount, false);
        Charge {
            account: self.clone(),
            amount,
        }
    }
}

impl Clone for Account {
    fn clone(&self) -> Self {
        // The count is not 0: it includes `self`.
        Account::of(self.0.clone())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.0.handles.fetch_sub(1, Relaxed);
    }
}

impl Charge {
    /// How many units it is.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Whom it is charged to.
    pub fn uid(&self) -> u32 {
        self.account.uid()
    }

    /// Makes it `amount` units. Any context.
    ///
    /// # Errors
    ///
    /// As for [`Account::charge`] if it grows; it stays as it was then.
    pub fn resize(&mut self, amount: u64) -> Result {
        match amount.checked_sub(self.amount) {
            Some(more) => self.account.0.add(more, true)?,
            None => self.account.0.remove(self.amount - amount),
        }
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.0.remove(self.amount);
    }
}
