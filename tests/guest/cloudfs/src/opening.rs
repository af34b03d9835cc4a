// SPDX-License-Identifier: GPL-2.0
//! What the flags of an open do.

use crate::{
    place::{READ_ONLY, errno, everywhere, other_node, this_node},
    tests,
};
use std::fs;
use virgo::{File, Open};

tests![
    flags_do_what_open_does,
    permissions_are_the_callers,
    opening_is_the_check,
    directories_are_not_files,
    read_only_exports_stay_as_they_are,
    copies_and_policies,
    pipes_and_devices_are_not_opened,
];

fn flags_do_what_open_does() {
    everywhere(|dir| {
        let name = dir.at("a");
        assert_eq!(errno(File::open(&name)), libc::ENOENT);
        assert_eq!(errno(Open::new().write().open(&name)), libc::ENOENT);
        let new = Open::new().write().create_new();
        let file = new.open(&name).expect("create");
        file.write_at(0, b"0123456789").expect("write");
        assert_eq!(errno(new.open(&name)), libc::EEXIST);
        let mut data = [0; 16];
        // Not opened for it.
        assert_eq!(errno(file.read_at(0, &mut data)), libc::EBADF);
        let file = File::open(&name).expect("open");
        assert_eq!(file.read_at(0, &mut data).expect("read"), 10);
        assert_eq!(errno(file.write_at(0, b"x")), libc::EBADF);
        assert_eq!(errno(file.set_len(0)), libc::EINVAL);
        // Created only if it is not there, and nothing is cut.
        let file = Open::new()
            .read()
            .write()
            .create()
            .open(&name)
            .expect("open");
        assert_eq!(file.metadata().expect("stat").len(), 10);
        let end = Open::new().write().append().open(&name).expect("open");
        end.write_at(3, b"end").expect("write");
        assert_eq!(file.read_at(0, &mut data).expect("read"), 13);
        assert_eq!(&data[..13], b"0123456789end");
        let cut = Open::new().write().truncate().open(&name).expect("open");
        assert_eq!(cut.metadata().expect("stat").len(), 0);
        assert_eq!(file.read_at(0, &mut data).expect("read"), 0);
    });
}

/// Who has a file open for writing may write and cut it, whatever its permissions are now.
fn opening_is_the_check() {
    everywhere(|dir| {
        let name = dir.at("a");
        let open = Open::new().read().write().create_new().mode(0o444);
        let file = open.open(&name).expect("create");
        file.write_at(0, b"0123456789").expect("write");
        file.set_len(4).expect("truncate");
        assert_eq!(file.metadata().expect("stat").len(), 4);
        file.set_len(8).expect("truncate");
        let mut data = [1; 8];
        assert_eq!(file.read_at(0, &mut data).expect("read"), 8);
        assert_eq!(&data, b"0123\0\0\0\0");
        // Nobody else may open it for that.
        assert_eq!(errno(Open::new().write().open(&name)), libc::EACCES);
    });
}

fn permissions_are_the_callers() {
    everywhere(|dir| {
        for (mode, expected) in [(0o666, 0o644), (0o600, 0o600), (0o755, 0o755)] {
            let name = dir.at(&format!("{mode:o}"));
            let file = Open::new().write().create_new().mode(mode).open(&name);
            let found = file.and_then(|file| file.metadata()).expect("stat");
            // Root's umask in the guest is 022.
            assert_eq!(found.stat().mode & 0o7777, expected, "{mode:o}");
        }
    });
}

fn directories_are_not_files() {
    everywhere(|dir| {
        let name = dir.name();
        assert_eq!(errno(Open::new().write().open(name)), libc::EISDIR);
        assert_eq!(errno(Open::new().write().create().open(name)), libc::EISDIR);
        let new = Open::new().write().create_new();
        assert_eq!(errno(new.open(dir.at("a/"))), libc::EISDIR);
        assert_eq!(errno(new.open(dir.at(".."))), libc::EINVAL);
        new.open(dir.at("a")).expect("create");
        assert_eq!(errno(File::open(dir.at("a/"))), libc::ENOTDIR);
        assert_eq!(errno(File::open(dir.at("a/b"))), libc::ENOTDIR);
        assert_eq!(errno(virgo::read_dir(dir.at("a"))), libc::ENOTDIR);
        let file = File::open(name).expect("a directory can be opened");
        assert_eq!(errno(file.read_at(0, &mut [0; 10])), libc::EISDIR);
        assert!(file.metadata().expect("stat").is_dir());
    });
}

fn read_only_exports_stay_as_they_are() {
    for node in [this_node(), other_node()] {
        let name = format!("{node}:{READ_ONLY}/readme");
        let file = File::open(&name).expect("open");
        assert_eq!(errno(file.write_at(0, b"x")), libc::EBADF);
        for open in [
            Open::new().write(),
            Open::new().create(),
            Open::new().truncate(),
            Open::new().write().append(),
        ] {
            assert_eq!(errno(open.open(&name)), libc::EROFS, "{open:?}");
        }
        assert_eq!(errno(virgo::remove_file(&name)), libc::EROFS);
        assert_eq!(errno(virgo::rename(&name, &name)), libc::EROFS);
        let dir = format!("{node}:{READ_ONLY}/dir");
        assert_eq!(errno(virgo::create_dir(&dir)), libc::EROFS);
    }
}

fn copies_and_policies() {
    let (here, there) = (this_node(), other_node());
    let name = format!("{here},{there}:{READ_ONLY}/readme");
    for _ in 0..10 {
        let file = File::open(&name).expect("open");
        let node = file.metadata().expect("stat").stat().node;
        assert!([here, there].map(u32::from).contains(&node), "{node}");
    }
    let write = Open::new().write();
    assert_eq!(errno(write.open(&name)), libc::EINVAL);
    // The second one has it.
    everywhere(|dir| {
        let node = dir.name().split(':').next().expect("a node");
        let other = if node == here.to_string() {
            there
        } else {
            here
        };
        Open::new()
            .write()
            .create()
            .open(dir.at("a"))
            .expect("create");
        let copies = format!("{other},{node}:{}/a", dir.path());
        let file = File::open(&copies).expect("open");
        assert_eq!(file.metadata().expect("stat").stat().node.to_string(), node);
    });
    for policy in ["random", "least-used", "two-choices"] {
        File::open(format!("{policy}:{READ_ONLY}/readme")).expect(policy);
    }
}

fn pipes_and_devices_are_not_opened() {
    everywhere(|dir| {
        // Only on this machine can they be made here.
        if !dir.name().starts_with(&format!("{}:", this_node())) {
            return;
        }
        for (name, kind) in [
            ("pipe", rustix::fs::FileType::Fifo),
            ("device", rustix::fs::FileType::CharacterDevice),
        ] {
            let path = format!("{}/{name}", dir.path());
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            let zero = rustix::fs::makedev(1, 5);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, zero).expect("mknod");
            assert_eq!(errno(File::open(dir.at(name))), libc::ENXIO, "{name}");
            let write = Open::new().write().create().open(dir.at(name));
            assert_eq!(errno(write), libc::ENXIO, "{name}");
            fs::remove_file(&path).expect("remove");
        }
    });
}
