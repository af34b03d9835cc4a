// SPDX-License-Identifier: GPL-2.0

//! What other nodes ask of the file service, in frames.

use super::{Suite, suite};
use crate::{
    node::{CLOUDFS, Node},
    peer::{Peer, request, request_within},
};
use std::{io, process::Command, thread, time::Duration};
use virgo_proto::{
    cloudfs::{
        HandleArgs, MAX_CLOSE, MIN_ENTRIES, OpenFileArgs, OpenReply, PathArgs, ReadDirArgs,
        SyncReply, TruncateFileArgs, WriteArgs, flag, op, open,
    },
    errno::Errno,
    fence::{FenceClaim, FenceToken},
    slots::SLOTS,
};
use zerocopy::{FromBytes, IntoBytes};

/// Time in which nothing comes.
const SILENCE: Duration = Duration::from_millis(500);

pub(super) const SUITE: Suite = suite![
    many_are_closed_at_once,
    fields_that_are_not_used_are_refused,
    a_handle_has_the_lock_that_it_was_opened_with,
    what_is_torn_opens_nothing,
    what_was_given_up_at_a_disk_that_hangs_makes_room,
    lives_share_what_is_owed_to_their_node,
];

fn many_are_closed_at_once(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
    let handle = 1u64.to_le_bytes();
    let most = handle.repeat(MAX_CLOSE);
    // What is not open is closed.
    assert_eq!(peer.ask(op::CLOSE, &most)?, Ok(vec![]));
    assert_eq!(peer.ask(op::CLOSE, b"")?, Ok(vec![]));
    let more = [&most[..], &handle].concat();
    assert_eq!(peer.ask(op::CLOSE, &more)?, Err(Errno::EMSGSIZE));
    assert_eq!(peer.ask(op::CLOSE, &most[1..])?, Err(Errno::EINVAL));
    Ok(())
}

/// What an operation would not look at must be 0, so that it can mean something later.
fn fields_that_are_not_used_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
    let mut refused = |op: u16, args: &[u8], paths: &[u8]| -> io::Result<()> {
        let request = [args, paths].concat();
        assert_eq!(peer.ask(op, &request)?, Err(Errno::EINVAL), "{op}");
        Ok(())
    };
    let file = b"/srv/ro/readme";
    let opens: [(u32, u32); 6] = [
        (0, 0),
        (open::CREATE, 0o644),
        (open::READ, 0o644),
        (open::READ | open::CREATE | open::DIRECTORY, 0o755),
        (open::READ | (1 << 9), 0),
        (open::READ | open::CREATE, 0o10_000),
    ];
    for (flags, mode) in opens {
        let args = OpenFileArgs {
            flags: flags.into(),
            mode: mode.into(),
            uid: 0.into(),
        };
        refused(op::OPEN, args.as_bytes(), file)?;
    }
    let paths = |flags: u32, mode: u32, reserved: u16| PathArgs {
        flags: flags.into(),
        mode: mode.into(),
        first: (file.len() as u16).into(),
        reserved: reserved.into(),
        uid: 0.into(),
    };
    for (op, args) in [
        (op::UNLINK, paths(0, 0o644, 0)),
        (op::UNLINK, paths(flag::NO_REPLACE, 0, 0)),
        (op::RENAME, paths(0, 0o644, 0)),
        (op::RENAME, paths(flag::DIRECTORY, 0, 0)),
        (op::MKDIR, paths(flag::DIRECTORY, 0o755, 0)),
        (op::MKDIR, paths(0, 0o755, 1)),
    ] {
        refused(op, args.as_bytes(), file)?;
    }
    // A second path where there is one.
    for op in [op::UNLINK, op::MKDIR] {
        refused(op, paths(0, 0, 0).as_bytes(), &file.repeat(2))?;
    }
    let list = ReadDirArgs {
        from: 0.into(),
        len: (MIN_ENTRIES as u32).into(),
        flags: flag::NO_FOLLOW.into(),
        uid: 0.into(),
    };
    refused(op::READ_DIR, list.as_bytes(), b"/srv/ro")?;
    let args = OpenFileArgs {
        flags: open::READ.into(),
        mode: 0.into(),
        uid: 0.into(),
    };
    let opened = peer.ask(op::OPEN, &[args.as_bytes(), file].concat())?;
    let opened = opened.map_err(|errno| io::Error::other(format!("open: {errno:?}")))?;
    let handle = OpenReply::read_from_bytes(&opened)
        .expect("a handle")
        .handle;
    let on_handle = |flags: u32| HandleArgs {
        handle,
        flags: flags.into(),
        uid: 0.into(),
    };
    for (args, path) in [
        (on_handle(flag::NO_FOLLOW), &b""[..]),
        (on_handle(flag::DATA_ONLY), b""),
        (on_handle(0), file),
    ] {
        let request = [args.as_bytes(), path].concat();
        assert_eq!(peer.ask(op::STAT, &request)?, Err(Errno::EINVAL));
    }
    assert!(peer.ask(op::STAT, on_handle(0).as_bytes())?.is_ok());
    let other = on_handle(flag::NO_FOLLOW);
    assert_eq!(peer.ask(op::SYNC, other.as_bytes())?, Err(Errno::EINVAL));
    let synced = peer.ask(op::SYNC, on_handle(flag::DATA_ONLY).as_bytes())?;
    let synced = synced.map_err(|errno| io::Error::other(format!("sync: {errno:?}")))?;
    let met = SyncReply::read_from_bytes(&synced).expect("a reply of Sync");
    assert_eq!(met.news(0), None);
    assert_eq!(peer.ask(op::CLOSE, handle.as_bytes())?, Ok(vec![]));
    Ok(())
}

/// An Open of a file for these flags, and with this token of the lock `ledger` if there is one.
fn open(token: Option<u64>, flags: u32) -> (u16, Vec<u8>) {
    let args = OpenFileArgs {
        flags: flags.into(),
        mode: if flags & open::CREATE != 0 { 0o600 } else { 0 }.into(),
        uid: 0.into(),
    };
    let plain = [args.as_bytes(), b"/var/log/virgo_fs/fenced"].concat();
    match token {
        None => (op::OPEN, plain),
        Some(token) => {
            let claim = FenceClaim::new(b"ledger", token).expect("a lock");
            let fenced = [claim.to_wire().as_bytes(), &plain].concat();
            (op::FENCED_OPEN, fenced)
        }
    }
}

/// The handle that a request gets.
fn opened(peer: &mut Peer, (op, body): (u16, Vec<u8>)) -> io::Result<Result<u64, Errno>> {
    let answer = peer.ask(op, &body)?;
    Ok(answer.map(|body| {
        let reply = OpenReply::read_from_bytes(&body).expect("a reply of Open");
        reply.handle.get()
    }))
}

fn a_handle_has_the_lock_that_it_was_opened_with(node: &Node) -> io::Result<()> {
    const BOTH: u32 = open::READ | open::WRITE | open::CREATE;
    let mut peer = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
    let write = |handle: u64| {
        let args = WriteArgs {
            handle: handle.into(),
            offset: 0.into(),
        };
        [args.as_bytes(), b"data"].concat()
    };
    let cut = |handle: u64| TruncateFileArgs {
        handle: handle.into(),
        size: 0.into(),
    };
    let stranger = opened(&mut peer, open(None, BOTH))?.expect("open");
    assert!(peer.ask(op::WRITE, &write(stranger))?.is_ok());
    let first = opened(&mut peer, open(Some(7), BOTH))?.expect("open");
    assert!(peer.ask(op::WRITE, &write(first))?.is_ok());
    assert_eq!(peer.ask(op::WRITE, &write(stranger))?, Err(Errno::ENOLCK));
    let next = opened(&mut peer, open(Some(8), BOTH))?.expect("open");
    assert!(peer.ask(op::WRITE, &write(next))?.is_ok());
    for (handle, expected) in [(first, Errno::ESTALE), (stranger, Errno::ENOLCK)] {
        assert_eq!(peer.ask(op::WRITE, &write(handle))?, Err(expected));
        let cut = peer.ask(op::TRUNCATE, cut(handle).as_bytes())?;
        assert_eq!(cut, Err(expected));
    }
    assert_eq!(opened(&mut peer, open(Some(7), BOTH))?, Err(Errno::ESTALE));
    let cutting = open(None, BOTH | open::TRUNCATE);
    assert_eq!(opened(&mut peer, cutting)?, Err(Errno::ENOLCK));
    assert_eq!(peer.ask(op::TRUNCATE, cut(next).as_bytes())?, Ok(vec![]));
    // What is only read takes no lock.
    assert_eq!(
        opened(&mut peer, open(Some(8), open::READ))?,
        Err(Errno::EINVAL)
    );
    for handle in [first, next, stranger] {
        assert_eq!(peer.ask(op::CLOSE, &handle.to_le_bytes())?, Ok(vec![]));
    }
    std::fs::remove_file("/var/log/virgo_fs/fenced")
}

fn what_is_torn_opens_nothing(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
    let (op, whole) = open(Some(7), open::WRITE | open::CREATE);
    // Up to the slash that the path begins with.
    for len in 0..=size_of::<FenceToken>() + size_of::<OpenFileArgs>() {
        assert_eq!(
            peer.ask(op, &whole[..len])?,
            Err(Errno::EINVAL),
            "{len} bytes"
        );
    }
    let no_token = [
        &[0; size_of::<FenceToken>()],
        &whole[size_of::<FenceToken>()..],
    ]
    .concat();
    assert_eq!(peer.ask(op, &no_token)?, Err(Errno::EINVAL));
    assert_eq!(
        peer.ask(op::FENCED_OPEN + 1, &whole)?,
        Err(Errno::EOPNOTSUPP)
    );
    assert!(!std::path::Path::new("/var/log/virgo_fs/fenced").exists());
    Ok(())
}

/// Nothing can be written to the disk until this is dropped.
struct Frozen;

impl Frozen {
    fn new() -> io::Result<Self> {
        let status = Command::new("fsfreeze")
            .args(["--freeze", "/run/disk"])
            .status()?;
        assert!(status.success(), "fsfreeze: {status}");
        Ok(Frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let thawed = Command::new("fsfreeze")
            .args(["--unfreeze", "/run/disk"])
            .status();
        assert!(thawed.is_ok_and(|status| status.success()));
    }
}

/// A node may wait for as many changes as it can: once it has given them up they are not in its way, though
/// none could be made.
fn what_was_given_up_at_a_disk_that_hangs_makes_room(node: &Node) -> io::Result<()> {
    const PATIENCE_MS: u32 = 2000;
    let mut peer = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
    let args = OpenFileArgs {
        flags: (open::WRITE | open::CREATE).into(),
        mode: 0o600.into(),
        uid: 0.into(),
    };
    let path = b"/var/log/virgo_fs/given-up";
    let opened = peer.ask(op::OPEN, &[args.as_bytes(), path].concat())?;
    let opened = opened.map_err(|errno| io::Error::other(format!("open: {errno:?}")))?;
    let truncate = TruncateFileArgs {
        handle: OpenReply::read_from_bytes(&opened)
            .expect("a handle")
            .handle,
        size: 1.into(),
    };
    let stat = HandleArgs {
        handle: 0.into(),
        flags: 0.into(),
        uid: 0.into(),
    };
    let stat = [stat.as_bytes(), b"/srv/ro/readme"].concat();
    let frozen = Frozen::new()?;
    for slot in (0..SLOTS).cycle().take(2 * SLOTS) {
        let number = peer.number(slot as u8);
        let asked = request_within(PATIENCE_MS, number, op::TRUNCATE, truncate.as_bytes());
        peer.wire.send(&asked)?;
    }
    assert_eq!(peer.ask(op::STAT, &stat)?, Err(Errno::EUSERS));
    thread::sleep(Duration::from_millis(u64::from(PATIENCE_MS) + 500));
    let number = peer.number(0);
    peer.wire.send(&request(number, op::STAT, &stat))?;
    // Those that were given up end now, too.
    let error = loop {
        let (header, _) = peer.wire.frame()?;
        if (header.id.slot, header.id.seq) == (number.slot, number.seq) {
            break header.word;
        }
        assert_eq!(header.word, Errno::ECANCELED.to_wire(), "{header:?}");
    };
    drop(frozen);
    assert_eq!(error, 0);
    // What the former incarnation had open is closed.
    let mut peer = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
    let unlink = PathArgs {
        flags: 0.into(),
        mode: 0.into(),
        first: (path.len() as u16).into(),
        reserved: 0.into(),
        uid: 0.into(),
    };
    let unlinked = peer.ask(op::UNLINK, &[unlink.as_bytes(), path].concat())?;
    assert_eq!(unlinked, Ok(vec![]));
    Ok(())
}

/// A node that begins one life after the other, each of which asks for as much as it can, is owed no more
/// than in one life; and what nobody has begun with of what an earlier life has asked for is not in its way.
fn lives_share_what_is_owed_to_their_node(node: &Node) -> io::Result<()> {
    let path = b"/var/log/virgo_fs/never-there";
    let args = |flags: u32, mode: u32| PathArgs {
        flags: flags.into(),
        mode: mode.into(),
        first: (path.len() as u16).into(),
        reserved: 0.into(),
        uid: 0.into(),
    };
    let mkdir = [args(0, 0o700).as_bytes(), path].concat();
    let live = |count: usize| -> io::Result<Peer> {
        let mut peer = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
        for slot in (0..SLOTS).cycle().take(count) {
            let number = peer.number(slot as u8);
            // Without an end of its own.
            let asked = request_within(u32::MAX, number, op::MKDIR, &mkdir);
            peer.wire.send(&asked)?;
        }
        Ok(peer)
    };
    let frozen = Frozen::new()?;
    let mut first = live(2 * SLOTS)?;
    first.wire.is_silent_for(SILENCE)?;
    // With what is being done for the first that is too much.
    let mut second = live(2 * SLOTS)?;
    let (header, _) = second.wire.frame()?;
    assert_eq!(header.word, Errno::EUSERS.to_wire(), "{header:?}");
    let mut third = live(SLOTS)?;
    third.wire.is_silent_for(SILENCE)?;
    drop(frozen);
    let rmdir = [args(flag::DIRECTORY, 0).as_bytes(), path].concat();
    let mut last = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
    // It is made by one of those that were being done.
    for _ in 0..3 {
        thread::sleep(SILENCE);
        let _ = last.ask(op::UNLINK, &rmdir)?;
    }
    Ok(())
}
