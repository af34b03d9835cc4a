// SPDX-License-Identifier: GPL-2.0

//! A request, from when it was taken to its reply.

use crate::{
    log,
    service::KingcobraService, //
};
use core::net::Ipv4Addr;
use kernel::{
    prelude::*,
    str::CString,
    sync::atomic::Relaxed, //
};
use linux::{
    bytes::copy,
    deadline::{
        wall,
        Deadline, //
    }, //
};
use virgo_proto::{
    kingcobra::{
        kind,
        RequestRecord,
        RequestRecordKind,
        Type,
        MAX_HEAD, //
    },
    queue::MAX_MESSAGE, //
};
use virgo_utils::{
    budget::Charge,
    functions::{
        self,
        Call,
        Output, //
    },
    requests::{
        self,
        QueueRequest,
        ReplyTo, //
    }, //
};

/// Most bytes that a function may print as its reply.
const MAX_REPLY: usize = 32 * 1024;

/// What a request is answered that nobody is there for.
const NOBODY: &[u8] = b"received, and on record; no service is registered for such requests";

/// A request being done.
pub(crate) struct RequestJob {
    data: KVec<u8>,
    from: Ipv4Addr,
    uid: u32,
    reply: Option<ReplyTo>,
    _charges: (Charge, Charge),
    /// When it came: seconds and nanoseconds.
    time: (u64, u32),
}

impl RequestJob {
    /// A copy of a request, for which its user was charged.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(request: &QueueRequest<'_>, charges: (Charge, Charge)) -> Result<KBox<Self>> {
        let job = RequestJob {
            data: copy(request.data, GFP_KERNEL)?,
            from: request.from,
            uid: request.uid,
            reply: request.reply,
            _charges: charges,
            time: wall(),
        };
        Ok(KBox::new(job, GFP_KERNEL)?)
    }

    /// Who has asked.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    fn record<'a>(&self, kind: RequestRecordKind, payload: &'a [u8]) -> RequestRecord<'a> {
        RequestRecord {
            kind,
            address: self.from.to_bits(),
            seconds: self.time.0,
            nanos: self.time.1,
            payload,
        }
    }

    fn deadline(&self) -> Deadline {
        let config = virgo_config::node().map(|node| node.config());
        Deadline::after_ms(config.map_or(5000, |config| config.deadline_ms))
    }

    /// As it came.
    fn request<'a>(&'a self, data: &'a [u8], reply: Option<ReplyTo>) -> QueueRequest<'a> {
        QueueRequest {
            data,
            from: self.from,
            uid: self.uid,
            reply,
        }
    }

    /// Puts it back into the queue, for the next who does requests.
    fn give_back(&self) {
        if let Err(e) = requests::push_request(&self.request(&self.data, self.reply)) {
            self.give(&error_text(e));
        }
    }

    /// Does it, whatever it is. May sleep.
    pub(crate) fn run(&self, service: &KingcobraService) {
        if service.stopped.load(Relaxed) {
            return self.give_back();
        }
        match kind(&self.data) {
            // What was replied is for who has asked, and is never answered.
            Some(RequestRecordKind::Reply) => match RequestRecord::parse(&self.data) {
                Some(reply) => {
                    let written = service.write(&reply, false);
                    self.publish(&reply, written);
                }
                None => self.malformed(),
            },
            // The header is ours to write, with the address that it really comes from.
            Some(RequestRecordKind::Request) => match RequestRecord::parse(&self.data) {
                Some(request) => self.answer(service, request.payload),
                None => self.malformed(),
            },
            None => self.answer(service, &self.data),
        }
    }

    fn malformed(&self) {
        let text = b"not a record: expected REQUEST#address#seconds:nanoseconds#payload";
        self.give(text);
    }

    /// Tells who waits, if anybody does: he may have gone. Of a reply that is too long he is told that.
    fn give(&self, reply: &[u8]) {
        if let Some(to) = self.reply {
            let _ = match reply.len() {
                0..=MAX_MESSAGE => requests::answer(to, reply),
                _ => requests::answer(to, &error_text(EMSGSIZE)),
            };
        }
    }

    fn answer(&self, service: &KingcobraService, payload: &[u8]) {
        let written = service.write(&self.record(RequestRecordKind::Request, payload), false);
        let reply = match written {
            Ok(()) => self.ask(service, payload),
            Err(e) => Err(e),
        };
        // With the head of its record it has to fit a message.
        let reply = reply.and_then(|reply| match reply.len() + MAX_HEAD <= MAX_MESSAGE {
            true => Ok(reply),
            false => Err(EMSGSIZE),
        });
        let text;
        let bytes = match &reply {
            Ok(reply) => reply.as_slice(),
            Err(e) => {
                text = error_text(*e);
                &text
            }
        };
        let record = self.record(RequestRecordKind::Reply, bytes);
        // On disk, and with it the request, before anybody is told.
        let written = service.write(&record, true);
        if let Err(e) = &written {
            let name = virgo_utils::to_wire(*e).name();
            kernel::pr_warn_once!("no record of a reply: {name}; others may follow\n");
        }
        self.publish(&record, written);
    }

    /// What comes of a request: what the function says that is registered for its type, or else a
    /// program that serves the queue.
    fn ask(&self, service: &KingcobraService, payload: &[u8]) -> Result<KVec<u8>> {
        let (kind, about) = Type::of(payload);
        if let Some(function) = functions::find(kind.function().as_bytes()) {
            let config = virgo_config::node()?.config();
            if !config.may_call(kind.function(), self.uid) {
                return Err(EACCES);
            }
            let mut output = Output::new(MAX_REPLY);
            if function.check(&[about]).is_err() {
                return Err(EINVAL);
            }
            function.run(&mut Call {
                state: None,
                uid: self.uid,
                deadline: self.deadline(),
                cancelled: &service.stopped,
                args: &[about],
                output: &mut output,
            })?;
            return match output.truncated {
                true => Err(EMSGSIZE),
                false => Ok(copy(&output.bytes, GFP_KERNEL)?),
            };
        }
        let request = self.request(about, None);
        match requests::ask(kind.queue().as_bytes(), &request, self.deadline()) {
            Err(ENOENT) => Ok(copy(NOBODY, GFP_KERNEL)?),
            reply => reply,
        }
    }

    /// Brings a reply to who has asked: who waits for it, and who has subscribed to
    /// `kingcobra.replies.ADDRESS`, here and on the node with that address.
    fn publish(&self, reply: &RequestRecord<'_>, written: Result) {
        if let Err(e) = written {
            let name = virgo_utils::to_wire(e).name();
            let text = CString::try_from_fmt(fmt!("ERR {name} it is not on record"));
            return self.give(text.as_ref().map_or(b"", |text| text.to_bytes()));
        }
        let text = || -> Result<KVVec<u8>> {
            let head = log::head(reply)?;
            let mut text = KVVec::new();
            text.reserve(head.to_bytes().len() + reply.payload.len(), GFP_KERNEL)?;
            text.extend_from_slice(head.to_bytes(), GFP_KERNEL)?;
            text.extend_from_slice(reply.payload, GFP_KERNEL)?;
            Ok(text)
        };
        let (Ok(text), Ok(subject)) = (
            text(),
            CString::try_from_fmt(fmt!("kingcobra.replies.{:x}", reply.address)),
        ) else {
            return self.give(&error_text(ENOMEM));
        };
        self.give(&text);
        let request = self.request(&text, None);
        // That nobody wants it is no error.
        let subject = subject.to_bytes();
        let _ = requests::publish(0, subject, &request, self.deadline());
        let Ok(node) = virgo_config::node() else {
            return;
        };
        let config = node.config();
        let theirs = Ipv4Addr::from_bits(reply.address);
        let mut numbers = 1..=virgo_proto::config::MAX_NODES as u8;
        let at = numbers.find(|&number| config.nodes.address(number) == Some(theirs));
        if let Some(number) = at.filter(|&number| number != config.me) {
            let _ = requests::publish(number, subject, &request, self.deadline());
        }
    }
}

/// `ERR NAME what it means`; nothing without memory.
fn error_text(e: Error) -> KVec<u8> {
    let errno = virgo_utils::to_wire(e);
    let mut text = KVec::new();
    if let Ok(said) = CString::try_from_fmt(fmt!("ERR {} {}", errno.name(), errno.text())) {
        let _ = text.extend_from_slice(said.to_bytes(), GFP_KERNEL);
    }
    text
}
