// SPDX-License-Identifier: GPL-2.0
//! What a session is told by its descriptor, which may be polled.

use crate::sessions::{lock, refused, session};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{os::fd::AsFd, thread::sleep, time::Duration};
use virgo::lock::{Mode, Session, SessionEvent, Wait};

crate::tests! {
    who_does_not_wait_is_told_of_the_grant,
    who_keeps_somebody_out_is_told,
    a_wait_that_is_given_up_is_not_granted,
    a_wait_ends_at_its_deadline,
    a_read_takes_whole_events,
    who_reads_nothing_is_told_that_events_were_missed,
}

/// Whether there is an event within so many seconds.
fn is_readable(session: &Session, seconds: i64) -> bool {
    let mut fds = [PollFd::new(session, PollFlags::IN)];
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&time)).expect("poll") == 1
}

fn who_does_not_wait_is_told_of_the_grant() {
    let [first, second] = [session(), session()];
    let held = lock(&first, "c.told", Mode::Ex);
    assert_eq!(second.begin("c.told", Mode::Ex).expect("begin"), None);
    assert!(!is_readable(&second, 0));
    first.unlock("c.told").expect("unlock");
    assert!(is_readable(&second, 60), "the grant is told");
    match second.next_event().expect("event") {
        SessionEvent::Granted { name, token } => {
            assert_eq!(name, b"c.told");
            assert!(token > held.token);
        }
        other => panic!("{other:?}"),
    }
    assert!(!is_readable(&second, 0), "once");
    second.unlock("c.told").expect("unlock");
}

fn who_keeps_somebody_out_is_told() {
    let [first, second] = [session(), session()];
    lock(&first, "c.blocks", Mode::Ex);
    assert!(!is_readable(&first, 0));
    assert_eq!(second.begin("c.blocks", Mode::Pr).expect("begin"), None);
    assert!(is_readable(&first, 60), "it is told");
    let blocks = SessionEvent::Blocks {
        name: b"c.blocks".to_vec(),
    };
    assert_eq!(first.next_event().expect("event"), blocks);
}

fn a_wait_that_is_given_up_is_not_granted() {
    let [first, second, third] = [session(), session(), session()];
    lock(&first, "c.given.up", Mode::Ex);
    assert_eq!(second.begin("c.given.up", Mode::Ex).expect("begin"), None);
    let again = second.begin("c.given.up", Mode::Ex);
    assert_eq!(refused(again), libc::EALREADY);
    second.unlock("c.given.up").expect("stop waiting");
    first.unlock("c.given.up").expect("unlock");
    lock(&third, "c.given.up", Mode::Ex);
    assert!(!is_readable(&second, 0));
    let tried = second.lock_with("c.given.up", Mode::Ex, Wait::Try);
    assert_eq!(refused(tried), libc::EAGAIN);
}

fn a_wait_ends_at_its_deadline() {
    let [first, second, third] = [session(), session(), session()];
    lock(&first, "c.late", Mode::Ex);
    let soon = Wait::For(Duration::from_millis(300));
    let begun = second.begin_with("c.late", Mode::Ex, soon);
    assert_eq!(begun.expect("begin"), None);
    // Others have other deadlines, or none.
    let begun = third.begin_with("c.late", Mode::Ex, Wait::Forever);
    assert_eq!(begun.expect("begin"), None);
    let late = SessionEvent::Refused {
        name: b"c.late".to_vec(),
        errno: libc::ETIMEDOUT,
    };
    assert!(is_readable(&second, 60), "the end of the wait is told");
    assert_eq!(second.next_event().expect("event"), late);
    assert!(!is_readable(&second, 0), "once");
    assert_eq!(refused(second.unlock("c.late")), libc::ENOENT);
    // A conversion that comes to nothing leaves what was held.
    lock(&second, "c.converted", Mode::Pr);
    lock(&third, "c.converted", Mode::Pr);
    first.unlock("c.late").expect("unlock");
    assert!(is_readable(&third, 60), "who has no deadline is granted it");
    // It can be asked for again, and is not ended by a deadline that was its own before.
    let begun = second.begin_with("c.late", Mode::Ex, soon);
    assert_eq!(begun.expect("begin"), None);
    third.unlock("c.late").expect("unlock");
    assert!(is_readable(&second, 60), "it is granted");
    let granted = second.next_event().expect("event");
    assert!(
        matches!(granted, SessionEvent::Granted { .. }),
        "{granted:?}"
    );
    sleep(Duration::from_millis(600));
    assert!(!is_readable(&second, 0));
    second.unlock("c.late").expect("it still has it");
}

fn a_read_takes_whole_events() {
    let [first, second] = [session(), session()];
    let flags = rustix::fs::fcntl_getfl(first.as_fd()).expect("flags");
    rustix::fs::fcntl_setfl(first.as_fd(), flags | rustix::fs::OFlags::NONBLOCK).expect("flags");
    let mut event = [0; 280];
    assert_eq!(rustix::io::read(&first, &mut event), Err(Errno::AGAIN));
    assert_eq!(
        rustix::io::read(&first, &mut event[..279]),
        Err(Errno::INVAL)
    );
    for name in ["c.one", "c.two", "c.three"] {
        lock(&first, name, Mode::Ex);
        assert_eq!(second.begin(name, Mode::Ex).expect("begin"), None);
    }
    assert!(is_readable(&first, 60));
    let mut two = [0; 2 * 280 + 100];
    assert_eq!(rustix::io::read(&first, &mut two), Ok(2 * 280));
    assert_eq!(rustix::io::read(&first, &mut two), Ok(280));
    assert_eq!(rustix::io::read(&first, &mut two), Err(Errno::AGAIN));
}

fn who_reads_nothing_is_told_that_events_were_missed() {
    // There is room for 64 events, or 4096 bytes of names.
    for (length, kept) in [(10, 64), (255, 16)] {
        let [first, second] = [session(), session()];
        let names = (0..kept + 10).map(|i| format!("{i:m>length$}"));
        let names: Vec<String> = names.collect();
        for name in &names {
            lock(&first, name, Mode::Ex);
            assert_eq!(second.begin(name, Mode::Ex).expect("begin"), None);
        }
        for name in &names[..kept] {
            assert!(is_readable(&first, 60));
            let blocks = SessionEvent::Blocks {
                name: name.clone().into_bytes(),
            };
            assert_eq!(first.next_event().expect("event"), blocks);
        }
        assert!(is_readable(&first, 60));
        assert_eq!(first.next_event().expect("event"), SessionEvent::Missed);
        assert!(!is_readable(&first, 0), "once");
        // Now there is room again.
        lock(&first, "c.after", Mode::Ex);
        assert_eq!(second.begin("c.after", Mode::Ex).expect("begin"), None);
        assert!(is_readable(&first, 60));
        let blocks = SessionEvent::Blocks {
            name: b"c.after".to_vec(),
        };
        assert_eq!(first.next_event().expect("event"), blocks);
    }
}
