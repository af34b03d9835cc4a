// SPDX-License-Identifier: GPL-2.0

//! The users of a client, and the slots that each has.

use super::class::Class;

/// Users whose requests are told apart at a time. More than these share what one of them has.
pub(super) const USERS: usize = 32;

/// A user whose requests have slots, or wait for them.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    /// Slots that its requests have, or are to have, by class.
    held: [u16; Class::COUNT],
    /// How many of these requests were given up.
    given_up: u16,
}

/// See the module. Users are named by their numbers, below [`USERS`]; root is number 0.
pub(super) struct Users {
    users: [User; USERS],
    /// The one whose request came last.
    last: u8,
}

impl Users {
    /// Nobody but root is known, and nobody has a slot.
    pub(super) const fn new() -> Self {
        let nobody = User {
            uid: 0,
            held: [0; Class::COUNT],
            given_up: 0,
        };
        Users {
            users: [nobody; USERS],
            last: 0,
        }
    }

    /// The number of user `uid`: its own, a new one of those that have no slots and are not `waiting`, or
    /// if there are too many users that of another.
    pub(super) fn find(&mut self, uid: u32, waiting: impl Fn(usize) -> bool) -> u8 {
        let is = |user: &User| user.uid == uid;
        if self.users.get(usize::from(self.last)).is_some_and(is) {
            return self.last;
        }
        let idle = |user: &User| user.held == [0; Class::COUNT];
        let at = self.users.iter().position(is).or_else(|| {
            let unused = |&at: &usize| self.users.get(at).is_some_and(idle) && !waiting(at);
            let new = (1..USERS).find(unused)?;
            self.users.get_mut(new)?.uid = uid;
            Some(new)
        });
        let shared = || (uid as usize % (USERS - 1)).saturating_add(1);
        // There are fewer than that.
        self.last = at.unwrap_or_else(shared) as u8;
        self.last
    }

    fn get(&self, user: u8) -> Option<&User> {
        self.users.get(usize::from(user))
    }

    /// Slots of a class that a user has; none for root, which has no share.
    pub(super) fn counted(&self, user: u8, class: Class) -> u16 {
        match self.get(user) {
            Some(user) if user.uid != 0 => user.held_of(class),
            _ => 0,
        }
    }

    /// Slots of a class that a user has.
    pub(super) fn held(&self, user: u8, class: Class) -> u16 {
        self.get(user).map_or(0, |user| user.held_of(class))
    }

    /// Requests that a user has given up, and that keep their slots.
    pub(super) fn given_up(&self, user: u8) -> u16 {
        self.get(user).map_or(0, |user| user.given_up)
    }

    /// A user has another slot of a class.
    pub(super) fn hold(&mut self, user: u8, class: Class) {
        if let Some(held) = self.held_mut(user, class) {
            *held = held.saturating_add(1);
        }
    }

    /// A user has one less.
    pub(super) fn unhold(&mut self, user: u8, class: Class) {
        if let Some(held) = self.held_mut(user, class) {
            *held = held.saturating_sub(1);
        }
    }

    /// A user has given up another request, which keeps its slot.
    pub(super) fn keep(&mut self, user: u8) {
        if let Some(user) = self.users.get_mut(usize::from(user)) {
            user.given_up = user.given_up.saturating_add(1);
        }
    }

    /// One of those does not keep its slot any more.
    pub(super) fn unkeep(&mut self, user: u8) {
        if let Some(user) = self.users.get_mut(usize::from(user)) {
            user.given_up = user.given_up.saturating_sub(1);
        }
    }

    fn held_mut(&mut self, user: u8, class: Class) -> Option<&mut u16> {
        let user = self.users.get_mut(usize::from(user))?;
        user.held.get_mut(class.index())
    }
}

impl User {
    fn held_of(&self, class: Class) -> u16 {
        self.held.get(class.index()).copied().unwrap_or(0)
    }
}
