// SPDX-License-Identifier: GPL-2.0

//! The processor pool's text commands.

use crate::{
    outcome::{
        state_name,
        Outcome, //
    },
    pool::Cpupool,
    request::{
        CallRequest,
        Placement, //
    }, //
};
use kernel::prelude::*;
use linux::deadline::Deadline;
use virgo_config::Config;
use virgo_proto::{
    balance::Policy,
    clone::{
        state,
        text_to_argv,
        MAX_ARGV, //
    },
    command::{
        parse_u64,
        CommandLine, //
    },
    config::MAX_DEADLINE_MS,
    errno::Errno,
    vuid::NodeId, //
};
use virgo_utils::{
    diversion,
    functions,
    Caller,
    Command,
    Failure,
    Reply,
    User, //
};

pub(crate) const COMMANDS: &[Command<Cpupool>] = &[
    Command {
        names: &["clone", "virgo_clone"],
        usage: " [on=NODE|least-used|random|two-choices] [timeout=MS] [async] TARGET [ARGUMENT...]",
        run: clone,
    },
    Command {
        names: &["wait"],
        usage: "(job)",
        run: wait,
    },
    Command {
        names: &["cancel"],
        usage: "(job)",
        run: cancel,
    },
    Command {
        names: &["jobs"],
        usage: "",
        run: jobs,
    },
    Command {
        names: &["functions"],
        usage: "",
        run: list_functions,
    },
];

type Reported = Result<(), Failure>;

/// How a call is to be made.
struct Options {
    place: Placement,
    timeout_ms: u32,
    asynchronous: bool,
}

impl Options {
    fn new(config: &Config) -> Self {
        Options {
            place: Placement::Policy(config.balance),
            timeout_ms: config.deadline_ms,
            asynchronous: false,
        }
    }

    /// Takes the options off `text`. Returns the rest.
    fn parse<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], Failure> {
        let mut rest = text.trim_ascii();
        loop {
            let end = rest.iter().position(u8::is_ascii_whitespace);
            let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
            if let Some(place) = word.strip_prefix(b"on=") {
                self.place = parse_place(place)?;
            } else if let Some(ms) = word.strip_prefix(b"timeout=") {
                self.timeout_ms = parse_u64(ms)
                    .and_then(|ms| u32::try_from(ms).ok())
                    .filter(|ms| (1..=MAX_DEADLINE_MS).contains(ms))
                    .ok_or(Failure::new(
                        Errno::EINVAL,
                        "timeout: expected 1 to 300000 milliseconds",
                    ))?;
            } else if word == b"async" {
                self.asynchronous = true;
            } else {
                return Ok(rest);
            }
            rest = behind.trim_ascii_start();
        }
    }
}

fn parse_place(text: &[u8]) -> Result<Placement, Failure> {
    if let Some(number) = parse_u64(text) {
        return match u8::try_from(number) {
            Ok(node @ 1..) => Ok(Placement::Node(node)),
            _ => Err(Errno::ENODEV.into()),
        };
    }
    core::str::from_utf8(text)
        .ok()
        .and_then(Policy::parse)
        .map(Placement::Policy)
        .ok_or(Failure::new(
            Errno::EINVAL,
            "on: expected a node's number, least-used, random or two-choices",
        ))
}

fn clone(
    this: &Cpupool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let mut options = Options::new(caller.config);
    let call = options.parse(command.body)?;
    make(this, caller, &options, call, reply)
}

/// A line that is no command calls what it names, as with the original.
pub(crate) fn bare(
    this: &Cpupool,
    caller: &Caller<'_>,
    line: &[u8],
    reply: &mut Reply<'_>,
) -> Reported {
    make(this, caller, &Options::new(caller.config), line, reply)
}

fn make(
    this: &Cpupool,
    caller: &Caller<'_>,
    options: &Options,
    line: &[u8],
    reply: &mut Reply<'_>,
) -> Reported {
    let user = User {
        deadline: Deadline::after_ms(options.timeout_ms),
        ..User::of_text(caller)
    };
    if caller.config.use_as_kingcobra_service {
        return diversion::divert(caller, line, reply);
    }
    let mut argv = KVVec::new();
    text_to_argv(line, |bytes| argv.extend_from_slice(bytes, GFP_KERNEL))?;
    if argv.len() > MAX_ARGV {
        return Err(Errno::E2BIG.into());
    }
    if argv.is_empty() {
        return Err(Failure::new(
            Errno::EINVAL,
            "say what to call; functions lists what there is",
        ));
    }
    let call = CallRequest {
        argv: &argv,
        place: options.place,
    };
    let mut started = this.start(&user, &[call])?;
    let job = started.jobs.first().cloned().ok_or(Errno::EIO)?;
    if options.asynchronous {
        started.keep();
        reply.field("job", job.id)?;
        return reply.field("node", job.node().into());
    }
    started.wait(user.deadline)?;
    let outcome = job.outcome().ok_or(Errno::EIO)?;
    show(job.node(), outcome, reply)
}

/// What came of a call. One that did not run is a failed command.
fn show(node: NodeId, outcome: &Outcome, reply: &mut Reply<'_>) -> Reported {
    let (out, err) = outcome.streams();
    if outcome.state == state::FAILED {
        let errno = Errno::from_wire(u32::try_from(outcome.value).unwrap_or(0));
        return Err(match node {
            0 => errno.into(),
            node => Failure::of_node(node, errno, err),
        });
    }
    reply.field("node", node.into())?;
    reply.signed(state_name(outcome.state), outcome.value)?;
    for (name, bytes) in [("out", out), ("err", err)] {
        if !bytes.is_empty() {
            reply.bytes(name, bytes)?;
        }
    }
    if outcome.truncated {
        reply.field("truncated", 1)?;
    }
    Ok(())
}

fn job_id(command: &CommandLine<'_>) -> Result<u64, Failure> {
    parse_u64(command.body).ok_or(Failure::new(
        Errno::EINVAL,
        "the job is the number that clone async has given",
    ))
}

fn wait(
    this: &Cpupool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let job = this.jobs.find(job_id(command)?, caller.uid)?;
    let deadline = Deadline::after_ms(caller.config.deadline_ms);
    let jobs = [Some(job.clone())];
    if !this.jobs.wait_any(&jobs, deadline)? {
        return Err(Failure::new(Errno::ETIMEDOUT, "it still runs"));
    }
    let outcome = job.outcome().ok_or(Errno::ESRCH)?;
    outcome.cause.waited_for();
    // Of several who wait one has it.
    if !this.jobs.remove(job.id) {
        return Err(Errno::ESRCH.into());
    }
    show(job.node(), outcome, reply)
}

fn cancel(
    this: &Cpupool,
    caller: &Caller<'_>,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let job = this.jobs.find(job_id(command)?, caller.uid)?;
    this.executor.give_up(&job, ECANCELED);
    reply.text(b"cancelled")
}

/// The calls of text sessions, as `JOB:NODE:STATE`.
fn jobs(
    this: &Cpupool,
    caller: &Caller<'_>,
    _command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let mut list = KVVec::new();
    let mut result = Ok(());
    this.jobs.for_each(|job| {
        if job.uid == caller.uid && result.is_ok() && list.len() < MAX_ARGV {
            let (id, node, state) = (job.id, job.node(), state_name(job.state()));
            result = kernel::str::CString::try_from_fmt(fmt!("{id}:{node}:{state} "))
                .and_then(|text| Ok(list.extend_from_slice(text.to_bytes(), GFP_KERNEL)?));
        }
    });
    result?;
    reply.text(list.trim_ascii_end())
}

fn list_functions(
    _this: &Cpupool,
    _caller: &Caller<'_>,
    _command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Reported {
    let mut list = KVVec::new();
    functions::try_for_each(|function| {
        let mut put = |text: &str| list.extend_from_slice(text.as_bytes(), GFP_KERNEL);
        put(function.name)?;
        for arg in function.args {
            put(" ")?;
            put(arg.name)?;
        }
        put(": ")?;
        put(function.about)?;
        put("; ")
    })?;
    reply.text(list.strip_suffix(b"; ").unwrap_or(&list))
}
