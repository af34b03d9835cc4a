// SPDX-License-Identifier: GPL-2.0

//! Text commands.

use crate::{
    list,
    locks::{
        Granted,
        Locks,
        Wanted, //
    },
    service::Cloudsync,
    session::Session, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline, //
};
use virgo_proto::{
    cloudsync::{
        Mode,
        Token, //
    },
    command::{
        parse_u64,
        CommandLine, //
    },
    config::MAX_DEADLINE_MS,
    errno::Errno, //
};
use virgo_utils::{
    Attachment,
    Caller,
    Command,
    Failure,
    Reply, //
};

pub(crate) const COMMANDS: &[Command<Cloudsync>] = &[
    Command {
        names: &["lock"],
        usage: " NAME [MODE] [timeout=MS] [try]",
        run: lock,
    },
    Command {
        names: &["convert"],
        usage: " NAME MODE [timeout=MS] [try]",
        run: convert,
    },
    Command {
        names: &["unlock"],
        usage: " NAME [TOKEN]",
        run: unlock,
    },
    Command {
        names: &["locks"],
        usage: "",
        run: list_locks,
    },
];

type Reported = Result<(), Failure>;

/// Most bytes of the list of locks.
const MAX_LIST: usize = 60 * 1024;

/// The locks of a text session. They end with it.
struct Attached {
    locks: Arc<Locks>,
    session: Arc<Session>,
}

impl Attachment for Attached {}

impl Drop for Attached {
    fn drop(&mut self) {
        self.locks.close(&self.session);
    }
}

fn expected(reason: &'static str) -> Failure {
    Failure::new(Errno::EINVAL, reason)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// What the words behind the name say.
fn wanted<'a>(
    caller: &Caller<'_>,
    words: impl Iterator<Item = &'a [u8]>,
) -> Result<(Option<Mode>, Wanted), Failure> {
    let mut mode = None;
    let mut wanted = Wanted {
        mode: Mode::Ex,
        tries: false,
        by_event: false,
        deadline: Deadline::after_ms(caller.config.deadline_ms),
    };
    for word in words {
        if word == b"try" {
            wanted.tries = true;
        } else if let Some(ms) = word.strip_prefix(b"timeout=") {
            let ms = parse_u64(ms).and_then(|ms| u32::try_from(ms).ok());
            let ms = ms.filter(|ms| (1..=MAX_DEADLINE_MS).contains(ms));
            let ms = ms.ok_or(expected("timeout: expected milliseconds, 1 to 300000"))?;
            wanted.deadline = Deadline::after_ms(ms);
        } else {
            let known = Mode::parse(word);
            mode = Some(known.ok_or(expected("expected a mode: NL, CR, CW, PR, PW or EX"))?);
        }
    }
    wanted.mode = mode.unwrap_or(Mode::Ex);
    Ok((mode, wanted))
}

fn session<'a>(this: &Cloudsync, caller: &'a Caller<'_>) -> Result<&'a Arc<Session>, Failure> {
    let attached = caller.attached.get_or(|_| {
        let attached = Attached {
            locks: this.locks.clone(),
            session: this.locks.open(caller.uid)?,
        };
        Ok(Arc::new(attached, GFP_KERNEL)?)
    })?;
    Ok(&attached.session)
}

fn name<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Result<&'a [u8], Failure> {
    words.next().ok_or(expected("expected the name of a lock"))
}

fn token(text: &[u8]) -> Result<Token, Failure> {
    let token = parse_u64(text).filter(|token| *token != 0);
    token
        .map(Token)
        .ok_or(expected("expected a token, as lock has given it"))
}

fn tell(granted: Option<Granted>, reply: &mut Reply<'_>) -> Reported {
    let granted = granted.ok_or(Errno::EINVAL)?;
    reply.field("token", granted.token.0)?;
    reply.bytes("mode", granted.mode.name().as_bytes())
}

fn lock(
    this: &Cloudsync,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let mut words = words(command.body);
    let name = name(&mut words)?;
    let (_, wanted) = wanted(caller, words)?;
    let session = session(this, caller)?;
    tell(this.locks.lock(session, name, wanted)?, reply)
}

fn convert(
    this: &Cloudsync,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let mut words = words(command.body);
    let name = name(&mut words)?;
    let (mode, wanted) = wanted(caller, words)?;
    mode.ok_or(expected("expected a mode: NL, CR, CW, PR, PW or EX"))?;
    let session = session(this, caller)?;
    tell(this.locks.convert(session, name, wanted, None)?, reply)
}

fn unlock(
    this: &Cloudsync,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let mut words = words(command.body);
    let name = name(&mut words)?;
    let token = words.next().map(token).transpose()?;
    let session = session(this, caller)?;
    this.locks.unlock(session, name, token, None)?;
    reply.text(b"OK")
}

/// The locks of this node's programs: of the session's user, and for root of all.
fn list_locks(
    this: &Cloudsync,
    caller: &Caller<'_>,
    _: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let mut text = KVVec::new();
    list::each(&this.locks.cluster, caller.uid, |line| {
        if text.len() + line.len() > MAX_LIST {
            return Ok(false);
        }
        if !text.is_empty() {
            text.put_bytes(b"; ", GFP_KERNEL)?;
        }
        text.put_bytes(line, GFP_KERNEL)?;
        Ok(true)
    })?;
    reply.text(&text)
}
