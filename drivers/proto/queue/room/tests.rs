// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::queue::{
    limits::{OverflowPolicy, QueueLimits},
    shares::Sharing,
    slab::{Plain, Slab, SlabItem},
    state::{Push, Room},
};
use proptest::prelude::*;
use std::vec::Vec;

/// A message: bytes and publisher.
type Item = (u32, u32);

impl SlabItem for Item {
    fn publisher(&self) -> u32 {
        self.1
    }
}

type Queued = Queue<Slab<Plain<Item>>>;

const OWNER: u32 = 1000;
const OTHER: u32 = 1001;

/// Those who wait, by a number that says when they have come.
#[derive(Default)]
struct Waiting {
    all: Vec<(u32, WantedRoom)>,
    at: usize,
    selected: Vec<(u32, WantedRoom)>,
}

impl WaitingPublishers for Waiting {
    fn begin(&mut self) {
        self.at = 0;
    }

    fn next(&self) -> Option<WantedRoom> {
        self.all.get(self.at).map(|(_, wanted)| *wanted)
    }

    fn pass(&mut self) {
        self.at += 1;
    }

    fn select(&mut self) {
        let one = self.all.remove(self.at);
        self.selected.push(one);
    }
}

impl Waiting {
    fn leave(&mut self, index: usize) {
        self.all.remove(index);
        self.at -= usize::from(index < self.at);
    }
}

struct Test {
    queue: Queued,
    waiting: Waiting,
    offers: Offers,
    come: u32,
}

impl Test {
    fn new(messages: u32, bytes: u64) -> Self {
        let limits = QueueLimits {
            messages,
            bytes,
            policy: OverflowPolicy::Block,
            ..QueueLimits::DEFAULT
        };
        let sharing = Sharing {
            owner: OWNER,
            percent: 50,
            key: 1,
        };
        Test {
            queue: Queue::new(Plain::slab(), limits, 1, sharing),
            waiting: Waiting::default(),
            offers: Offers::new(),
            come: 0,
        }
    }

    fn push(&mut self, WantedRoom { bytes, uid }: WantedRoom) -> Room {
        let room = self.queue.make_room(bytes, uid, drop);
        if room == Room::Yes {
            let push = Push {
                item: (bytes, uid),
                bytes,
                priority: 4,
                delay_ms: 0,
            };
            self.queue.push(0, push).unwrap();
        }
        room
    }

    /// Publishes, or waits for room.
    fn publish(&mut self, wanted: WantedRoom) {
        if self.push(wanted) == Room::Later {
            self.come += 1;
            self.waiting.all.push((self.come, wanted));
            self.offers.joined(wanted);
        }
    }

    fn take(&mut self) -> bool {
        let taken = self.queue.take_acked().is_some();
        self.freed();
        taken
    }

    fn freed(&mut self) -> bool {
        self.offers.freed(&mut self.queue, &mut self.waiting)
    }

    fn step(&mut self) -> bool {
        self.offers.step(&mut self.queue, &mut self.waiting)
    }

    /// One that was selected publishes, or gives up.
    fn resume(&mut self, index: usize, publishes: bool) {
        let (_, wanted) = self.waiting.selected.remove(index);
        self.queue.withdraw(wanted);
        if publishes {
            assert_eq!(self.push(wanted), Room::Yes, "the room was promised");
        }
        self.freed();
    }

    fn fits(&mut self, wanted: WantedRoom) -> bool {
        let is_given = self.queue.promise(wanted, wanted.bytes) == Promise::Given;
        if is_given {
            self.queue.withdraw(wanted);
        }
        is_given
    }

    /// Nobody waits for whom there is room.
    fn assert_nobody_is_forgotten(&mut self) {
        for (_, wanted) in self.waiting.all.clone() {
            assert!(!self.fits(wanted), "{wanted:?} waits in vain");
        }
    }
}

fn of(uid: u32, bytes: u32) -> WantedRoom {
    WantedRoom { bytes, uid }
}

#[test]
fn as_many_are_selected_as_there_is_room_for_in_order() {
    let mut test = Test::new(3, 1 << 20);
    for _ in 0..100 {
        test.publish(of(OWNER, 10));
    }
    assert_eq!(test.waiting.all.len(), 97);
    assert!(test.take() && test.take());
    let selected: Vec<_> = test.waiting.selected.iter().map(|(n, _)| *n).collect();
    assert_eq!(selected, [1, 2]);
    // Nobody else gets what is promised.
    assert_eq!(test.push(of(OWNER, 10)), Room::Later);
    // One publishes; the room of the other, who gives up, is the next one's.
    test.resume(0, true);
    test.resume(0, false);
    let selected: Vec<_> = test.waiting.selected.iter().map(|(n, _)| *n).collect();
    assert_eq!(selected, [3]);
}

#[test]
fn room_that_is_too_little_for_the_first_is_for_those_behind() {
    let mut test = Test::new(100, 100);
    test.publish(of(OWNER, 60));
    test.publish(of(OWNER, 40));
    for bytes in [90, 70, 30, 60] {
        test.publish(of(OWNER, bytes));
    }
    assert!(test.take());
    // Beside the 40 bytes that are there.
    assert_eq!(test.waiting.selected, [(3, of(OWNER, 30))]);
    // Beside the 30 that are promised.
    assert!(test.take());
    assert_eq!(test.waiting.selected.pop(), Some((2, of(OWNER, 70))));
}

/// A user with many tasks whose share is used up holds up nobody behind them.
#[test]
fn those_whose_share_is_used_up_are_passed() {
    let mut test = Test::new(10, 1 << 20);
    for (count, uid) in [(5, OWNER), (1000, OTHER), (1, OWNER)] {
        for _ in 0..count {
            test.publish(of(uid, 10));
        }
    }
    assert_eq!(test.waiting.all.len(), 996);
    // The first message is the owner's: the other user has no room by that.
    assert!(test.take());
    assert!(test.waiting.selected.is_empty(), "a step is bounded");
    let steps = core::iter::from_fn(|| test.step().then_some(())).count();
    assert!((30..33).contains(&steps), "{steps}");
    assert_eq!(test.waiting.selected, [(996, of(OWNER, 10))]);
}

/// What becomes free while those who wait are asked is nobody's loss.
#[test]
fn room_that_comes_while_they_are_asked_is_offered_to_all() {
    let mut test = Test::new(1000, 1000);
    for bytes in [400, 300, 300] {
        test.publish(of(OWNER, bytes));
    }
    for _ in 0..100 {
        test.publish(of(OWNER, 500));
    }
    test.publish(of(OWNER, 10));
    assert!(test.take());
    // The first ones were asked in vain; now there is room for one of them.
    assert!(test.take());
    while test.step() {}
    let selected: Vec<_> = test.waiting.selected.iter().map(|(n, _)| *n).collect();
    assert_eq!(selected.len(), 2, "{selected:?}");
    assert!(selected.contains(&101));
    test.assert_nobody_is_forgotten();
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u32, u32),
    Take,
    Publishes(usize),
    GivesUp(usize),
    Leaves(usize),
    Ask,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sizes = prop::sample::select(&[10, 20, 90, 150][..]);
    let users = prop::sample::select(&[OWNER, OTHER][..]);
    let step = prop_oneof![
        6 => (sizes, users).prop_map(|(bytes, uid)| Step::Publish(bytes, uid)),
        3 => Just(Step::Take),
        3 => any::<usize>().prop_map(Step::Publishes),
        1 => any::<usize>().prop_map(Step::GivesUp),
        1 => any::<usize>().prop_map(Step::Leaves),
        2 => Just(Step::Ask),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #[test]
    fn no_room_is_left_unused_for_which_somebody_waits(steps in steps()) {
        let mut test = Test::new(8, 200);
        for step in steps {
            match step {
                Step::Publish(bytes, uid) => test.publish(of(uid, bytes)),
                Step::Take => {
                    test.take();
                }
                Step::Publishes(which) | Step::GivesUp(which)
                    if !test.waiting.selected.is_empty() =>
                {
                    let index = which % test.waiting.selected.len();
                    test.resume(index, matches!(step, Step::Publishes(_)));
                }
                Step::Leaves(which) if !test.waiting.all.is_empty() => {
                    let index = which % test.waiting.all.len();
                    test.waiting.leave(index);
                }
                Step::Ask => {
                    test.step();
                }
                _ => (),
            }
            if !test.offers.is_under_way {
                test.assert_nobody_is_forgotten();
            }
        }
        while test.step() {}
        test.assert_nobody_is_forgotten();
        // Who empties the queue serves all.
        while !test.waiting.all.is_empty() || !test.waiting.selected.is_empty() {
            while !test.waiting.selected.is_empty() {
                test.resume(0, true);
            }
            while test.step() {}
            prop_assert!(test.take() || !test.waiting.selected.is_empty());
        }
    }
}
