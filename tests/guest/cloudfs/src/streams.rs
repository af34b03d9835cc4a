// SPDX-License-Identifier: GPL-2.0
//! Who writes all the time, and who wants something else meanwhile.

use crate::{
    place::{Dir, EXPORT, PATIENCE, other_node},
    raw,
};
use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use virgo::{File, Open};

/// Those that a cluster test asks for by name, after it has made a disk slow.
pub(crate) const ON_REQUEST: &[crate::Test] = &[(
    "streams::users_who_write_leave_room_for_another",
    users_who_write_leave_room_for_another,
)];

/// Users who write. Three keep all workers that may be at one file system only if they come in a certain
/// order; as soon as one of these is free for a moment, another user has room for good. Eight keep all of
/// them, however they come.
const USERS: Range<u32> = 1000..1008;

/// To so many files each: there is always one for which a worker is wanted.
const FILES: usize = 3;

/// While some of them wait for the disk, there is always a next one.
const WRITERS: usize = 3;

/// Users never leave a file without a write that waits; another one is served all the same.
fn users_who_write_leave_room_for_another() {
    let node = other_node();
    let dir = Dir::on(node);
    let export = format!("{node}:{EXPORT}");
    let over = AtomicBool::new(false);
    let files = open_all(&dir);
    thread::scope(|scope| {
        for (file, over) in files.iter().map(|file| (file, &over)) {
            for _ in 0..WRITERS {
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        // Some wait for too long.
                        let _ = file.write_at(0, &[1; 4096]);
                    }
                });
            }
        }
        thread::sleep(Duration::from_secs(5));
        let looks = (0..5).map(|_| {
            let start = Instant::now();
            let look = raw::as_uid(USERS.end, || virgo::metadata(&export));
            (look.map(drop), start.elapsed())
        });
        let looks: Vec<_> = looks.collect();
        over.store(true, Ordering::Relaxed);
        println!("{looks:?}");
        assert!(looks.iter().all(|(look, _)| look.is_ok()), "{looks:?}");
    });
}

/// The files of all users, opened by them.
fn open_all(dir: &Dir) -> Vec<File> {
    let names = USERS.flat_map(|uid| {
        let name = move |number| (uid, format!("{uid}-{number}"));
        (0..FILES).map(name)
    });
    let open = |(uid, name): (u32, String)| {
        let name = dir.at(&name);
        let end = Instant::now() + PATIENCE;
        loop {
            let file = raw::as_uid(uid, || Open::new().write().create().sync().open(&name));
            match file {
                Ok(file) => return file,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        }
    };
    names.map(open).collect()
}
