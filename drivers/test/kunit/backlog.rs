// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of the backlog: what ends an item, and what has it tried again.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use linux::deadline::Deadline;
use virgo_proto::vuid::NodeId;
use virgo_utils::{
    Backlog,
    RetryWork, //
};

/// What happens to items.
struct Counts {
    attempts: Atomic<u32>,
    ended: Atomic<u32>,
}

/// Counts its end. It is for this node.
struct Item(Arc<Counts>, NodeId);

impl Drop for Item {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

/// Each attempt ends like this.
struct Ends {
    result: Result,
    counts: Arc<Counts>,
}

impl RetryWork for Ends {
    type Item = Item;

    const MAX: usize = 1;

    const AT_ONCE: usize = 4;

    fn node(item: &Item) -> NodeId {
        item.1
    }

    fn attempt(&self, _: NodeId, _: &[Item]) -> Result {
        self.counts.attempts.fetch_add(1, Relaxed);
        self.result
    }
}

/// Waits until `counter` is 1, for some time.
fn is_one(counter: &Atomic<u32>) -> bool {
    let deadline = Deadline::after_ms(10_000);
    while counter.load(Relaxed) == 0 && !deadline.passed() {
        fsleep(Delta::from_millis(1));
    }
    counter.load(Relaxed) == 1
}

/// A backlog, and what has happened to its item.
type Tried = (Pin<KBox<Backlog<Ends>>>, Arc<Counts>);

/// A backlog with an item, whose attempt has ended with `result`.
fn tried(result: Result) -> Result<Tried> {
    let counts = Counts {
        attempts: Atomic::new(0),
        ended: Atomic::new(0),
    };
    let counts = Arc::new(counts, GFP_KERNEL)?;
    let ends = Ends {
        result,
        counts: counts.clone(),
    };
    let backlog = Backlog::new(c"virgo_test", ends)?;
    backlog.add(Item(counts.clone(), 1));
    match is_one(&counts.attempts) {
        true => Ok((backlog, counts)),
        false => Err(ETIMEDOUT),
    }
}

#[kunit_tests(virgo_backlog)]
mod tests {
    use super::{
        is_one,
        tried,
        Item, //
    };
    use kernel::{
        prelude::*,
        sync::atomic::Relaxed,
        time::{
            delay::fsleep,
            Delta, //
        }, //
    };
    use linux::deadline::Deadline;

    #[test]
    fn an_answer_ends_an_item() -> Result {
        let (_backlog, counts) = tried(Ok(()))?;
        assert!(is_one(&counts.ended));
        Ok(())
    }

    #[test]
    fn an_item_of_a_node_that_is_no_more_ends() -> Result {
        let (_backlog, counts) = tried(Err(ENODEV))?;
        assert!(is_one(&counts.ended));
        Ok(())
    }

    #[test]
    fn an_item_waits_for_a_node_that_does_not_answer() -> Result {
        let (backlog, counts) = tried(Err(ETIMEDOUT))?;
        fsleep(Delta::from_millis(100));
        assert_eq!(counts.ended.load(Relaxed), 0);
        drop(backlog);
        assert!(is_one(&counts.ended));
        Ok(())
    }

    #[test]
    fn what_waits_for_a_node_takes_no_room_from_others() -> Result {
        let (backlog, counts) = tried(Err(ETIMEDOUT))?;
        // There is room for one of each node.
        backlog.add(Item(counts.clone(), 1));
        assert!(is_one(&counts.ended));
        backlog.add(Item(counts.clone(), 2));
        assert_eq!(counts.ended.load(Relaxed), 1);
        let deadline = Deadline::after_ms(10_000);
        while counts.attempts.load(Relaxed) < 2 && !deadline.passed() {
            fsleep(Delta::from_millis(1));
        }
        assert_eq!(counts.attempts.load(Relaxed), 2);
        Ok(())
    }
}
