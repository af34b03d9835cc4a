// SPDX-License-Identifier: GPL-2.0

//! What people and programs say by text.

use crate::{
    events::{
        rate,
        record,
        Status, //
    },
    service::EventNet, //
};
use kernel::{
    prelude::*,
    str::CString, //
};
use virgo_proto::{
    command::CommandLine,
    errno::Errno,
    eventnet::GraphMessage, //
};
use virgo_utils::{
    Caller,
    Command,
    Failure,
    Reply, //
};

pub(crate) const COMMANDS: &[Command<EventNet>] = &[
    Command {
        names: &["eventnet_status"],
        usage: "",
        run: |_, _, _, reply| {
            let status = CString::try_from_fmt(core::format_args!("{Status}"))?;
            reply.text(status.to_bytes())
        },
    },
    Command {
        names: &["eventnet_on"],
        usage: "(kind+kind or all, one_in)",
        run: on,
    },
    Command {
        names: &["eventnet_off"],
        usage: "",
        run: |_, caller, _, reply| switch(caller, b"none", 1, reply),
    },
];

/// Only root may have others watched.
fn switch(
    caller: &Caller<'_>,
    kinds: &[u8],
    one_in: u32,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    if caller.uid != 0 {
        return Err(Failure::new(Errno::EPERM, "only root has others watched"));
    }
    record(kinds, one_in).map_err(|e| match e {
        EINVAL => Failure::new(
            Errno::EINVAL,
            "kinds: all, or memory, clone, file, queue, request, log with + between them",
        ),
        e => e.into(),
    })?;
    reply.text(b"OK")
}

fn on(
    _: &EventNet,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let mut args = command.body.splitn(2, |&byte| byte == b',');
    let kinds = args.next().map(<[u8]>::trim_ascii).unwrap_or_default();
    let kinds = if kinds.is_empty() { b"all" } else { kinds };
    let one_in = match args.next() {
        None => 1,
        Some(text) => rate(text)
            .map_err(|_| Failure::new(Errno::EINVAL, "expected to record one call of 1 or more"))?,
    };
    switch(caller, kinds, one_in, reply)
}

/// A message of the original's grammar.
pub(crate) fn message(
    eventnet: &EventNet,
    caller: &Caller<'_>,
    line: &[u8],
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let message = match GraphMessage::parse(line) {
        Ok(message) => message,
        Err(bad) => return Err(Failure::new(Errno::EINVAL, bad.reason())),
    };
    let added = eventnet.pending.add(&message, caller.uid);
    added.map_err(|e| match e {
        EDQUOT => Failure::new(
            Errno::EDQUOT,
            "too many of your messages wait to be written, or are in the file",
        ),
        ENOSPC => Failure::new(Errno::ENOSPC, "too many messages wait to be written"),
        e => Failure::new(
            virgo_utils::to_wire(e),
            "the files in /var/log/eventnet cannot be written to",
        ),
    })?;
    reply.text(b"EventNet updated")
}

pub(crate) fn stats(eventnet: &EventNet, reply: &mut Reply<'_>) -> Result<(), Failure> {
    let (accepted, refused, failure) = eventnet.pending.counts();
    let (replaced, lost) = Status::lost();
    reply.field("messages", accepted)?;
    reply.field("refused", refused)?;
    reply.field("file_errno", failure.unsigned_abs().into())?;
    reply.field("events_replaced", replaced)?;
    reply.field("messages_lost", lost)
}
