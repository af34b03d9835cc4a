// SPDX-License-Identifier: GPL-2.0

//! What a task does because of another one: it takes a message, does a piece of work that was queued, or
//! has waited for a result. The event that led to it goes along with the message, the work or the
//! result as its [`Origin`].

use super::{
    hooks::status,
    recorder::{
        self,
        EventDraft, //
    },
    scope::{
        self,
        Current,
        Here,
        Scope, //
    },
    switch, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use virgo_proto::eventnet::event::{
    EventId,
    EventKind,
    Point, //
};

/// An event of this node, or that there is none that is known: its node in the upper 8 bits, its
/// number below. Numbers begin at the time in units of 2⁻²⁰ s and so stay below 2⁵⁶.
#[derive(Clone, Copy, Default)]
pub struct Origin(u64);

const NODE_SHIFT: u32 = 56;

impl Origin {
    /// Nothing is known.
    pub const NONE: Origin = Origin(0);

    /// What the current task has recorded last. Any context.
    #[inline]
    pub fn here() -> Self {
        match switch::is_any_on() {
            true => Self::last(scope::here()),
            false => Self::NONE,
        }
    }

    fn last(here: Here) -> Self {
        match here.current() {
            Current::Event(event) => Self::of(event),
            Current::None | Current::Skipped => Self::NONE,
        }
    }

    fn of(event: EventId) -> Self {
        let number = event.seq & ((1 << NODE_SHIFT) - 1);
        Origin(u64::from(event.node) << NODE_SHIFT | number)
    }

    fn event(self) -> Option<EventId> {
        (self.0 != 0).then_some(EventId {
            node: (self.0 >> NODE_SHIFT) as u8,
            seq: self.0 & ((1 << NODE_SHIFT) - 1),
        })
    }

    /// The later of two events of this node.
    pub fn later(self, other: Origin) -> Origin {
        Origin(self.0.max(other.0))
    }

    /// The current task has got a message that comes from this: an event, whose cause this is, or what
    /// the task has recorded last if that was later: then it has not waited for the message. Returns the
    /// event. Any context.
    #[inline]
    pub fn arrived(self, kind: EventKind, about: u64, text: &[u8]) -> Origin {
        match self.is_recorded(kind) {
            true => self.then(kind, about, text, |last| self.later(last)),
            false => Self::NONE,
        }
    }

    /// The current task has done what this has led to: an event, whose cause this is. Returns the event.
    /// Any context.
    #[inline]
    pub fn answered(self, kind: EventKind, about: u64, text: &[u8]) -> Origin {
        match self.is_recorded(kind) {
            true => self.then(kind, about, text, |_| self),
            false => Self::NONE,
        }
    }

    #[inline]
    fn is_recorded(self, kind: EventKind) -> bool {
        self.0 != 0 && switch::is_on(kind)
    }

    #[cold]
    fn then(
        self,
        kind: EventKind,
        about: u64,
        text: &[u8],
        cause: impl FnOnce(Origin) -> Origin,
    ) -> Origin {
        let here = scope::here();
        let draft = EventDraft {
            about,
            text,
            cause: cause(Self::last(here)).event(),
            ..EventDraft::new(kind, Point::Local)
        };
        let Some(event) = recorder::record(&draft, None) else {
            return Self::NONE;
        };
        // What a task does that is not recorded stays so.
        if let Current::Event(_) = here.current() {
            here.happened(event);
        }
        Self::of(event)
    }

    /// The current task has waited for this: it leads to what the task does next, if it came after what
    /// the task has recorded last. Any context.
    #[inline]
    pub fn waited_for(self) {
        if let Some(event) = self.event() {
            let here = scope::here();
            if matches!(here.current(), Current::Event(last) if last.seq < event.seq) {
                here.happened(event);
            }
        }
    }

    /// While the result exists, what the current task does is caused by this. Task context.
    #[inline]
    pub fn enter(self) -> Option<Entered> {
        let event = self.event()?;
        Some(Entered(Scope::enter(Some(event))))
    }

    /// Begins a piece of work that was queued because of this: an event, whose end
    /// [`Work::has_ended`] is. Task context.
    #[inline]
    pub fn work(self, kind: EventKind, about: u64, text: &[u8]) -> Option<Work> {
        match self.is_recorded(kind) {
            true => self.begin_work(kind, about, text),
            false => None,
        }
    }

    #[cold]
    fn begin_work(self, kind: EventKind, about: u64, text: &[u8]) -> Option<Work> {
        let draft = EventDraft {
            about,
            text,
            cause: self.event(),
            ..EventDraft::new(kind, Point::Local)
        };
        let begin = recorder::record(&draft, None)?;
        Some(Work {
            begin,
            kind,
            about,
            _scope: Scope::enter(Some(begin)),
        })
    }
}

/// See [`Origin::enter`].
#[expect(dead_code, reason = "exists to be dropped")]
pub struct Entered(Option<Scope>);

/// A piece of work; while it exists, what the current task does belongs to it.
pub struct Work {
    begin: EventId,
    kind: EventKind,
    about: u64,
    _scope: Option<Scope>,
}

impl Work {
    /// It has ended like this: an event, which leads to what the task does with the result.
    pub fn has_ended(&self, result: &Result) {
        let here = scope::here();
        let last = Origin::last(here).event();
        let draft = EventDraft {
            about: self.about,
            status: status(result),
            begin: self.begin.seq,
            cause: last.or(Some(self.begin)),
            ..EventDraft::new(self.kind, Point::Local)
        };
        if let Some(end) = recorder::record(&draft, None) {
            here.happened(end);
        }
    }
}

/// An [`Origin`] that can be changed where it lies. Any context.
pub struct OriginCell(Atomic<u64>);

impl OriginCell {
    /// With [`Origin::NONE`].
    pub const fn new() -> Self {
        OriginCell(Atomic::new(0))
    }

    /// From now on it has this.
    pub fn set(&self, origin: Origin) {
        self.0.store(origin.0, Relaxed);
    }

    /// What it has.
    pub fn get(&self) -> Origin {
        Origin(self.0.load(Relaxed))
    }
}

impl Default for OriginCell {
    fn default() -> Self {
        Self::new()
    }
}
