// SPDX-License-Identifier: GPL-2.0
//! Many who want the same, full disks, and bad networks.

use crate::{
    place::{Dir, EXPORT, PATIENCE, other_node},
    rounds::Rounds,
    tests,
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};
use virgo::{File, Open};

tests![
    of_many_who_create_a_file_one_does,
    many_append_and_nothing_is_lost,
    a_full_disk_keeps_what_was_acknowledged,
];

/// Those that a cluster test asks for by name.
pub(crate) const ON_REQUEST: &[crate::Test] = &[
    ("contention::appends_are_done_once", appends_are_done_once),
    (
        "contention::replies_that_nobody_takes_are_not_in_the_way",
        replies_that_nobody_takes_are_not_in_the_way,
    ),
];

/// 100 clients and 1000 names in a soak; fewer otherwise.
fn of_many_who_create_a_file_one_does() {
    let (clients, names) = (
        Rounds {
            debug: 10,
            slim: 30,
            soak: 100,
        }
        .count(),
        Rounds {
            debug: 5,
            slim: 40,
            soak: 1000,
        }
        .count(),
    );
    let dir = Dir::on(other_node());
    let winners: Vec<_> = (0..names).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                for (number, winners) in winners.iter().enumerate() {
                    let name = dir.at(&number.to_string());
                    match Open::new().write().create_new().open(&name) {
                        Ok(_) => drop(winners.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert_eq!(error.errno(), libc::EEXIST, "{error}"),
                    }
                }
            });
        }
    });
    for winners in winners {
        assert_eq!(winners.load(Ordering::Relaxed), 1);
    }
}

/// What a line of a test looks like.
fn line(client: usize, number: usize) -> String {
    format!("{client:>7} {number:>7}\n")
}

/// All bytes of a file.
fn content(file: &File) -> virgo::Result<Vec<u8>> {
    let mut data = vec![0; usize::try_from(file.metadata()?.len()).expect("size")];
    let n = file.read_at(0, &mut data)?;
    data.truncate(n);
    Ok(data)
}

/// The lines of a file, sorted: each is there once.
fn lines_of(data: Vec<u8>) -> Vec<String> {
    let text = String::from_utf8(data).expect("text");
    let mut lines: Vec<_> = text.lines().map(|line| format!("{line}\n")).collect();
    lines.sort();
    let count = lines.len();
    lines.dedup();
    assert_eq!(lines.len(), count, "a line is there twice");
    lines
}

fn many_append_and_nothing_is_lost() {
    const CLIENTS: usize = 10;
    let count = Rounds {
        debug: 10,
        slim: 50,
        soak: 500,
    }
    .count();
    let dir = Dir::on(other_node());
    let name = dir.at("log");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let name = &name;
            scope.spawn(move || {
                let open = Open::new().write().create().append();
                let file = open.open(name).expect("open");
                for number in 0..count {
                    // The offset does not matter.
                    file.write_at(0, line(client, number).as_bytes())
                        .expect("append");
                }
            });
        }
    });
    let data = File::open(&name)
        .and_then(|file| content(&file))
        .expect("read");
    assert_eq!(lines_of(data).len(), CLIENTS * count);
}

/// While the network loses, repeats and delays: each line that was acknowledged is there, and none
/// twice.
fn appends_are_done_once() {
    let count = Rounds {
        debug: 20,
        slim: 100,
        soak: 1000,
    }
    .count();
    let name = format!("{}:{EXPORT}/test-appends", other_node());
    // Whatever else is done can be done again.
    let open = Open::new().write().create().append();
    let file = until_done(|| open.open(&name));
    let mut acknowledged = Vec::new();
    for number in 0..count {
        let line = line(0, number);
        match file.write_at(0, line.as_bytes()) {
            Ok(()) => acknowledged.push(line),
            Err(error) => assert_ne!(error.errno(), libc::ESTALE, "{error}"),
        }
    }
    let found = until_done(|| File::open(&name).and_then(|file| content(&file)));
    let found = lines_of(found);
    println!(
        "{count} appends, {} acknowledged, {} done",
        acknowledged.len(),
        found.len()
    );
    assert!(!acknowledged.is_empty());
    assert!(
        acknowledged
            .iter()
            .all(|line| found.binary_search(line).is_ok())
    );
    until_done(|| match virgo::remove_file(&name) {
        Err(error) if error.errno() == libc::ENOENT => Ok(()),
        removed => removed,
    });
}

/// While the network is slow and takes less than a reply: who gives up reading leaves replies behind
/// that fill the connection both ways, so the other node takes nothing of what is written next until
/// they are out of its way.
fn replies_that_nobody_takes_are_not_in_the_way() {
    let rounds = Rounds {
        debug: 2,
        slim: 5,
        soak: 100,
    }
    .count();
    let dir = Dir::on(other_node());
    let data = vec![b'x'; 200_000];
    let open = Open::new().read().write().create();
    let file = open.open(dir.at("a")).expect("open");
    file.write_at(0, &data).expect("write");
    let hasty = open.timeout(Duration::from_millis(50));
    let hasty = hasty.open(dir.at("a")).expect("open");
    for _ in 0..rounds {
        let mut read = vec![0; data.len()];
        let given_up = hasty.read_at(0, &mut read);
        assert!(
            given_up.is_err_and(|error| error.errno() == libc::ETIMEDOUT),
            "the network is not slow"
        );
        file.write_at(0, &data).expect("write");
    }
}

/// Tries until the network lets it.
fn until_done<T>(mut attempt: impl FnMut() -> virgo::Result<T>) -> T {
    let end = Instant::now() + 10 * PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn a_full_disk_keeps_what_was_acknowledged() {
    const BLOCK: usize = 256 * 1024;
    // Of the size that is removed fast enough for one request, also on a slow node.
    const BLOCKS_IN_FILE: usize = 16;
    let node = other_node();
    let dir = Dir::on(node);
    let name = |number: usize| dir.at(&format!("full{number}"));
    let block = |number: usize| vec![number as u8 + 1; BLOCK];
    let at = |number: usize| (number % BLOCKS_IN_FILE * BLOCK) as u64;
    let mut files = Vec::new();
    let mut written = 0;
    let error = loop {
        if written % BLOCKS_IN_FILE == 0 {
            let open = Open::new().read().write().create();
            files.push(open.open(name(files.len())).expect("open"));
        }
        match files[written / BLOCKS_IN_FILE].write_at(at(written), &block(written)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1 << 16, "the disk has no end");
    };
    assert_eq!(error.errno(), libc::ENOSPC, "{error}");
    // Names need no room of their own; data does.
    let other = dir.at("other");
    let create = Open::new().write().create();
    if let Ok(other) = create.open(&other) {
        let error = other
            .write_at(0, &[0; 64 * 1024])
            .expect_err("the disk is full");
        assert_eq!(error.errno(), libc::ENOSPC, "{error}");
    }
    let mut data = block(0);
    for number in 0..written {
        let file = &files[number / BLOCKS_IN_FILE];
        let n = file.read_at(at(number), &mut data).expect("read");
        assert!(
            n == data.len() && data == block(number),
            "block {number} of {written}"
        );
    }
    let count = files.len();
    drop(files);
    for number in 0..count {
        virgo::remove_file(name(number)).expect("unlink");
    }
    // There is room again, once the node has been told that the files are closed.
    let other = create.open(&other).expect("open");
    let end = Instant::now() + PATIENCE;
    while let Err(error) = other.write_at(0, &block(0)) {
        assert!(Instant::now() < end, "{error}");
        // Each attempt has the disk write its journal, which the removal needs as well.
        thread::sleep(Duration::from_millis(500));
    }
    assert!(
        virgo::metadata(format!("{node}:{EXPORT}"))
            .expect("stat")
            .is_dir()
    );
}
