// SPDX-License-Identifier: GPL-2.0

//! Text commands.

use crate::{
    local::Analytics,
    rights::{
        self,
        OTHERS, //
    },
    watch::Watching, //
};
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::crypto::random_u64;
use virgo_proto::{
    analytics::{
        pairs,
        source::ValueSource, //
    },
    command::CommandLine,
    errno::Errno, //
};
use virgo_utils::{
    variables::{
        Refused,
        ValueOrigin, //
    },
    Caller,
    Command,
    Failure,
    Reply, //
};

/// Bytes of a reply that lists things.
const MAX_REPLY: usize = 60 * 1024;

/// Bytes of a change in a reply besides key and value, at most.
const HISTORY_HEAD: usize = 96;

pub(crate) const COMMANDS: &[Command<Analytics>] = &[
    Command {
        names: &["set", "virgo_analytics_set"],
        usage: "(key=value[,key=value])",
        run: set,
    },
    Command {
        names: &["reset"],
        usage: "(key)",
        run: reset,
    },
    Command {
        names: &["get", "virgo_analytics_get"],
        usage: "(key)",
        run: get,
    },
    Command {
        names: &["list"],
        usage: "([prefix])",
        run: list,
    },
    Command {
        names: &["explain"],
        usage: "(key)",
        run: explain,
    },
    Command {
        names: &["history"],
        usage: "([prefix])",
        run: history,
    },
    Command {
        names: &["watch"],
        usage: "([prefix])",
        run: watch,
    },
    Command {
        names: &["reload"],
        usage: "",
        run: reload,
    },
    Command {
        names: &["apply"],
        usage: "(key=value[,key=value])",
        run: apply,
    },
];

const UNKNOWN: Failure = Failure::new(Errno::ENOENT, "no such variable; list() shows them");

fn of_refused(refused: Refused) -> Failure {
    match refused {
        Refused::Text { errno, reason, .. } => Failure::made(errno, reason),
        Refused::Error(error) => error.into(),
    }
}

fn key<'a>(command: &CommandLine<'a>) -> Result<&'a str, Failure> {
    let key = core::str::from_utf8(command.body).map_err(|_| UNKNOWN)?;
    match key {
        "" => Err(Failure::new(Errno::EINVAL, "which variable?")),
        key => Ok(key),
    }
}

fn prefix<'a>(command: &CommandLine<'a>) -> Result<&'a str, Failure> {
    match command.body {
        b"" => Ok(""),
        _ => {
            let prefix = key(command)?;
            pairs::check_key(prefix).map_err(|reason| Failure::new(Errno::EINVAL, reason))?;
            Ok(prefix)
        }
    }
}

fn set(
    analytics: &Analytics,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    rights::check(caller.config, caller.uid)?;
    let origin = ValueOrigin::new(ValueSource::Text, caller.uid);
    let count = match caller.uid {
        0 => analytics.setter.set(command.body, origin),
        _ => analytics
            .setter
            .set_by(&OTHERS, command.body, origin)
            .map(|count| count.variables),
    };
    reply.field("set", count.map_err(of_refused)? as u64)
}

fn reset(
    analytics: &Analytics,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    rights::check(caller.config, caller.uid)?;
    let key = key(command)?;
    if caller.uid != 0 && !(OTHERS.may_set)(key) {
        return Err(Failure::new(
            Errno::EPERM,
            "not to be reset by others than root",
        ));
    }
    match analytics
        .setter
        .reset(key, ValueOrigin::new(ValueSource::Text, caller.uid))
    {
        true => reply.text(b"OK"),
        false => Err(Failure::new(Errno::ENOENT, "nobody has set it")),
    }
}

fn reload(
    analytics: &Analytics,
    caller: &Caller<'_>,
    _command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    rights::check(caller.config, caller.uid)?;
    reply.field("set", analytics.reload().map_err(of_refused)? as u64)
}

/// Sets variables of all nodes, or of none.
fn apply(
    analytics: &Analytics,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    rights::check(caller.config, caller.uid)?;
    let number = random_u64().max(1);
    let rollouts = &analytics.rollouts;
    match rollouts.begin(number, command.body, None, caller.uid, true)? {
        Ok(()) => {
            let number = CString::try_from_fmt(fmt!("{number:016x}"))?;
            reply.bytes("rollout", number.to_bytes())
        }
        Err(error) => Err(Failure::made(error.errno, error.reason)),
    }
}

fn get(
    analytics: &Analytics,
    _caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let write = analytics.setter.with(key(command)?, |value, _| {
        reply.text(value.text().as_bytes())
    });
    write.ok_or(UNKNOWN)?
}

fn list(
    analytics: &Analytics,
    _caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let prefix = prefix(command)?;
    let mut out = List::default();
    analytics
        .setter
        .try_for_each(|key, value, _| match key.starts_with(prefix) {
            true => out.put(b",", &[key.as_bytes(), b"=", value.text().as_bytes()]),
            false => Ok(()),
        })?;
    reply.text(&out.0)
}

fn history(
    analytics: &Analytics,
    _caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let prefix = prefix(command)?;
    // Written without the history's lock, and the last ones if a line has no room for all.
    let records = analytics.history.records(prefix)?;
    let mut room = MAX_REPLY;
    let fit = records.iter().rev().map_while(|record| {
        let len = HISTORY_HEAD + record.key().len() + record.value().len();
        room = room.checked_sub(len)?;
        Some(())
    });
    let first = records.len() - fit.count();
    let mut out = List::default();
    for record in records.get(first..).unwrap_or_default() {
        let (source, uid, value) = (record.source(), record.uid(), record.value());
        let (number, ms) = (record.number, record.ms);
        let head = CString::try_from_fmt(fmt!("{number} {ms} {source} {uid} "))?;
        let key = record.key().as_bytes();
        out.put(b"\t", &[head.to_bytes(), key, b"=", value.as_bytes()])?;
    }
    reply.text(&out.0)
}

fn explain(
    analytics: &Analytics,
    _caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let key = key(command)?;
    let write = analytics.setter.with(key, |value, declaration| {
        reply.bytes("key", key.as_bytes())?;
        reply.bytes("value", value.text().as_bytes())?;
        reply.bytes("source", value.origin.source.name().as_bytes())?;
        reply.field("uid", value.origin.uid.into())?;
        reply.field("since_ms", value.since_ms())?;
        let Some(declaration) = declaration else {
            return reply.bytes("type", b"undeclared");
        };
        reply.bytes("type", declaration.kind.name().as_bytes())?;
        if declaration.is_number() {
            for (name, number) in [
                ("min", declaration.min),
                ("max", declaration.max),
                ("default", declaration.default),
            ] {
                let shown = CString::try_from_fmt(format_args!("{}", declaration.shown(number)))?;
                reply.bytes(name, shown.to_bytes())?;
            }
        }
        reply.bytes("unit", declaration.unit.as_bytes())?;
        reply.bytes("reader", declaration.reader.as_bytes())?;
        reply.bytes("about", declaration.about.as_bytes())
    });
    write.ok_or(UNKNOWN)?
}

fn watch(
    analytics: &Analytics,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let prefix = prefix(command)?;
    let watching = caller
        .attached
        .get_or(|waker| Watching::new(analytics.history.clone(), waker))?;
    watching.watch(prefix.as_bytes())?;
    reply.text(b"watching")
}

/// Items of a reply, up to a limit.
#[derive(Default)]
struct List(KVVec<u8>);

impl List {
    /// Adds an item that has these parts.
    fn put(&mut self, separator: &[u8], parts: &[&[u8]]) -> Result<(), Failure> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.0.len().saturating_add(len) > MAX_REPLY {
            return Err(Failure::new(
                Errno::EMSGSIZE,
                "more than a line; give the beginning of the keys",
            ));
        }
        if !self.0.is_empty() {
            self.0.extend_from_slice(separator, GFP_KERNEL)?;
        }
        for part in parts {
            self.0.extend_from_slice(part, GFP_KERNEL)?;
        }
        Ok(())
    }
}
