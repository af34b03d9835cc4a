// SPDX-License-Identifier: GPL-2.0

//! Text sessions: what people type into telnet.

use crate::{
    attached::Attached,
    eventnet::hooks,
    input::Input,
    params,
    reply::{
        from_wire,
        Failure,
        OutgoingBytes,
        Reply, //
    },
    server::{
        enrolled::Enrolled,
        next::Next,
        standing::{
            Ident,
            Standing, //
        }, //
    },
    service::{
        Caller,
        Service, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString,
    time::{
        Instant,
        Monotonic, //
    }, //
};
use linux::{
    trace::{
        self,
        TraceEvent, //
    },
    work::WorkHandle, //
};
use virgo_config::{
    Config,
    Identity,
    Party, //
};
use virgo_proto::{
    command::{
        parse_u64,
        CommandLine, //
    },
    errno::Errno,
    eventnet::event::EventKind,
    json::ByteSink as _,
    line::Splitter, //
};

/// Bytes asked for at a time.
const PIECE: usize = 2048;

/// The state of a text session.
pub(crate) struct Text {
    splitter: Splitter,
    /// The uid that it acts as, once it has been let in.
    uid: Option<u32>,
    json: bool,
    /// Throwing away the rest of a line that was too long.
    skipping: bool,
    attached: Attached,
}

/// What a line makes of the session.
enum After {
    Go,
    /// It is open from now on.
    Open,
    Quit,
}

impl Text {
    /// `session` runs the session's work.
    pub(crate) fn new(session: WorkHandle) -> Self {
        Text {
            splitter: Splitter::new(),
            uid: None,
            json: false,
            skipping: false,
            attached: Attached::new(session),
        }
    }

    /// Writes lines that nobody has asked for just now, if there are any.
    pub(crate) fn feed(&self, output: &mut KVVec<u8>) -> Result {
        let Some(attachment) = self.attached.any() else {
            return Ok(());
        };
        while output.len() < PIECE {
            let mut line = Reply::new(output, self.json);
            match attachment.next(&mut line) {
                Ok(false) => break,
                Ok(true) => line.end(Ok(()))?,
                Err(failure) => line.end(Err(failure))?,
            }
        }
        Ok(())
    }

    /// Makes true what the answers say that wait to be sent.
    pub(crate) fn settle(&self) -> Result {
        self.attached.any().map_or(Ok(()), |any| any.settle())
    }

    /// Carries out the lines at hand.
    pub(crate) fn work<S: Service>(
        &mut self,
        session: &Enrolled<S>,
        input: &mut Input,
        output: &mut KVVec<u8>,
    ) -> Result<Next> {
        let config = session.hub.node.config();
        if self.uid.is_none() {
            if !config.takes_text_from(session.from) {
                let refusal = Failure::new(
                    Errno::EACCES,
                    "text commands come from this machine only; remote_text = yes allows others",
                );
                Reply::new(output, false).end(Err(refusal))?;
                return Ok(Next::Finish);
            }
            if let Some(party) = config.party_without_key() {
                if let Err(failure) = self.open(session, party) {
                    Reply::new(output, false).end(Err(failure))?;
                    return Ok(Next::Finish);
                }
                input.is_public();
            }
        }
        // One piece of input at a time: a long one must not fill the output.
        while let Some(line) = self.splitter.next(input.bytes()) {
            if session.is_over() {
                return Err(ECANCELED);
            }
            let text = input.bytes().get(..line.text).unwrap_or_default();
            let after = if core::mem::take(&mut self.skipping) {
                After::Go
            } else {
                self.line(session, &config, text, output)?
            };
            input.consume(line.whole);
            match after {
                After::Go => (),
                After::Open => input.is_public(),
                After::Quit => return Ok(Next::Finish),
            }
            if output.len() >= PIECE && !input.bytes().is_empty() {
                return Ok(Next::Work);
            }
        }
        self.unfinished(input, output)
    }

    /// Judges the beginning of a line whose end has not arrived.
    fn unfinished(&mut self, input: &mut Input, output: &mut KVVec<u8>) -> Result<Next> {
        let len = input.bytes().len();
        if self.uid.is_none() {
            if len < params::UNAUTHENTICATED_INPUT {
                return Ok(Next::Receive(params::UNAUTHENTICATED_INPUT));
            }
            let long = Failure::new(Errno::EMSGSIZE, "line too long; begin with: auth KEY");
            Reply::new(output, self.json).end(Err(long))?;
            return Ok(Next::Finish);
        }
        if len >= params::max_line() || self.skipping {
            if !core::mem::replace(&mut self.skipping, true) {
                let long = Failure::new(
                    Errno::EMSGSIZE,
                    "line too long; the rest of it is passed over",
                );
                Reply::new(output, self.json).end(Err(long))?;
            }
            input.consume(len);
            self.splitter = Splitter::new();
            return Ok(Next::Receive(PIECE));
        }
        Ok(Next::Receive((len + PIECE).min(params::max_line())))
    }

    fn line<S: Service>(
        &mut self,
        session: &Enrolled<S>,
        config: &Config,
        line: &[u8],
        output: &mut KVVec<u8>,
    ) -> Result<After> {
        let command = CommandLine::parse(line);
        if command.name == b"quit" {
            return Ok(After::Quit);
        }
        if command.name.is_empty() && line.trim_ascii().is_empty() {
            return Ok(After::Go);
        }
        let Some(uid) = self.uid else {
            return self.authenticate(session, config, &command, output);
        };
        let caller = Caller {
            config,
            uid,
            from: session.from,
            attached: &self.attached,
        };
        let mut reply = Reply::new(output, self.json);
        let result = match command.name {
            b"auth" => reply.text(b"OK"),
            b"json" => self.switch_json(&command, &mut reply),
            b"help" => help::<S>(&mut reply),
            b"stats" => stats(session, &mut reply),
            b"sessions" => list(session, uid, &mut reply),
            b"end_session" => end(session, uid, &command, &mut reply),
            name => match S::COMMANDS.iter().enumerate().find(|(_, known)| {
                let mut names = known.names.iter();
                names.any(|known| known.as_bytes() == name)
            }) {
                None => session.hub.service.other(&caller, line, &mut reply),
                Some((index, known)) => {
                    let service = &*session.hub.service;
                    let label = known.names.first().copied().unwrap_or_default();
                    let called = hooks::call(EventKind::of_port(S::PORT), index, label);
                    let began = trace::serve_is_on().then(Instant::<Monotonic>::now);
                    let result = session.hub.stats.count(index, || {
                        (known.run)(service, &caller, &command, &mut reply)
                    });
                    trace::serve(|| {
                        let event = TraceEvent {
                            port: S::PORT.into(),
                            op: index as u32,
                            id: session.number,
                            size: line.len() as u64,
                            ..TraceEvent::default()
                        };
                        let errno = |failure: &Failure| from_wire(failure.errno.to_wire());
                        event.ended(&result.as_ref().map_err(errno), began)
                    });
                    if let Some(called) = called {
                        called.end(result.as_ref().map_or_else(|e| e.errno.to_wire(), |()| 0));
                    }
                    result
                }
            },
        };
        reply.end(result)?;
        Ok(After::Go)
    }

    fn authenticate<S: Service>(
        &mut self,
        session: &Enrolled<S>,
        config: &Config,
        command: &CommandLine<'_>,
        output: &mut KVVec<u8>,
    ) -> Result<After> {
        let mut reply = Reply::new(output, false);
        if command.name != b"auth" {
            reply.end(Err(Failure::new(Errno::EACCES, "begin with: auth KEY")))?;
            return Ok(After::Quit);
        }
        let Some(party) = config.text_party(session.from, command.body) else {
            if session.hub.log.pass() {
                pr_warn!("port {}: wrong key from {:?}\n", S::PORT, session.from);
            }
            reply.end(Err(Errno::EKEYREJECTED.into()))?;
            return Ok(After::Quit);
        };
        let opened = self.open(session, party);
        let after = match opened {
            Ok(()) => After::Open,
            Err(_) => After::Quit,
        };
        let result = opened.and_then(|()| reply.text(b"OK"));
        reply.end(result)?;
        Ok(after)
    }

    /// From now on the session is that of `party`.
    fn open<S: Service>(&mut self, session: &Enrolled<S>, party: Party) -> Result<(), Failure> {
        session.welcome(party)?;
        if let Identity::Text(uid) = party.identity {
            self.uid = Some(uid);
        }
        Ok(())
    }

    fn switch_json(
        &mut self,
        command: &CommandLine<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        self.json = match command.body {
            b"on" => true,
            b"off" => false,
            _ => return Err(Failure::new(Errno::EINVAL, "say 'json on' or 'json off'")),
        };
        reply.text(b"OK")
    }
}

fn help<S: Service>(reply: &mut Reply<'_>) -> Result<(), Failure> {
    let mut text = KVVec::new();
    let mut out = OutgoingBytes(&mut text);
    for command in S::COMMANDS {
        if let Some(name) = command.names.first() {
            out.put(name.as_bytes())?;
            out.put(command.usage.as_bytes())?;
            out.put(b"  ")?;
        }
    }
    out.put(b"stats  sessions  end_session(number)  help  json on|off  quit")?;
    reply.text(&text)
}

fn stats<S: Service>(session: &Enrolled<S>, reply: &mut Reply<'_>) -> Result<(), Failure> {
    let (calls, errors) = session.hub.stats.totals();
    reply.field("calls", calls)?;
    reply.field("errors", errors)?;
    session.hub.service.stats(reply)
}

/// Whether user `uid` may see and end a session: root all, others their own.
fn is_visible(uid: u32, session: &Standing) -> bool {
    uid == 0 || session.is(Identity::Text(uid))
}

fn list<S: Service>(session: &Enrolled<S>, uid: u32, reply: &mut Reply<'_>) -> Result<(), Failure> {
    let mut text = KVVec::new();
    let mut out = OutgoingBytes(&mut text);
    session.hub.roster.try_for_each(|other| {
        if !is_visible(uid, other) {
            return Ok(());
        }
        let Ident { kind, who } = Ident::of(other);
        let (number, from, port, age) = (other.number, other.from, other.port, other.age_s());
        let line = match who {
            Some(who) => CString::try_from_fmt(fmt!("{number}:{kind}:{from:?}:{port}:{who}:{age}")),
            None => CString::try_from_fmt(fmt!("{number}:{kind}:{from:?}:{port}:-:{age}")),
        }?;
        if !out.0.is_empty() {
            out.put(b" ")?;
        }
        Ok::<(), Failure>(out.put(line.to_bytes())?)
    })?;
    reply.text(&text)
}

fn end<S: Service>(
    session: &Enrolled<S>,
    uid: u32,
    command: &CommandLine<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let number = parse_u64(command.body).ok_or(Failure::new(
        Errno::EINVAL,
        "say end_session(NUMBER); sessions shows the numbers",
    ))?;
    let roster = &session.hub.roster;
    match roster.end(number, |other| is_visible(uid, other)) {
        true => reply.text(b"ended"),
        false => Err(Failure::new(Errno::ENOENT, "no such session of yours")),
    }
}
