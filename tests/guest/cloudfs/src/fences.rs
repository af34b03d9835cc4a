// SPDX-License-Identifier: GPL-2.0
//! Files that a lock guards refuse who had the lock before, who has another one, and who has none.

use crate::{
    place::{Dir, EXPORT, READ_ONLY, errno, everywhere, other_node, this_node},
    raw,
    region::{PAGE, Region},
    rounds::Rounds,
    tests,
};
use rustix::{
    fs::{XattrFlags, getxattr, removexattr, setxattr},
    io::Errno,
};
use std::{fs, thread, time::Duration};
use virgo::{
    File, Open,
    abi::{FenceArgs, OpenArgs, nr},
    lock::Fence,
};

tests![
    late_writers_are_refused,
    opening_raises_the_fence,
    the_fence_stays_when_all_have_closed,
    a_late_opener_cuts_nothing,
    who_only_reads_needs_no_lock,
    all_names_of_a_file_have_one_fence,
    a_lock_is_for_writing,
    the_fence_is_an_attribute_that_root_can_remove,
    an_attribute_of_another_kind_is_left_alone,
    nobody_writes_behind_the_next_holder,
    the_call_of_2017_needs_a_lock_to_write,
    programs_without_fences_go_on_working,
    bad_fences,
];

const ATTRIBUTE: &str = "trusted.virgo.fence";

fn fence(token: u64) -> Fence {
    Fence::new("ledger", token)
}

/// How who has the lock with this token opens a file.
fn holder(token: u64) -> Open {
    Open::new().read().write().create().fenced(fence(token))
}

/// How others do.
fn stranger() -> Open {
    Open::new().read().write().create()
}

fn content(name: &str) -> Vec<u8> {
    let file = File::open(name).expect("open");
    let mut data = vec![0; 100];
    let n = file.read_at(0, &mut data).expect("read");
    data.truncate(n);
    data
}

/// Asserts that a file can neither be written to nor cut, for this reason.
fn assert_refused(file: &File, expected: i32) {
    assert_eq!(errno(file.write_at(0, b"late")), expected);
    assert_eq!(errno(file.write_at(1 << 20, b"late")), expected);
    assert_eq!(errno(file.set_len(1)), expected);
    file.sync().expect("nothing was written");
}

fn late_writers_are_refused() {
    everywhere(|dir| {
        let name = dir.at("a");
        let other = stranger().open(&name).expect("open");
        other.write_at(0, b"before").expect("no lock yet");
        let first = holder(7).open(&name).expect("open");
        let again = holder(7).append().open(&name).expect("the same holder");
        assert_refused(&other, libc::ENOLCK);
        first.write_at(0, b"first").expect("write");
        again.write_at(0, b"!").expect("append");
        let next = holder(8).open(&name).expect("open");
        for late in [&first, &again] {
            assert_refused(late, libc::ESTALE);
        }
        assert_refused(&other, libc::ENOLCK);
        next.write_at(0, b"next").expect("write");
        next.set_len(4).expect("truncate");
        next.sync().expect("sync");
        next.sync_data().expect("sync");
        let error = first.write_at(0, b"x").expect_err("late");
        assert!(error.to_string().contains("has had the lock"), "{error}");
        assert!(error.is_of_fence() && error.is_of_file());
        assert_eq!(content(&name), b"next");
        // More than goes in one request.
        let large = vec![b'x'; 300_000];
        assert_eq!(errno(first.write_at(0, &large)), libc::ESTALE);
        assert_eq!(content(&name), b"next");
        next.write_at(0, &large).expect("write");
    });
}

fn opening_raises_the_fence() {
    everywhere(|dir| {
        let name = dir.at("a");
        drop(holder(7).open(&name).expect("open"));
        let late = holder(6).open(&name).expect_err("late");
        assert_eq!(late.errno(), libc::ESTALE);
        assert!(late.is_of_fence(), "{late}");
        let other = Open::new().write().fenced(Fence::new("another", 9));
        assert_eq!(errno(other.open(&name)), libc::ENOLCK);
        drop(holder(7).open(&name).expect("open"));
    });
}

fn the_fence_stays_when_all_have_closed() {
    everywhere(|dir| {
        let name = dir.at("a");
        let file = holder(7).sync().open(&name).expect("open");
        file.write_at(0, b"content").expect("write");
        drop(file);
        // It is closed there a moment later.
        thread::sleep(Duration::from_millis(500));
        assert_eq!(errno(holder(6).open(&name)), libc::ESTALE);
        let other = stranger().open(&name).expect("open");
        assert_refused(&other, libc::ENOLCK);
        let moved = dir.at("b");
        virgo::rename(&name, &moved).expect("names are not what it guards");
        assert_refused(&other, libc::ENOLCK);
        drop(other);
        assert_eq!(errno(holder(6).open(&moved)), libc::ESTALE);
        assert_eq!(content(&moved), b"content");
        // Another file of the name begins without.
        let new = stranger().open(&name).expect("open");
        new.write_at(0, b"new").expect("write");
    });
}

fn a_late_opener_cuts_nothing() {
    everywhere(|dir| {
        let name = dir.at("a");
        let file = holder(7).open(&name).expect("open");
        file.write_at(0, b"content").expect("write");
        let cut = |open: Open| open.truncate().open(&name);
        assert_eq!(errno(cut(holder(6))), libc::ESTALE);
        assert_eq!(errno(cut(stranger())), libc::ENOLCK);
        assert_eq!(errno(cut(Open::new())), libc::ENOLCK, "for reading");
        assert_eq!(content(&name), b"content");
        let next = cut(holder(8)).expect("open");
        assert_eq!(content(&name), b"");
        assert_refused(&file, libc::ESTALE);
        next.write_at(0, b"next").expect("write");
        // A new file has nothing that could be cut.
        let new = dir.at("new");
        drop(holder(1).truncate().open(&new).expect("create"));
        drop(
            holder(1)
                .truncate()
                .create_new()
                .open(dir.at("newer"))
                .expect("create"),
        );
    });
}

fn who_only_reads_needs_no_lock() {
    everywhere(|dir| {
        let name = dir.at("a");
        let file = holder(7).open(&name).expect("open");
        file.write_at(0, b"content").expect("write");
        let other = stranger().open(&name).expect("open");
        let mut data = [0; 7];
        assert_eq!(other.read_at(0, &mut data), Ok(7));
        assert_eq!(other.metadata().expect("stat").len(), 7);
        other.sync().expect("sync");
        assert_eq!(content(&name), b"content");
    });
}

fn all_names_of_a_file_have_one_fence() {
    let dir = Dir::on(this_node());
    let (name, link) = (dir.at("a"), dir.at("b"));
    let file = holder(7).open(&name).expect("open");
    let path = |name| format!("{}/{name}", dir.path());
    fs::hard_link(path("a"), path("b")).expect("link");
    assert_eq!(errno(holder(6).open(&link)), libc::ESTALE);
    let next = holder(8).open(&link).expect("open");
    assert_refused(&file, libc::ESTALE);
    next.write_at(0, b"next").expect("write");
    assert_eq!(content(&name), b"next");
}

fn a_lock_is_for_writing() {
    everywhere(|dir| {
        let name = dir.at("a");
        drop(stranger().open(&name).expect("open"));
        let reader = Open::new().fenced(fence(7));
        assert_eq!(errno(reader.open(&name)), libc::EINVAL);
        let cutter = Open::new().truncate().fenced(fence(7));
        assert_eq!(errno(cutter.open(&name)), libc::EINVAL);
        let file = stranger().open(&name).expect("open");
        file.write_at(0, b"x").expect("no lock guards it");
    });
    let file = format!("{}:{READ_ONLY}/readme", other_node());
    let write = || Open::new().write().fenced(fence(7));
    assert_eq!(errno(write().open(file)), libc::EROFS);
    let dir = format!("{}:{EXPORT}", other_node());
    assert_eq!(errno(write().open(dir)), libc::EISDIR);
}

fn the_fence_is_an_attribute_that_root_can_remove() {
    let dir = Dir::on(this_node());
    let name = dir.at("a");
    let path = format!("{}/a", dir.path());
    let file = holder(7).open(&name).expect("open");
    let mut value = [0; 100];
    assert_eq!(getxattr(&path, ATTRIBUTE, &mut value), Ok(16));
    assert_eq!(value[8..16], 7u64.to_le_bytes());
    file.write_at(0, b"x").expect("write");
    drop(holder(8).open(&name).expect("open"));
    assert_eq!(getxattr(&path, ATTRIBUTE, &mut value), Ok(16));
    assert_eq!(value[8..16], 8u64.to_le_bytes());
    drop(file);
    removexattr(&path, ATTRIBUTE).expect("root may");
    let other = stranger().open(&name).expect("open");
    other.write_at(0, b"x").expect("no lock guards it any more");
    drop(other);
    assert_eq!(getxattr(&path, ATTRIBUTE, &mut value), Err(Errno::NODATA));
}

fn an_attribute_of_another_kind_is_left_alone() {
    let dir = Dir::on(this_node());
    let name = dir.at("a");
    let path = format!("{}/a", dir.path());
    drop(stranger().open(&name).expect("open"));
    for bad in [&b""[..], b"later", &[0; 16], &[1; 17]] {
        setxattr(&path, ATTRIBUTE, bad, XattrFlags::empty()).expect("set");
        assert_eq!(errno(stranger().open(&name)), libc::EIO, "{bad:?}");
        assert_eq!(errno(holder(7).open(&name)), libc::EIO, "{bad:?}");
        assert_eq!(content(&name), b"");
        let mut value = [0; 100];
        let n = getxattr(&path, ATTRIBUTE, &mut value).expect("it is there");
        assert_eq!(&value[..n], bad);
    }
}

/// Whoever comes with a token, or a later one, finds nothing written behind it by those before, also if they
/// are writing just then.
fn nobody_writes_behind_the_next_holder() {
    let count = Rounds {
        debug: 3,
        slim: 10,
        soak: 500,
    }
    .count();
    everywhere(|dir| {
        for round in 0..count as u64 {
            let name = dir.at("a");
            let before = match round % 2 {
                0 => stranger(),
                _ => holder(1),
            };
            let before = before.open(&name).expect("open");
            let expected = [libc::ENOLCK, libc::ESTALE][(round % 2) as usize];
            let writer = thread::spawn(move || {
                loop {
                    if let Err(error) = before.write_at(0, b"before") {
                        return error.errno();
                    }
                }
            });
            thread::sleep(Duration::from_millis(30 + 7 * (round % 5)));
            let next = holder(2).open(&name).expect("open");
            next.write_at(0, b"after!").expect("write");
            let refused = writer.join().expect("no panic");
            assert_eq!(refused, expected, "round {round}");
            assert_eq!(content(&name), b"after!", "round {round}");
            virgo::remove_file(&name).expect("remove");
        }
    });
}

fn the_call_of_2017_needs_a_lock_to_write() {
    everywhere(|dir| {
        let name = dir.at("a");
        let file = holder(7).open(&name).expect("open");
        file.write_at(0, b"content").expect("write");
        let fd = raw::open_name(&format!("{name}\0")).expect("it is opened for both");
        let region = Region::new(PAGE);
        let data = region.put_bytes(0, b"late");
        assert_eq!(raw::read(fd as i64, region.at(8), 7, 0), Ok(7));
        assert_eq!(raw::write(fd as i64, data, 4, 0), Err(Errno::NOLCK));
        raw::close(fd as i64).expect("close");
    });
}

/// The first size of the structure, with anything behind it.
fn programs_without_fences_go_on_working() {
    everywhere(|dir| {
        let region = Region::new(PAGE);
        let path = region.put_bytes(PAGE / 2, format!("{}\0", dir.at("a")).as_bytes());
        let args = OpenArgs {
            path: path.number(),
            flags: (libc::O_RDWR | libc::O_CREAT) as u32,
            mode: 0o600,
            fence: u64::MAX,
            ..OpenArgs::default()
        };
        let at = region.put(0, args);
        let [open, ..] = raw::SIZED;
        let fd = open.call(at, open.first_size).expect("open");
        raw::close(fd as i64).expect("close");
        assert_eq!(open.call(at, open.size), Err(Errno::FAULT));
    });
}

fn bad_fences() {
    let dir = Dir::on(other_node());
    let region = Region::new(PAGE);
    let path = region.put_bytes(0, format!("{}\0", dir.at("a")).as_bytes());
    let name = region.put_bytes(1024, &[b'n'; 256]).number();
    let good = FenceArgs {
        name,
        token: 1,
        name_len: 255,
        flags: 0,
    };
    let open = |fence: u64| {
        let args = OpenArgs {
            path: path.number(),
            flags: (libc::O_RDWR | libc::O_CREAT) as u32,
            mode: 0o600,
            fence,
            ..OpenArgs::default()
        };
        raw::with(nr::OPEN2, args)
    };
    for (bad, expected) in [
        (FenceArgs { token: 0, ..good }, Errno::INVAL),
        (FenceArgs { flags: 1, ..good }, Errno::INVAL),
        (
            FenceArgs {
                name_len: 0,
                ..good
            },
            Errno::INVAL,
        ),
        (
            FenceArgs {
                name_len: 256,
                ..good
            },
            Errno::NAMETOOLONG,
        ),
        (FenceArgs { name: 8, ..good }, Errno::FAULT),
    ] {
        let at = region.put(2048, bad).number();
        assert_eq!(open(at), Err(expected), "{bad:?}");
    }
    assert_eq!(open(8), Err(Errno::FAULT));
    assert_eq!(errno(virgo::metadata(dir.at("a"))), libc::ENOENT);
    let fd = open(region.put(2048, good).number()).expect("open");
    raw::close(fd as i64).expect("close");
}
