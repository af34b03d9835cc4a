// SPDX-License-Identifier: GPL-2.0
//! Directories, names, and what is known of files.

use crate::{
    place::{Dir, errno, everywhere, other_node, this_node},
    rounds::Rounds,
    tests,
};
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};
use virgo::{File, Open};

tests![
    directories_are_made_and_removed,
    files_are_removed,
    names_are_changed,
    names_stay_on_their_node,
    large_directories_are_listed_whole,
    odd_names_are_kept,
    what_is_known_of_a_file,
];

fn touch(name: &str) {
    let open = Open::new().write().create_new();
    drop(open.open(name).unwrap_or_else(|error| panic!("{error}")));
}

fn directories_are_made_and_removed() {
    everywhere(|dir| {
        let sub = dir.at("sub");
        virgo::create_dir(&sub).expect("mkdir");
        assert_eq!(errno(virgo::create_dir(&sub)), libc::EEXIST);
        assert_eq!(errno(virgo::create_dir(dir.at("no/sub"))), libc::ENOENT);
        assert!(virgo::metadata(&sub).expect("stat").is_dir());
        touch(&format!("{sub}/a"));
        assert_eq!(errno(virgo::remove_dir(&sub)), libc::ENOTEMPTY);
        assert_eq!(errno(virgo::remove_file(&sub)), libc::EISDIR);
        virgo::remove_file(format!("{sub}/a")).expect("unlink");
        virgo::remove_dir(format!("{sub}/")).expect("rmdir");
        assert_eq!(errno(virgo::metadata(&sub)), libc::ENOENT);
    });
}

fn files_are_removed() {
    everywhere(|dir| {
        let name = dir.at("a");
        assert_eq!(errno(virgo::remove_file(&name)), libc::ENOENT);
        touch(&name);
        assert_eq!(errno(virgo::remove_dir(&name)), libc::ENOTDIR);
        let file = Open::new().read().write().open(&name).expect("open");
        virgo::remove_file(&name).expect("unlink");
        // Who has it open keeps it.
        file.write_at(0, b"still").expect("write");
        let mut data = [0; 5];
        file.read_at(0, &mut data).expect("read");
        assert_eq!(&data, b"still");
        assert_eq!(file.metadata().expect("stat").stat().nlink, 0);
    });
}

fn names_are_changed() {
    everywhere(|dir| {
        let [a, b, sub] = ["a", "b", "sub"].map(|name| dir.at(name));
        assert_eq!(errno(virgo::rename(&a, &b)), libc::ENOENT);
        touch(&a);
        virgo::rename(&a, &b).expect("rename");
        assert_eq!(errno(virgo::metadata(&a)), libc::ENOENT);
        // What has the new name goes.
        Open::new()
            .write()
            .create()
            .open(&a)
            .and_then(|file| file.write_at(0, b"new"))
            .expect("a");
        virgo::rename(&a, &b).expect("rename");
        assert_eq!(virgo::metadata(&b).expect("stat").len(), 3);
        virgo::create_dir(&sub).expect("mkdir");
        assert_eq!(errno(virgo::rename(&b, &sub)), libc::EISDIR);
        assert_eq!(errno(virgo::rename(&sub, &b)), libc::ENOTDIR);
        virgo::rename(&b, format!("{sub}/c")).expect("rename");
        assert_eq!(errno(virgo::rename(&sub, format!("{sub}/d"))), libc::EINVAL);
        assert_eq!(
            errno(virgo::rename(format!("{sub}/c"), &sub)),
            libc::ENOTEMPTY
        );
    });
}

fn names_stay_on_their_node() {
    let [here, there] = [this_node(), other_node()].map(Dir::on);
    touch(&here.at("a"));
    assert_eq!(
        errno(virgo::rename(here.at("a"), there.at("a"))),
        libc::EXDEV
    );
    let elsewhere = format!("{}:/srv/ro/a", this_node());
    assert_eq!(errno(virgo::rename(here.at("a"), &elsewhere)), libc::EROFS);
}

fn large_directories_are_listed_whole() {
    let count = Rounds {
        debug: 300,
        slim: 3000,
        soak: 20_000,
    }
    .count();
    let dir = Dir::on(other_node());
    // Long names, so that they do not fit into one reply.
    let name = |i: usize| format!("{i:0>60}");
    for i in 0..count {
        touch(&dir.at(&name(i)));
    }
    let entries = virgo::read_dir(dir.name()).expect("list");
    assert_eq!(entries.len(), count);
    let names: BTreeSet<_> = entries.into_iter().map(|entry| entry.name).collect();
    let expected: BTreeSet<_> = (0..count).map(|i| name(i).into()).collect();
    assert!(names == expected);
}

fn odd_names_are_kept() {
    everywhere(|dir| {
        let names = [
            " ",
            "a b",
            "-",
            "a:b",
            "\u{fc}",
            "a\nb",
            "...",
            &*"x".repeat(255),
        ];
        for name in names {
            touch(&dir.at(name));
        }
        let entries = virgo::read_dir(dir.name()).expect("list");
        let found: BTreeSet<_> = entries.into_iter().map(|entry| entry.name).collect();
        let expected: BTreeSet<_> = names.map(Into::into).into();
        assert_eq!(found, expected);
    });
}

fn what_is_known_of_a_file() {
    everywhere(|dir| {
        let name = dir.at("a");
        touch(&name);
        let file = Open::new().write().open(&name).expect("open");
        file.write_at(0, &[0; 5000]).expect("write");
        let (by_name, by_file) = (
            virgo::metadata(&name).expect("stat"),
            File::open(&name)
                .and_then(|file| file.metadata())
                .expect("stat"),
        );
        assert_eq!(by_name.stat(), by_file.stat());
        let stat = by_name.stat();
        assert_eq!((stat.size, stat.nlink, stat.uid), (5000, 1, 65534));
        assert!(by_name.is_file() && !by_name.is_dir());
        let now = SystemTime::now();
        let age = now.duration_since(by_name.modified()).unwrap_or_default();
        assert!(age < Duration::from_secs(60), "{age:?}");
        // A link itself is something else than what it leads to.
        assert_eq!(dir.name().split(':').next(), Some(&*stat.node.to_string()));
    });
}
