// SPDX-License-Identifier: GPL-2.0

//! What modules say by themselves. Neither blocks nor fails: what cannot be kept is counted.
//!
//! Any context but NMI.

use super::{
    recorder::{
        self,
        EventDraft, //
    },
    scope::{
        self,
        Current, //
    },
    sink,
    switch, //
};
use virgo_proto::eventnet::{
    event::{
        EventKind,
        Point,
        MAX_TEXT, //
    },
    GraphMessage, //
};

/// Logs `text`: as an edge or a vertex, if it is a message of the original's grammar, otherwise as an
/// event of kind `log`, while those are recorded. A message of more than [`MAX_TEXT`] bytes is lost:
/// reading it would take too long where interrupts may be off.
pub fn log(text: &[u8]) {
    if text.starts_with(b"eventnet_") {
        if text.len() > MAX_TEXT {
            sink::lose();
            return;
        }
        if let Ok(message) = GraphMessage::parse(text) {
            sink::log(&message);
            return;
        }
    }
    log_event(EventKind::Log, text);
}

/// Logs an event of this kind, while those are recorded. Its cause is what the current task has recorded
/// last. Of a longer text the first [`MAX_TEXT`] bytes are kept.
pub fn log_event(kind: EventKind, text: &[u8]) {
    if !switch::is_on(kind) {
        return;
    }
    let here = scope::here();
    let cause = match here.current() {
        Current::Event(event) => Some(event),
        Current::None | Current::Skipped => None,
    };
    let draft = EventDraft {
        cause,
        text,
        ..EventDraft::new(kind, Point::Local)
    };
    if let Some(id) = recorder::record(&draft, None) {
        here.happened(id);
    }
}

/// `virgo_eventnet_log()` of `include/linux/virgo_eventnet.h`, for modules in C.
///
/// # Safety
///
/// `text` points at `len` bytes that nobody changes meanwhile.
#[no_mangle]
unsafe extern "C" fn virgo_eventnet_log_bytes(text: *const u8, len: usize) {
    // SAFETY: By the caller's promise.
    log(unsafe { core::slice::from_raw_parts(text, len) });
}
