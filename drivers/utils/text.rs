// SPDX-License-Identifier: GPL-2.0

//! Text sessions: what people type into telnet.

use crate::{
    attached::Attached,
    input::Input,
    limits,
    reply::{
        Failure,
        Outgoing,
        Reply, //
    },
    service::{
        Caller,
        Service, //
    },
    session::{
        Next,
        Session, //
    }, //
};
use kernel::prelude::*;
use linux::{
    crypto,
    waker::Waker, //
};
use virgo_config::Config;
use virgo_proto::{
    command::Command,
    errno::Errno,
    json::Out as _,
    line::Splitter, //
};

/// Bytes asked for at a time.
const PIECE: usize = 2048;

/// The state of a text session.
pub(crate) struct Text {
    splitter: Splitter,
    authenticated: bool,
    json: bool,
    /// Throwing away the rest of a line that was too long.
    skipping: bool,
    attached: Attached,
}

/// What a line makes of the session.
enum After {
    Go,
    Quit,
}

impl Text {
    pub(crate) fn new(waker: Waker) -> Self {
        Text {
            splitter: Splitter::new(),
            authenticated: false,
            json: false,
            skipping: false,
            attached: Attached::new(waker),
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
        session: &Session<S>,
        input: &mut Input,
        output: &mut KVVec<u8>,
    ) -> Result<Next> {
        let config = session.hub.node.config();
        if !self.authenticated {
            if !config.remote_text && !session.from.is_loopback() {
                let refusal = Failure::new(
                    Errno::EACCES,
                    "text commands come from this machine only; remote_text = yes allows others",
                );
                Reply::new(output, false).end(Err(refusal))?;
                return Ok(Next::Finish);
            }
            if config.key.is_none() {
                self.authenticated = true;
                session.welcome();
            }
        }
        // One piece of input at a time: a long one must not fill the output.
        while let Some(line) = self.splitter.next(input.bytes()) {
            let text = input.bytes().get(..line.text).unwrap_or_default();
            let after = if core::mem::take(&mut self.skipping) {
                After::Go
            } else {
                self.line(session, &config, text, output)?
            };
            input.consume(line.whole);
            if let After::Quit = after {
                return Ok(Next::Finish);
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
        if !self.authenticated {
            if len < limits::STRANGER_INPUT {
                return Ok(Next::Receive(limits::STRANGER_INPUT));
            }
            let long = Failure::new(Errno::EMSGSIZE, "line too long; begin with: auth KEY");
            Reply::new(output, self.json).end(Err(long))?;
            return Ok(Next::Finish);
        }
        if len >= limits::max_line() || self.skipping {
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
        Ok(Next::Receive((len + PIECE).min(limits::max_line())))
    }

    fn line<S: Service>(
        &mut self,
        session: &Session<S>,
        config: &Config,
        line: &[u8],
        output: &mut KVVec<u8>,
    ) -> Result<After> {
        let command = Command::parse(line);
        if command.name == b"quit" {
            return Ok(After::Quit);
        }
        if command.name.is_empty() && line.trim_ascii().is_empty() {
            return Ok(After::Go);
        }
        if !self.authenticated {
            return self.authenticate(session, config, &command, output);
        }
        let caller = Caller {
            config,
            uid: config.text_uid,
            from: session.from,
            attached: &self.attached,
        };
        let mut reply = Reply::new(output, self.json);
        let result = match command.name {
            b"auth" => reply.text(b"OK"),
            b"json" => self.switch_json(&command, &mut reply),
            b"help" => help::<S>(&mut reply),
            b"stats" => stats(session, &mut reply),
            name => match S::COMMANDS.iter().enumerate().find(|(_, known)| {
                let mut names = known.names.iter();
                names.any(|known| known.as_bytes() == name)
            }) {
                None => session.hub.service.other(&caller, line, &mut reply),
                Some((index, known)) => {
                    let service = &*session.hub.service;
                    session.hub.stats.count(index, || {
                        (known.run)(service, &caller, &command, &mut reply)
                    })
                }
            },
        };
        reply.end(result)?;
        Ok(After::Go)
    }

    fn authenticate<S: Service>(
        &mut self,
        session: &Session<S>,
        config: &Config,
        command: &Command<'_>,
        output: &mut KVVec<u8>,
    ) -> Result<After> {
        let mut reply = Reply::new(output, false);
        if command.name != b"auth" {
            reply.end(Err(Failure::new(Errno::EACCES, "begin with: auth KEY")))?;
            return Ok(After::Go);
        }
        let key = config.key.as_deref().unwrap_or_default();
        if !crypto::equal(command.body, key) {
            if session.hub.log.pass() {
                pr_warn!("port {}: wrong key from {:?}\n", S::PORT, session.from);
            }
            reply.end(Err(Errno::EKEYREJECTED.into()))?;
            return Ok(After::Quit);
        }
        self.authenticated = true;
        session.welcome();
        let result = reply.text(b"OK");
        reply.end(result)?;
        Ok(After::Go)
    }

    fn switch_json(&mut self, command: &Command<'_>, reply: &mut Reply<'_>) -> Result<(), Failure> {
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
    let mut out = Outgoing(&mut text);
    for command in S::COMMANDS {
        if let Some(name) = command.names.first() {
            out.put(name.as_bytes())?;
            out.put(command.usage.as_bytes())?;
            out.put(b"  ")?;
        }
    }
    out.put(b"stats  help  json on|off  quit")?;
    reply.text(&text)
}

fn stats<S: Service>(session: &Session<S>, reply: &mut Reply<'_>) -> Result<(), Failure> {
    let (calls, errors) = session.hub.stats.totals();
    reply.field("calls", calls)?;
    reply.field("errors", errors)?;
    session.hub.service.stats(reply)
}
