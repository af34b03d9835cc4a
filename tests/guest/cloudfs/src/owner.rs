// SPDX-License-Identifier: GPL-2.0
//! Everything is done as the user that the export names, whoever asks.

use crate::{
    place::{NOBODY, errno, everywhere, this_node},
    raw, tests,
};
use std::{fs, os::unix::fs::PermissionsExt};
use virgo::{File, Open};

tests![
    files_belong_to_the_exports_user,
    what_that_user_must_not_nobody_may,
    privileges_of_programs_end_with_a_write,
];

fn files_belong_to_the_exports_user() {
    everywhere(|dir| {
        for uid in [0, 1000] {
            let name = dir.at(&uid.to_string());
            let stat = raw::as_uid(uid, || {
                let file = Open::new().write().create_new().open(&name);
                *file.and_then(|file| file.metadata()).expect("stat").stat()
            });
            assert_eq!((stat.uid, stat.gid), (NOBODY, NOBODY), "uid {uid}");
        }
    });
}

/// On this node, where root can make such a file.
fn what_that_user_must_not_nobody_may() {
    let dir = crate::place::Dir::on(this_node());
    let path = format!("{}/secret", dir.path());
    fs::write(&path, "of root").expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    assert_eq!(errno(File::open(dir.at("secret"))), libc::EACCES);
    assert_eq!(
        errno(Open::new().write().open(dir.at("secret"))),
        libc::EACCES
    );
    let closed = format!("{}/closed", dir.path());
    fs::create_dir(&closed).expect("mkdir");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
    for name in ["closed", "closed/a"].map(|name| dir.at(name)) {
        assert_eq!(errno(virgo::read_dir(&name)), libc::EACCES, "{name}");
    }
    let new = Open::new().write().create_new().open(dir.at("closed/a"));
    assert_eq!(errno(new), libc::EACCES);
    assert_eq!(errno(virgo::create_dir(dir.at("closed/a"))), libc::EACCES);
    fs::remove_dir(&closed).expect("rmdir");
}

fn privileges_of_programs_end_with_a_write() {
    let dir = crate::place::Dir::on(this_node());
    let path = format!("{}/program", dir.path());
    fs::write(&path, "#!").expect("write");
    std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("chown");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).expect("chmod");
    let file = Open::new().write().open(dir.at("program")).expect("open");
    file.write_at(0, b"x").expect("write");
    let mode = fs::metadata(&path).expect("stat").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "{mode:o}");
}
