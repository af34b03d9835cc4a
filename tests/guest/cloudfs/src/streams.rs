// SPDX-License-Identifier: GPL-2.0
//! Who writes all the time, and who wants something else meanwhile.

use crate::{
    place::{Dir, EXPORT, PATIENCE, other_node},
    raw,
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use virgo::{File, Open};

/// Those that a cluster test asks for by name, after it has made a disk slow.
pub(crate) const ON_REQUEST: &[crate::Test] = &[(
    "streams::three_who_write_leave_room_for_a_fourth",
    three_who_write_leave_room_for_a_fourth,
)];

/// Users, and to how many files each of them writes: as many as workers may be at one file system.
const USERS: [(u32, usize); 3] = [(1000, 11), (1001, 4), (1002, 1)];

/// While some of them wait for the disk, there is always a next one.
const WRITERS: usize = 3;

/// Three users never leave a file without a write that waits; the fourth is served all the same.
fn three_who_write_leave_room_for_a_fourth() {
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
            let look = raw::as_uid(1003, || virgo::metadata(&export));
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
    let names = USERS.into_iter().flat_map(|(uid, files)| {
        let name = move |number| (uid, format!("{uid}-{number}"));
        (0..files).map(name)
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
