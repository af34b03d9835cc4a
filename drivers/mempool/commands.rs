// SPDX-License-Identifier: GPL-2.0

//! The memory pool's text commands.

use crate::{
    cluster::Mempool,
    list,
    target::AllocTarget, //
};
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::bytes::Fill;
use virgo_proto::{
    command::{
        parse_u64,
        CommandLine, //
    },
    errno::Errno,
    fence::FenceClaim,
    mempool::{
        EVERYBODY,
        MAX_DATA, //
    },
    scan,
    vuid::{
        parse_hex,
        Hex, //
    }, //
};
use virgo_utils::{
    buffer::{
        Buffer,
        SMALL, //
    },
    Caller,
    Command,
    Failure,
    Reply,
    User, //
};

/// Bytes of the reply to one list, up to an object.
const MAX_LIST_LINE: usize = 60_000;

pub(crate) const COMMANDS: &[Command<Mempool>] = &[
    Command {
        names: &["virgo_cloud_malloc", "virgo_malloc"],
        usage: "(bytes)",
        run: malloc,
    },
    Command {
        names: &["virgo_cloud_set", "virgo_set"],
        usage: "(id,data)",
        run: set,
    },
    Command {
        names: &["virgo_cloud_set_fenced", "virgo_set_fenced"],
        usage: "(id,lock,token,data)",
        run: set_fenced,
    },
    Command {
        names: &["virgo_cloud_get", "virgo_get"],
        usage: "(id)",
        run: get,
    },
    Command {
        names: &["virgo_cloud_free", "virgo_free"],
        usage: "(id)",
        run: free,
    },
    Command {
        names: &["virgo_cloud_list", "virgo_list"],
        usage: "(uid or all,from)",
        run: list,
    },
];

type Outcome = Result<(), Failure>;

fn malloc(
    this: &Mempool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let [size] = command.args().ok_or(usage("virgo_cloud_malloc(bytes)"))?;
    let size = parse_u64(size).ok_or(Failure::new(
        Errno::EINVAL,
        "the size is a number of bytes, at least 1",
    ))?;
    let user = User::of_text(caller);
    let target = AllocTarget::Policy(user.config.place);
    let id = this.malloc(&user, size, false, target)?;
    reply.text(&Hex(id).digits())
}

fn set(
    this: &Mempool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let [id, data] = command.args().ok_or(usage("virgo_cloud_set(id,data)"))?;
    let id = parse_id(id)?;
    this.write(&User::of_text(caller), id, 0, data, true)?;
    reply.text(&Hex(id).digits())
}

fn set_fenced(
    this: &Mempool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    const USAGE: &str = "virgo_cloud_set_fenced(id,lock,token,data)";
    let [id, lock, token, data] = command.args().ok_or(usage(USAGE))?;
    let id = parse_id(id)?;
    let claim = parse_u64(token).and_then(|token| FenceClaim::new(lock, token));
    let claim = claim.ok_or(Failure::new(
        Errno::EINVAL,
        "the token is the number that the lock was granted with",
    ))?;
    let user = User::of_text(caller).with_lock(Some(claim));
    this.write(&user, id, 0, data, true)?;
    reply.text(&Hex(id).digits())
}

fn get(
    this: &Mempool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let [id] = command.args().ok_or(usage("virgo_cloud_get(id)"))?;
    let id = parse_id(id)?;
    let user = User::of_text(caller);
    // Most strings are short: only the others need memory for the longest one.
    for len in [SMALL, MAX_DATA] {
        let mut buffer = Buffer::new(len)?;
        let bytes = buffer.bytes();
        let n = this.read(&user, id, 0, bytes)?;
        let bytes = bytes.get(..n).unwrap_or_default();
        let end = scan::find(bytes, [0]);
        if end.is_some() || n < len {
            return reply.text(bytes.get(..end.unwrap_or(n)).unwrap_or_default());
        }
    }
    Err(Failure::new(
        Errno::EMSGSIZE,
        "longer than a text line can be; use the system call",
    ))
}

fn free(
    this: &Mempool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let [id] = command.args().ok_or(usage("virgo_cloud_free(id)"))?;
    this.free(&User::of_text(caller), parse_id(id)?)?;
    reply.text(b"kernel memory freed")
}

/// What this node's pool has: of the session's user, and for root also of others.
fn list(
    this: &Mempool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    const USAGE: &str = "virgo_cloud_list(uid or all,from), from 0 or what 'next' says";
    let [of, from] = command.args().ok_or(usage(USAGE))?;
    let number = |text| parse_u64(text).and_then(|number| u32::try_from(number).ok());
    let of = match of.trim_ascii() {
        b"all" => EVERYBODY,
        uid => number(uid).ok_or(usage(USAGE))?,
    };
    let of = list::visible(caller.uid, of)?;
    let from = number(from).ok_or(usage(USAGE))?;
    let mut line = KVVec::new();
    let next = this.pool.list(caller.config.me, of, from, |object| {
        let (size, uid) = (object.size.get(), object.uid.get());
        let (kind, access) = (object.kind(), object.access());
        let text = CString::try_from_fmt(fmt!(
            " {:016x}:{size}:{uid}:{kind}:{access}",
            object.id.get()
        ))?;
        line.put_bytes(text.to_bytes(), GFP_KERNEL)?;
        Ok::<_, Error>(line.len() < MAX_LIST_LINE)
    })?;
    reply.field("next", next.into())?;
    reply.text(&line)
}

fn usage(usage: &'static str) -> Failure {
    Failure::new(Errno::EINVAL, usage)
}

fn parse_id(text: &[u8]) -> Result<u64, Failure> {
    parse_hex(text).ok_or(Failure::new(
        Errno::EINVAL,
        "the id is up to 16 hexadecimal digits, as virgo_cloud_malloc gives it",
    ))
}
