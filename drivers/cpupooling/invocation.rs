// SPDX-License-Identifier: GPL-2.0

//! A call that runs on this node, or waits to.

use crate::{
    budgets::{
        refusal,
        RunAccounts,
        OVERHEAD,
        RESULT, //
    },
    target::CallTarget, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    }, //
};
use linux::{
    bytes::memory_of,
    deadline::Deadline,
    program::Program,
    trace::TraceEvent, //
};
use virgo_proto::{
    clone::PORT,
    vuid::NodeId, //
};
use virgo_utils::{
    budget::Charge,
    eventnet::Origin as EventOrigin,
    Peer, //
};

/// Where a call waits: its user, and its number among all calls.
pub(crate) type QueuePosition = (u32, u64);

/// The node that made a call, 0 for this one, and its name for it.
pub(crate) type InvocationKey = (NodeId, u64);

/// Who waits for the result of a call.
#[derive(Clone, Copy)]
pub(crate) enum CallOrigin {
    /// A program of this node.
    Here,
    /// Another node.
    Peer(Peer),
}

impl CallOrigin {
    /// How the executor calls the caller's call `key`. A peer's calls are its own, whatever
    /// connection or incarnation of it speaks.
    pub(crate) fn key(self, key: u64) -> InvocationKey {
        match self {
            CallOrigin::Here => (0, key),
            CallOrigin::Peer(peer) => (peer.node, key),
        }
    }
}

/// A call that runs or waits to run.
#[pin_data]
pub(crate) struct Invocation {
    pub(crate) origin: CallOrigin,
    /// The caller's name for it.
    pub(crate) name: u64,
    pub(crate) uid: u32,
    pub(crate) deadline: Deadline,
    pub(crate) target: CallTarget,
    pub(crate) cancelled: Atomic<bool>,
    pub(crate) accounts: RunAccounts,
    /// What led to it, for EventNet.
    pub(crate) cause: EventOrigin,
    /// Number among all calls.
    number: u64,
    _charges: (Charge, Charge),
    #[pin]
    progress: SpinLock<Progress>,
}

struct Progress {
    /// The program, while it runs.
    program: Option<Arc<Program>>,
    /// For the result, until that is kept elsewhere.
    result_charge: Option<Charge>,
}

/// What an [`Invocation`] is made of.
pub(crate) struct NewInvocation {
    pub(crate) origin: CallOrigin,
    pub(crate) name: u64,
    pub(crate) uid: u32,
    pub(crate) deadline: Deadline,
    pub(crate) target: CallTarget,
}

impl Invocation {
    /// What tracepoints say of it at this point of its life.
    pub(crate) fn event(&self, op: u32) -> TraceEvent {
        let node = match self.origin {
            CallOrigin::Here => 0,
            CallOrigin::Peer(peer) => peer.node.into(),
        };
        TraceEvent {
            node,
            port: PORT.into(),
            op,
            id: self.name,
            ..TraceEvent::default()
        }
    }

    /// Charges it to `accounts`, its user's. May sleep.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if the user has too many calls here, [`EAGAIN`] if all together have; [`ENOMEM`].
    pub(crate) fn new(new: NewInvocation, accounts: RunAccounts, number: u64) -> Result<Arc<Self>> {
        let bytes = (OVERHEAD + memory_of(new.target.size())) as u64;
        let result_charge = match new.origin {
            CallOrigin::Here => None,
            CallOrigin::Peer(_) => Some(accounts.bytes.charge(RESULT as u64).map_err(refusal)?),
        };
        let charges = (
            accounts.calls.charge(1).map_err(refusal)?,
            accounts.bytes.charge(bytes).map_err(refusal)?,
        );
        let progress = Progress {
            program: None,
            result_charge,
        };
        Arc::pin_init(
            pin_init!(Self {
                origin: new.origin,
                name: new.name,
                uid: new.uid,
                deadline: new.deadline,
                target: new.target,
                cancelled: Atomic::new(false),
                accounts,
                cause: EventOrigin::here(),
                number,
                _charges: charges,
                progress <- kernel::new_spinlock!(progress, "virgo_run"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    pub(crate) fn key(&self) -> InvocationKey {
        self.origin.key(self.name)
    }

    pub(crate) fn turn(&self) -> QueuePosition {
        (self.uid, self.number)
    }

    /// What pays for its result, as far as that is short: once.
    pub(crate) fn take_result_charge(&self) -> Option<Charge> {
        self.progress.lock().result_charge.take()
    }

    /// A program was started for it, or has ended.
    pub(crate) fn set_program(&self, program: Option<Arc<Program>>) {
        let old = core::mem::replace(&mut self.progress.lock().program, program);
        drop(old);
        if self.cancelled.load(Relaxed) {
            self.cancel();
        }
    }

    /// Makes it end soon.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        let program = self.progress.lock().program.clone();
        if let Some(program) = program {
            program.end();
        }
    }
}
