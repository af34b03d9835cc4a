// SPDX-License-Identifier: GPL-2.0
//! Copies between files of this machine: nodes are the cluster tests' affair.

use super::*;
use crate::{
    part::Part,
    transfer::{BLOCK, COMPARED, SYNCED},
};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
};

fn options(resume: bool) -> Copy {
    Copy {
        files: Vec::new(),
        recursive: true,
        resume,
        verify: true,
    }
}

/// Between files of this machine: nodes are the cluster tests' affair.
fn try_copy(from: &Path, to: &Path, resume: bool) -> (Result<()>, Total) {
    let mut total = Total::default();
    let [from, to] = [from, to].map(|path| End::Local(path.to_owned()));
    let quiet = Printer { json: true };
    let copied = begin(quiet, &options(resume), &from, &to, &mut total);
    (copied, total)
}

fn copy(from: &Path, to: &Path, resume: bool) -> Total {
    let (copied, total) = try_copy(from, to, resume);
    copied.unwrap();
    total
}

/// Names in a directory, sorted.
fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn trees_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::write(from.join("a/b/c"), vec![7; BLOCK]).unwrap();
    fs::write(from.join("d"), b"").unwrap();
    let to = dir.path().join("to");
    let total = copy(&from, &to, false);
    assert_eq!(
        (total.files, total.bytes, total.failed),
        (2, BLOCK as u64, false)
    );
    assert_eq!(fs::read(to.join("a/b/c")).unwrap(), vec![7; BLOCK]);
    assert_eq!(fs::read(to.join("d")).unwrap(), b"");
    assert_eq!(names(&to), ["a", "d"]);
}

#[test]
fn names_are_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    fs::create_dir(&from).unwrap();
    let long = "x".repeat(255);
    let odd = [
        &b"\xff\xfe"[..],
        b"a\nb",
        b"-r",
        b" ",
        b"\x1b[2J",
        long.as_bytes(),
    ];
    for name in odd {
        fs::write(from.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let total = copy(&from, &to, false);
    assert_eq!((total.files, total.failed), (odd.len() as u64, false));
    assert_eq!(names(&to), names(&from));
}

#[test]
fn a_directory_is_not_copied_into_itself() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("d");
    fs::create_dir_all(from.join("sub")).unwrap();
    symlink("d/sub", dir.path().join("link")).unwrap();
    for to in ["d/copy", "d/sub/copy", "d", "link/copy", "d/../d/copy"] {
        let (copied, _) = try_copy(&from, &dir.path().join(to), false);
        let said = copied.unwrap_err().to_string();
        assert!(said.contains("into itself"), "{to}: {said}");
    }
    assert_eq!(names(&from), ["sub"]);
    assert!(names(&from.join("sub")).is_empty());
    // Its name only begins alike.
    copy(&from, &dir.path().join("d2"), false);
}

#[test]
fn what_cannot_be_copied_is_told_and_the_rest_copied() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::write(from.join("sub/a"), "a").unwrap();
    symlink("..", from.join("sub/up")).unwrap();
    symlink("nowhere", from.join("dangling")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(from.join("pipe"))
        .status();
    assert!(pipe.unwrap().success());
    let socket = std::os::unix::net::UnixListener::bind(from.join("socket"));
    let total = copy(&from, &to, false);
    drop(socket);
    assert_eq!((total.files, total.failed), (1, true));
    assert_eq!(names(&to), ["sub"]);
    assert_eq!(names(&to.join("sub")), ["a"]);
}

#[test]
fn a_device_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let files = [file.as_os_str(), OsStr::new("/dev/null")].map(OsStr::to_owned);
    let options = Copy {
        files: files.into(),
        ..options(false)
    };
    let said = cp(Printer { json: true }, &options)
        .unwrap_err()
        .to_string();
    assert!(said.contains("/dev/null is a device"), "{said}");
}

#[test]
fn a_file_that_must_not_be_written_to_is_copied_twice() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    fs::write(&from, "of 0444").unwrap();
    fs::set_permissions(&from, fs::Permissions::from_mode(0o444)).unwrap();
    for resume in [false, false, true] {
        copy(&from, &to, resume);
    }
    assert_eq!(fs::read(&to).unwrap(), b"of 0444");
    assert_eq!(names(dir.path()), ["from", "to"]);
}

/// What a copy that was cut off has left.
fn leave(from: &Path, to: &Path, content: &[u8]) {
    let [source, target] = [from, to].map(|path| End::Local(path.to_owned()));
    let known = source.look().unwrap().unwrap();
    let part = Part::create(&known, &target).unwrap();
    part.file.write_at(0, content).unwrap();
}

#[test]
fn a_part_is_gone_on_with_only_if_it_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    let (cut, end) = (BLOCK + COMPARED as usize, 2 * BLOCK + COMPARED as usize);
    let whole: Vec<u8> = (0..end).map(|i| (i / 7) as u8).collect();
    fs::write(&from, &whole).unwrap();
    // The beginning is wrong and is kept: it shows that it was gone on with.
    let mut part = whole[..cut].to_vec();
    part[0] ^= 1;
    leave(&from, &to, &part);
    let said = try_copy(&from, &to, true).0.unwrap_err().to_string();
    assert!(said.contains("SHA-256"), "{said}");
    assert_eq!(names(dir.path()), ["from"]);
    // One with another end is begun anew, and so are one that is too long and those with holes: of
    // what was not on the disk when a machine stopped.
    let mut hole = whole[..cut].to_vec();
    hole[cut - BLOCK + 1000..cut - BLOCK + 70_000].fill(0);
    let mut unsynced = whole[..cut].to_vec();
    unsynced[cut - SYNCED as usize..][..BLOCK].fill(0);
    for part in [
        &b"something else"[..],
        &vec![0; end + BLOCK],
        &hole,
        &unsynced,
    ] {
        leave(&from, &to, part);
        copy(&from, &to, true);
        assert_eq!(fs::read(&to).unwrap(), whole);
        assert_eq!(names(dir.path()), ["from", "to"]);
    }
}

#[test]
fn a_part_of_another_source_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let [from, other, to] = ["from", "other", "to"].map(|name| dir.path().join(name));
    // They differ only where a part is not compared.
    let mut content = vec![1; 3 * BLOCK + COMPARED as usize];
    fs::write(&from, &content).unwrap();
    leave(&from, &to, &content[..2 * BLOCK + COMPARED as usize]);
    content[0] = 2;
    fs::write(&other, &content).unwrap();
    copy(&other, &to, true);
    assert_eq!(fs::read(&to).unwrap(), content);
    // Nor if it is the same file with other content.
    fs::write(&from, &content).unwrap();
    fs::remove_file(&to).unwrap();
    copy(&from, &to, true);
    assert_eq!(fs::read(&to).unwrap(), content);
}

/// Whoever may write to the directory of the target can guess what parts are called.
#[test]
fn a_link_in_the_place_of_a_part_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to, victim] = ["from", "to", "victim"].map(|name| dir.path().join(name));
    fs::write(&from, "new").unwrap();
    fs::write(&victim, "old").unwrap();
    let plant: [fn(&Path, &Path) -> std::io::Result<()>; 2] = [
        |file, link| symlink(file, link),
        |file, link| fs::hard_link(file, link),
    ];
    for plant in plant {
        leave(&from, &to, b"");
        let names = names(dir.path());
        let part = names
            .iter()
            .find(|name| name.as_bytes().starts_with(b".virgo-part-"));
        let part = dir.path().join(part.unwrap());
        fs::remove_file(&part).unwrap();
        plant(&victim, &part).unwrap();
        copy(&from, &to, true);
        assert_eq!(fs::read(&victim).unwrap(), b"old");
        assert_eq!(fs::read(&to).unwrap(), b"new");
        fs::remove_file(&to).unwrap();
    }
    assert_eq!(names(dir.path()), ["from", "victim"]);
}

#[test]
fn copies_are_for_nobody_who_could_not_read_what_they_are_of() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::write(from.join("sub/file"), "").unwrap();
    set(&from.join("sub"), 0o700);
    set(&from.join("sub/file"), 0o644);
    set(&from, 0o500);
    copy(&from, &to, false);
    assert_eq!([mode(&to), mode(&to.join("sub"))], [0o700, 0o700]);
    // What is replaced keeps its permissions.
    set(&to.join("sub/file"), 0o600);
    copy(&from.join("sub/file"), &to.join("sub/file"), false);
    assert_eq!(mode(&to.join("sub/file")), 0o600);
    set(&from, 0o700);
}

#[test]
fn two_sources_of_one_name_do_not_replace_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a/x", "b/x", "to"].map(|name| dir.path().join(name));
    for path in [dir.path().join("a"), dir.path().join("b"), paths[2].clone()] {
        fs::create_dir(path).unwrap();
    }
    fs::write(&paths[0], "first").unwrap();
    fs::write(&paths[1], "second").unwrap();
    let options = Copy {
        files: paths
            .each_ref()
            .map(|path| path.as_os_str().to_owned())
            .into(),
        ..options(false)
    };
    let status = cp(Printer { json: true }, &options).unwrap();
    assert_eq!(status, ExitCode::FAILURE);
    assert_eq!(fs::read(paths[2].join("x")).unwrap(), b"first");
}

/// Several who copy to one name: one is done, and the others are told.
#[test]
fn of_several_copies_one_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    fs::write(&from, "new").unwrap();
    fs::write(&to, "old").unwrap();
    let [source, target] = [&from, &to].map(|path| End::Local(path.clone()));
    let known = source.look().unwrap().unwrap();
    let parts: Vec<_> = (0..4)
        .map(|_| Part::create(&known, &target).unwrap())
        .collect();
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .iter()
            .map(|part| scope.spawn(|| part.finish()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap().is_ok())
            .collect()
    });
    assert_eq!(done.iter().filter(|done| **done).count(), 1, "{done:?}");
    // Those that were refused have their own names still.
    assert_eq!(names(dir.path()).len(), 2 + 3);
}
