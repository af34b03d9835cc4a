// SPDX-License-Identifier: GPL-2.0
//! Pools that are full.

use crate::{pool, raw};
use std::time::Duration;
use virgo::{Allocation, Id, Place, Result};

crate::tests![
    a_full_pool_stays_usable,
    a_full_cluster_recovers,
    a_user_fills_only_a_share,
    what_comes_too_late_takes_nothing,
];

const STEP: u64 = 1 << 20;

/// Users without rights.
const USERS: [u32; 2] = [65534, 1000];

/// Allocates until that fails, with `errno`. Returns the ids.
fn fill(place: Place, errno: i32) -> Vec<Id> {
    let mut ids = Vec::new();
    loop {
        match Allocation::new(STEP).place(place).allocate() {
            Ok(id) => ids.push(id),
            Err(error) => {
                assert_eq!(error.errno(), errno, "after {} allocations", ids.len());
                return ids;
            }
        }
        assert!(ids.len() < 1 << 20, "the pool has no end");
    }
}

fn free(ids: Vec<Id>) {
    ids.into_iter().try_for_each(virgo::free).expect("free");
}

/// What is there when a pool is full stays usable, nothing more fits, and what is asked for in vain
/// takes nothing.
fn a_full_pool_stays_usable() {
    let place = Place::Node(pool::this_node());
    let ids = fill(place, libc::ENOMEM);
    let last = *ids.last().expect("an empty pool has room");
    virgo::set(last, STEP - 4, b"full").expect("set in a full pool");
    let mut data = [0; 4];
    assert_eq!(virgo::get(last, STEP - 4, &mut data), Ok(4));
    assert_eq!(&data, b"full");

    let before = pool::used();
    for size in [STEP, 10 * STEP, 1000 * STEP] {
        let outcome: Result<Id> = Allocation::new(size).place(place).allocate();
        assert_eq!(
            outcome.map_err(|e| e.errno()),
            Err(libc::ENOMEM),
            "{size} bytes"
        );
        pool::assert_settles(before);
    }
    free(ids);
}

fn a_full_cluster_recovers() {
    let ids = fill(Place::LeastUsed, libc::ENOMEM);
    let room = ids.len();
    free(ids);
    let again = fill(Place::LeastUsed, libc::ENOMEM);
    assert_eq!(
        again.len(),
        room,
        "allocations that fit after all were freed"
    );
    free(again);
}

/// One user takes no more than a share of a pool (half, unless it is configured), in one object, in
/// many, and split; root and another user still have room.
fn a_user_fills_only_a_share() {
    let place = Place::Node(pool::this_node());
    let share = pool::limit() / 2;
    let [one, other] = USERS;
    let whole = raw::as_uid(one, || Allocation::new(share).place(place).allocate());
    assert_eq!(
        whole.map_err(|e| e.errno()),
        Err(libc::EDQUOT),
        "all at once"
    );
    let before = pool::used_here();
    let ids = raw::as_uid(one, || fill(place, libc::EDQUOT));
    let taken = pool::used_here() - before;
    assert!(
        taken <= share && taken + STEP + STEP / 8 > share,
        "{taken} bytes taken of {share}"
    );
    for uid in [0, other] {
        let id = raw::as_uid(uid, || Allocation::new(STEP).place(place).allocate());
        let id = id.unwrap_or_else(|error| panic!("user {uid}: {error}"));
        raw::as_uid(uid, || virgo::free(id)).expect("free");
    }
    raw::as_uid(one, || free(ids));
}

/// Half of the memory that the cluster has left, in next to no time. On a node that is alone, or a fast one, that
/// may even work.
fn what_comes_too_late_takes_nothing() {
    let before = pool::used();
    let outcome = Allocation::new(pool::room() / 2)
        .place(Place::Random)
        .timeout(Duration::from_millis(50))
        .allocate();
    match outcome {
        Ok(id) => virgo::free(id).expect("free"),
        Err(error) => assert_eq!(error.errno(), libc::ETIMEDOUT, "{error}"),
    }
    pool::assert_settles(before);
}
