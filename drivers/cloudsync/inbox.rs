// SPDX-License-Identifier: GPL-2.0

//! What other nodes say of locks. Their heartbeats come on the same connection, and do not wait for the names: while
//! these are in use the rest lies here, in the order in which it came.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use virgo_utils::{
    Deferred,
    RequestBody, //
};

/// What a node has said, and whoever is to be answered.
pub(crate) struct Letter {
    pub(crate) op: u16,
    pub(crate) request: RequestBody,
    pub(crate) reply: Deferred,
}

/// The place of a letter in the order. The letter follows when its request has been taken out of what was
/// received; meanwhile another session of the node may bring the next.
struct Place {
    number: u64,
    letter: Option<Letter>,
}

struct Letters {
    waiting: KVec<Place>,
    /// Places that there were until now.
    places: u64,
    /// One that was the first is being answered.
    is_read: bool,
}

/// What one node has said and was not answered: a server owes a node only so many replies.
#[pin_data]
pub(crate) struct Inbox {
    #[pin]
    letters: Mutex<Letters>,
}

impl Inbox {
    /// May sleep.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let letters = Letters {
            waiting: KVec::new(),
            places: 0,
            is_read: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                letters <- kernel::new_mutex!(letters, "virgo_lock_inbox"),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn is_empty(&self) -> bool {
        let letters = self.letters.lock();
        letters.waiting.is_empty() && !letters.is_read
    }

    /// A place behind all others. Returns its number.
    pub(crate) fn reserve(&self) -> Result<u64> {
        let mut letters = self.letters.lock();
        let number = letters.places;
        let place = Place {
            number,
            letter: None,
        };
        letters.waiting.push(place, GFP_KERNEL)?;
        letters.places = number.wrapping_add(1);
        Ok(number)
    }

    pub(crate) fn put(&self, number: u64, letter: Letter) {
        let mut letters = self.letters.lock();
        let mut places = letters.waiting.iter_mut();
        if let Some(place) = places.find(|place| place.number == number) {
            place.letter = Some(letter);
        }
    }

    /// Gives a place up that has no letter.
    pub(crate) fn give_up(&self, number: u64) {
        let is_kept = |place: &mut Place| place.number != number || place.letter.is_some();
        self.letters.lock().waiting.retain(is_kept);
    }

    /// The first letter, if it is there.
    pub(crate) fn take(&self) -> Option<Letter> {
        let mut letters = self.letters.lock();
        let next = letters
            .waiting
            .first_mut()
            .and_then(|place| place.letter.take());
        if next.is_some() {
            let _ = letters.waiting.remove(0);
        }
        letters.is_read = next.is_some();
        next
    }
}
