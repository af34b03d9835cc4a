// SPDX-License-Identifier: GPL-2.0

//! What text commands of the queue have in common: their words, and who says them.

use crate::{
    admin::explain,
    channel::PublishOptions,
    message::Parts,
    publish_target::Publisher,
    service::QueueService, //
};
use linux::deadline::Deadline;
use virgo_proto::{
    command::parse_u64,
    errno::Errno,
    fence::FenceClaim,
    queue::reasons, //
};
use virgo_utils::{
    budget::Account,
    Caller,
    Failure, //
};

pub(crate) fn expected(reason: &'static str) -> Failure {
    Failure::new(Errno::EINVAL, reason)
}

/// The first word of `text`, ended by a blank or comma, and what stands behind.
pub(crate) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
    let (word, rest) = text.split_at(text.iter().position(is_end).unwrap_or(text.len()));
    (word, rest.get(1..).unwrap_or_default())
}

pub(crate) fn name(text: &[u8]) -> Result<&[u8], Failure> {
    match reasons::of_name(text) {
        None => Ok(text),
        Some(reason) => Err(expected(reason)),
    }
}

pub(crate) fn parts<'a>(caller: &Caller<'_>, subject: &'a [u8], data: &'a [u8]) -> Parts<'a> {
    Parts {
        subject,
        data,
        reply: None,
        from: caller.from,
        uid: caller.uid,
    }
}

pub(crate) fn account(this: &QueueService, caller: &Caller<'_>) -> Result<Account, Failure> {
    this.queues.budget.account(caller.uid).map_err(explain)
}

/// Who says so, and holds no lock.
pub(crate) fn unlocked(caller: &Caller<'_>) -> Publisher {
    Publisher::without_lock(caller.uid)
}

/// Who says so, and holds `lock` with this token.
pub(crate) fn locked(caller: &Caller<'_>, lock: &[u8], token: &[u8]) -> Result<Publisher, Failure> {
    let claim = parse_u64(token).and_then(|token| FenceClaim::new(lock, token));
    let claim = claim.ok_or(expected(
        "the token is the number that the lock was granted with",
    ))?;
    Ok(Publisher {
        uid: caller.uid,
        claim: Some(claim),
    })
}

pub(crate) fn deadline(caller: &Caller<'_>) -> Deadline {
    Deadline::after_ms(caller.config.deadline_ms)
}

pub(crate) fn id(text: &[u8]) -> Result<u64, Failure> {
    parse_u64(text).ok_or(expected("expected the number that the message came with"))
}

pub(crate) fn how(priority: &[u8], delay: &[u8]) -> Result<PublishOptions, Failure> {
    let number = |text, most| parse_u64(text).filter(|&n| n <= most);
    Ok(PublishOptions {
        priority: number(priority, 9).ok_or(expected("expected a priority from 0 to 9"))? as u8,
        delay_ms: number(delay, u32::MAX.into())
            .ok_or(expected("expected a delay in milliseconds"))? as u32,
    })
}
