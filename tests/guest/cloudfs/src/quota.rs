// SPDX-License-Identifier: GPL-2.0
//! One user does not take all open files from the others.

use crate::{
    place::{PATIENCE, errno, other_node, this_node},
    raw,
};
use std::{
    thread,
    time::{Duration, Instant},
};
use virgo::File;

/// Those that a cluster test asks for by name, after it has set the limit.
pub(crate) const ON_REQUEST: &[crate::Test] =
    &[("quota::open_files_are_shared", open_files_are_shared)];

/// `VIRGO_LIMIT` files may be open, on this node or on the other: whichever limit is set.
fn open_files_are_shared() {
    let limit: usize = std::env::var("VIRGO_LIMIT")
        .expect("VIRGO_LIMIT")
        .parse()
        .expect("a number");
    let node = if std::env::var_os("VIRGO_HERE").is_some() {
        this_node()
    } else {
        other_node()
    };
    let name = format!("{node}:/srv/ro/readme");
    let open = |uid, count| {
        raw::as_uid(uid, || {
            let opened = (0..count).map(|_| File::open(&name));
            opened.collect::<virgo::Result<Vec<_>>>()
        })
    };
    // A user has half, other users and root the rest.
    let first = open(1000, limit / 2).expect("the share of a user");
    assert_eq!(errno(open(1000, 1)), libc::EDQUOT);
    let second = open(1001, limit / 2 - 1).expect("another user's");
    let last = open(0, 1).expect("root's");
    let full = errno(open(0, 1));
    assert!([libc::EMFILE, libc::ENFILE].contains(&full), "{full}");
    // What is closed can be opened again, once it is closed there, too.
    drop((first, second, last));
    let end = Instant::now() + PATIENCE;
    while let Err(error) = open(1000, limit / 2) {
        assert!(Instant::now() < end, "{error}");
        thread::sleep(Duration::from_millis(50));
    }
}
