// SPDX-License-Identifier: GPL-2.0
//! Locks belong to sessions, and end with them.

use std::{
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};
use virgo::{
    Result,
    lock::{Held, Mode, Session, VALUE, Wait},
};
use virgo_test_support::invoke::as_uid;

crate::tests! {
    tokens_grow,
    a_lock_is_its_sessions,
    a_lock_ends_with_the_last_descriptor_of_its_session,
    who_tries_does_not_wait,
    two_conversions_that_wait_for_each_other_are_refused,
    users_exclude_each_other,
    another_thread_of_the_session_ends_the_wait,
}

/// Longer than anything takes.
pub(crate) const PATIENCE: Wait = Wait::For(Duration::from_secs(60));

/// A session of this program.
pub(crate) fn session() -> Session {
    Session::open().expect("open a session")
}

/// Locks what nobody keeps for long.
pub(crate) fn lock(session: &Session, name: &str, mode: Mode) -> Held {
    session.lock_with(name, mode, PATIENCE).expect("lock")
}

/// The errno of what must not be done.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("it was done"),
        Err(e) => e.errno(),
    }
}

fn tokens_grow() {
    let [first, second] = [session(), session()];
    let mut last = 0;
    for owner in [&first, &first, &second, &first] {
        let held = lock(owner, "c.tokens", Mode::Ex);
        assert!(held.token > last, "{} after {last}", held.token);
        last = held.token;
        owner.unlock("c.tokens").expect("unlock");
    }
}

fn a_lock_is_its_sessions() {
    let [mine, other] = [session(), session()];
    let held = lock(&mine, "c.mine", Mode::Ex);
    assert_eq!(refused(mine.lock("c.mine", Mode::Pr)), libc::EALREADY);
    assert_eq!(refused(other.unlock("c.mine")), libc::ENOENT);
    let converted = other.convert("c.mine", Mode::Nl, Wait::Try, [0; VALUE]);
    assert_eq!(refused(converted), libc::ENOENT);
    let wrong = mine.unlock_with("c.mine", held.token + 1, None);
    assert_eq!(refused(wrong), libc::ESTALE);
    mine.unlock_with("c.mine", held.token, None)
        .expect("unlock");
    assert_eq!(refused(mine.unlock("c.mine")), libc::ENOENT);
}

fn a_lock_ends_with_the_last_descriptor_of_its_session() {
    let [mine, other] = [session(), session()];
    lock(&mine, "c.descriptors", Mode::Ex);
    let second = mine.as_fd().try_clone_to_owned().expect("dup");
    drop(mine);
    let tried = other.lock_with("c.descriptors", Mode::Ex, Wait::Try);
    assert_eq!(refused(tried), libc::EAGAIN);
    drop(second);
    lock(&other, "c.descriptors", Mode::Ex);
}

fn who_tries_does_not_wait() {
    let [reader, other, writer] = [session(), session(), session()];
    lock(&reader, "c.tried", Mode::Pr);
    lock(&other, "c.tried", Mode::Pr);
    let start = Instant::now();
    let tried = writer.lock_with("c.tried", Mode::Ex, Wait::Try);
    assert_eq!(refused(tried), libc::EAGAIN);
    let converted = reader.convert("c.tried", Mode::Ex, Wait::Try, [0; VALUE]);
    assert_eq!(refused(converted), libc::EAGAIN);
    assert!(start.elapsed() < Duration::from_secs(5), "at once");
    let waited = writer.lock_with("c.tried", Mode::Ex, Wait::For(Duration::from_millis(300)));
    assert_eq!(refused(waited), libc::ETIMEDOUT);
    // What it held before the conversion it still has.
    reader.unlock("c.tried").expect("unlock");
}

fn two_conversions_that_wait_for_each_other_are_refused() {
    let [first, second] = [session(), session()];
    lock(&first, "c.convert", Mode::Pr);
    lock(&second, "c.convert", Mode::Pr);
    thread::scope(|scope| {
        let waits = scope.spawn(|| first.convert("c.convert", Mode::Ex, PATIENCE, [0; VALUE]));
        thread::sleep(Duration::from_secs(1));
        let too = second.convert("c.convert", Mode::Ex, PATIENCE, [0; VALUE]);
        assert_eq!(refused(too), libc::EDEADLK);
        second.unlock("c.convert").expect("unlock");
        waits.join().expect("thread").expect("convert");
    });
}

fn users_exclude_each_other() {
    let mine = session();
    lock(&mine, "c.users", Mode::Ex);
    as_uid(1000, || {
        let tried = session().lock_with("c.users", Mode::Cr, Wait::Try);
        assert_eq!(refused(tried), libc::EAGAIN);
        assert_eq!(refused(session().unlock("c.users")), libc::ENOENT);
    });
    mine.unlock("c.users").expect("unlock");
    as_uid(1000, || lock(&session(), "c.users", Mode::Ex));
}

fn another_thread_of_the_session_ends_the_wait() {
    let [mine, other] = [session(), session()];
    lock(&mine, "c.threads", Mode::Ex);
    thread::scope(|scope| {
        let start = Instant::now();
        let waits = scope.spawn(|| other.lock_with("c.threads", Mode::Ex, PATIENCE));
        thread::sleep(Duration::from_secs(1));
        other.unlock("c.threads").expect("unlock");
        let waited = waits.join().expect("thread");
        assert_eq!(refused(waited), libc::ECANCELED);
        assert!(start.elapsed() < Duration::from_secs(30), "woken");
    });
    // Nothing of it is left behind.
    mine.unlock("c.threads").expect("unlock");
    lock(&other, "c.threads", Mode::Ex);
}
