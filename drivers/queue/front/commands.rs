// SPDX-License-Identifier: GPL-2.0

//! The queue's text commands.

use crate::{
    admin::{
        explain,
        explain_to, //
    },
    channel::{
        Channel,
        ChannelRef,
        ChannelStats,
        PublishOptions, //
    },
    command_args::{
        account,
        deadline,
        expected,
        how,
        id,
        locked,
        name,
        parts,
        unlocked,
        word, //
    },
    log_status,
    message::ReplyTo,
    publish::Published,
    publish_target::Publisher,
    service::QueueService,
    subscriber::Subscriber,
    table::REQUESTS, //
};
use kernel::prelude::*;
use virgo_proto::{
    command::{
        parse_u64,
        CommandLine, //
    },
    errno::Errno,
    fence::FenceClaim,
    queue::{
        access::Right,
        options::ChannelKind,
        subscribe::SubscribeArgs, //
    }, //
};
use virgo_utils::{
    requests::{
        push_request,
        QueueRequest, //
    },
    Caller,
    Command,
    Failure,
    Reply, //
};

pub(crate) const COMMANDS: &[Command<QueueService>] = &[
    Command {
        names: &["pub"],
        usage: " NAME DATA",
        run: publish,
    },
    Command {
        names: &["publish"],
        usage: "(name,priority,delay-ms,data)",
        run: publish_how,
    },
    Command {
        names: &["sub"],
        usage: " NAME|PATTERN [ack] [group=NAME] [from=POSITION] [messages=N] [bytes=N] [policy=P]",
        run: subscribe,
    },
    Command {
        names: &["unsub"],
        usage: " NAME|PATTERN",
        run: unsubscribe,
    },
    Command {
        names: &["ack"],
        usage: "(message)",
        run: ack,
    },
    Command {
        names: &["nack"],
        usage: "(message[,delay-ms])",
        run: nack,
    },
    Command {
        names: &["req"],
        usage: " NAME DATA",
        run: request,
    },
    Command {
        names: &["reply"],
        usage: " REQUEST DATA",
        run: reply,
    },
    Command {
        names: &["create"],
        usage: " NAME [topic] [durable] [messages=N] [bytes=N] [policy=block|reject|drop-oldest] \
            [ack=MS] [unacked=N] [deliveries=N] [dead=NAME] [keep=N] [bind=PATTERN] [mode=OO] \
            [owner=UID]",
        run: create,
    },
    Command {
        names: &["delete"],
        usage: " NAME",
        run: delete,
    },
    Command {
        names: &["purge"],
        usage: " NAME",
        run: purge,
    },
    Command {
        names: &["replay"],
        usage: " NAME POSITION",
        run: replay,
    },
    Command {
        names: &["queues"],
        usage: "",
        run: list,
    },
    Command {
        names: &["queue"],
        usage: " NAME",
        run: show_one,
    },
    Command {
        names: &["status"],
        usage: "",
        run: status,
    },
    Command {
        names: &["publish_fenced"],
        usage: "(name,lock,token,priority,delay-ms,data)",
        run: publish_fenced,
    },
    Command {
        names: &["purge_fenced"],
        usage: "(name,lock,token)",
        run: purge_fenced,
    },
    Command {
        names: &["delete_fenced"],
        usage: "(name,lock,token)",
        run: delete_fenced,
    },
];

type Reported = Result<(), Failure>;

/// Most bytes of the list of queues.
const MAX_LIST: usize = 60 * 1024;

fn show_published(
    this: &QueueService,
    caller: &Caller<'_>,
    published: Published,
    reply: &mut Reply<'_>,
) -> Reported {
    if published.lsn > 0 {
        // The answer goes out when the message is on disk, and with it those of others.
        match subscriber_or_new(this, caller) {
            Ok(subscriber) => subscriber.settle_at(published.lsn),
            // The message is accepted: an error would have it published twice. So this session waits.
            Err(_) => this
                .queues
                .commit(published.lsn, deadline(caller))
                .map_err(explain)?,
        }
    }
    reply.field("position", published.position)?;
    reply.field("channels", published.channels.into())?;
    match published.lost {
        0 => Ok(()),
        lost => reply.field("lost", lost.into()),
    }
}

fn publish(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let (to, data) = word(command.body);
    let parts = parts(caller, name(to)?, data);
    let account = account(this, caller)?;
    let published = this.queues.publish(
        unlocked(caller),
        &account,
        &parts,
        PublishOptions::PLAIN,
        Some(deadline(caller)),
    );
    show_published(this, caller, published.map_err(explain)?, reply)
}

fn publish_how(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let [to, priority, delay, data] = command
        .args()
        .ok_or(expected("expected publish(name,priority,delay-ms,data)"))?;
    let how = how(priority, delay)?;
    publish_as(this, caller, unlocked(caller), (to, data), how, reply)
}

fn publish_fenced(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let [to, lock, token, priority, delay, data] = command.args().ok_or(expected(
        "expected publish_fenced(name,lock,token,priority,delay-ms,data)",
    ))?;
    let (by, how) = (locked(caller, lock, token)?, how(priority, delay)?);
    publish_as(this, caller, by, (to, data), how, reply)
}

/// Publishes `data` to the queue or topic `to`.
fn publish_as(
    this: &QueueService,
    caller: &Caller<'_>,
    by: Publisher,
    (to, data): (&[u8], &[u8]),
    how: PublishOptions,
    reply: &mut Reply<'_>,
) -> Reported {
    let parts = parts(caller, name(to)?, data);
    let account = account(this, caller)?;
    let published = this
        .queues
        .publish(by, &account, &parts, how, Some(deadline(caller)));
    let published = published.map_err(|e| explain_to(by, e))?;
    show_published(this, caller, published, reply)
}

/// The session's subscriber.
fn subscriber<'a>(caller: &'a Caller<'_>) -> Result<&'a Subscriber, Failure> {
    caller.attached.get().ok_or(Failure::new(
        Errno::ESTALE,
        "this session has not subscribed",
    ))
}

/// The session's subscriber, which is made if there is none.
fn subscriber_or_new<'a>(
    this: &QueueService,
    caller: &'a Caller<'_>,
) -> Result<&'a Subscriber, Failure> {
    let account = account(this, caller)?;
    let new = |waker| Subscriber::new(this.queues.clone(), &account, waker);
    Ok(caller.attached.get_or(new)?)
}

fn subscribe(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let (pattern, rest) = word(command.body);
    let args = SubscribeArgs::parse(pattern, rest).map_err(expected)?;
    let queues = &this.queues;
    let subscriber = subscriber_or_new(this, caller)?;
    let channel = queues.channel_for(&args, caller.uid).map_err(explain)?;
    if let Err(e) = subscriber.add(channel.clone(), pattern, args.acked) {
        queues.leave(&channel);
        return Err(explain(e));
    }
    reply.bytes("subscribed", &channel.name)
}

fn unsubscribe(
    _this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let removed = subscriber(caller)?.remove(command.body);
    removed.map_err(|_| Failure::new(Errno::ENOENT, "not subscribed to this"))?;
    reply.text(b"OK")
}

fn ack(
    _this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let id = id(command.body)?;
    subscriber(caller)?.ack(id).map_err(explain)?;
    reply.text(b"OK")
}

fn nack(
    _this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let (number, delay) = word(command.body);
    let delay = match delay.trim_ascii() {
        b"" => 0,
        delay => parse_u64(delay)
            .and_then(|ms| u32::try_from(ms).ok())
            .ok_or(expected("expected a delay in milliseconds"))?,
    };
    let id = id(number)?;
    subscriber(caller)?.give_back(id, delay).map_err(explain)?;
    reply.text(b"OK")
}

fn request(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    out: &mut Reply<'_>,
) -> Reported {
    let (to, data) = word(command.body);
    let parts = parts(caller, name(to)?, data);
    let account = account(this, caller)?;
    let answer = this
        .request_on(0, (unlocked(caller), account), &parts, deadline(caller))
        .map_err(explain)?;
    out.text(&answer)
}

fn reply(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    out: &mut Reply<'_>,
) -> Reported {
    let (number, data) = word(command.body);
    let id = id(number)?;
    let to: ReplyTo = match subscriber(caller)?.answered(id) {
        Err(EINVAL) => return Err(expected("nobody waits for a reply to this message")),
        to => to.map_err(explain)?,
    };
    this.queues.pending.answer(to, data).map_err(explain)?;
    out.text(b"OK")
}

fn create(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let (new, options) = word(command.body);
    this.queues
        .create_for(caller.uid, name(new)?, options, deadline(caller))?;
    reply.text(b"OK")
}

fn delete(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    this.queues
        .delete_for(unlocked(caller), command.body, deadline(caller))?;
    reply.text(b"OK")
}

fn delete_fenced(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let [name, lock, token] = command
        .args()
        .ok_or(expected("expected delete_fenced(name,lock,token)"))?;
    let by = locked(caller, lock, token)?;
    this.queues.delete_for(by, name, deadline(caller))?;
    reply.text(b"OK")
}

fn purge(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let by = unlocked(caller);
    let purged = this.queues.purge_for(by, command.body, deadline(caller))?;
    reply.field("purged", purged)
}

fn purge_fenced(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let [name, lock, token] = command
        .args()
        .ok_or(expected("expected purge_fenced(name,lock,token)"))?;
    let by = locked(caller, lock, token)?;
    let purged = this.queues.purge_for(by, name, deadline(caller))?;
    reply.field("purged", purged)
}

fn replay(
    this: &QueueService,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let (queue, from) = word(command.body);
    let from = parse_u64(from).ok_or(expected("expected a name and a position"))?;
    let channel = this.queues.find(queue).map_err(explain)?;
    if channel.kind != ChannelKind::Queue {
        return Err(expected(
            "only queues are replayed; subscribe to a topic with from=",
        ));
    }
    channel.check(caller.uid, Right::Take).map_err(explain)?;
    reply.field("replayed", Channel::replay(&channel, from).into())
}

fn kind(channel: &Channel) -> &'static str {
    match channel.kind {
        ChannelKind::Queue => "queue",
        ChannelKind::Topic => "topic",
        ChannelKind::Subscription => "subscription",
    }
}

fn list(
    this: &QueueService,
    _caller: &Caller<'_>,
    _command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let mut list = KVVec::new();
    let mut result = Ok(());
    this.queues.for_each(|channel: &ChannelRef| {
        let ChannelStats {
            ready,
            delayed,
            leased,
            ..
        } = channel.stats();
        let put = |part: &[u8]| -> Result { Ok(list.extend_from_slice(part, GFP_KERNEL)?) };
        result = put_entry(channel, [ready, delayed, leased], put);
        result.is_ok() && list.len() < MAX_LIST
    });
    result?;
    reply.text(list.trim_ascii_end())
}

/// `NAME:KIND:READY:DELAYED:LEASED `
fn put_entry(channel: &Channel, counts: [u32; 3], mut put: impl FnMut(&[u8]) -> Result) -> Result {
    let [ready, delayed, leased] = counts;
    put(&channel.name)?;
    let rest =
        kernel::str::CString::try_from_fmt(fmt!(":{}:{ready}:{delayed}:{leased} ", kind(channel)))?;
    put(rest.to_bytes())
}

fn show_one(
    this: &QueueService,
    _caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let channel = this.queues.find(command.body).map_err(explain)?;
    let f = channel.stats();
    let token = channel.fence().seen().map(FenceClaim::to_wire);
    reply.bytes("kind", kind(&channel).as_bytes())?;
    reply.bytes("policy", f.limits.policy.name().as_bytes())?;
    let (owner, others) = channel.access.mode.digits();
    reply.field("owner", channel.access.owner.into())?;
    reply.bytes("mode", &[b'0' + owner, b'0' + others])?;
    for (name, value) in [
        ("ready", f.ready.into()),
        ("delayed", f.delayed.into()),
        ("leased", f.leased.into()),
        ("kept", f.kept.into()),
        ("dead_waiting", f.dead.into()),
        ("bytes", f.bytes),
        ("next", f.next),
        ("pushed", f.counts.pushed),
        ("delivered", f.counts.delivered),
        ("redelivered", f.counts.redelivered),
        ("acked", f.counts.acked),
        ("dropped", f.counts.dropped),
        ("refused", f.counts.refused),
        ("dead", f.counts.dead),
        ("max_messages", f.limits.messages.into()),
        ("max_bytes", f.limits.bytes),
        ("token", token.map_or(0, |fence| fence.token.get())),
    ] {
        reply.field(name, value)?;
    }
    Ok(())
}

/// What there is to say of the log of durable queues.
fn status(
    this: &QueueService,
    _caller: &Caller<'_>,
    _command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    log_status::reply(this.queues.log()?, reply)
}

/// A line that is no command is a request, as with the original.
pub(crate) fn bare(
    this: &QueueService,
    caller: &Caller<'_>,
    line: &[u8],
    reply: &mut Reply<'_>,
) -> Reported {
    let data = line.trim_ascii();
    if this.pushes_work {
        let request = QueueRequest {
            data,
            from: caller.from,
            uid: caller.uid,
            reply: None,
        };
        push_request(&request).map_err(explain)?;
    } else {
        // As a push, but those hear it, too, that are bound to the name.
        let account = account(this, caller)?;
        let parts = parts(caller, REQUESTS, data);
        let published = this.queues.publish(
            unlocked(caller),
            &account,
            &parts,
            PublishOptions::PLAIN,
            None,
        );
        published.map_err(explain)?;
    }
    reply.text(b"queued")
}
