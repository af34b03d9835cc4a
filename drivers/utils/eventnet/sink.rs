// SPDX-License-Identifier: GPL-2.0

//! Messages of the original's grammar that modules log: they belong into EventNet's files, which are
//! those of virgo_eventnet, if it is loaded.
//!
//! Any context.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::module::Pinned;
use virgo_proto::eventnet::GraphMessage;

/// What takes messages.
pub trait MessageSink: Send + Sync {
    /// Has a message be written, later. False if there is no room for it. Any context, so it must not be
    /// one whose reading takes long.
    fn log(&self, message: &GraphMessage<'_>) -> bool;
}

struct Offer {
    sink: Arc<dyn MessageSink>,
    module: &'static ThisModule,
}

/// Its fields are dropped in order: the module goes last.
struct Taken {
    sink: Arc<dyn MessageSink>,
    _pinned: Pinned,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, before any other module can use it: they load after this one.
    unsafe(uninit) static SINK: SpinLockIrq<Option<Offer>> = None;
}

/// Messages that were lost.
static LOST: Atomic<u64> = Atomic::new(0);

/// Makes this usable. Called once, in the module's initialisation.
pub(super) fn init() {
    // SAFETY: Called once in the life of the module.
    unsafe { SINK.init() };
}

/// Logs a message of a text of at most [`MAX_TEXT`](virgo_proto::eventnet::event::MAX_TEXT) bytes. If
/// there is no room, or virgo_eventnet is not loaded, it is counted as lost.
pub(super) fn log(message: &GraphMessage<'_>) {
    let offer = SINK.lock();
    let taken = offer.as_ref().and_then(|offer| {
        Some(Taken {
            sink: offer.sink.clone(),
            _pinned: Pinned::new(offer.module)?,
        })
    });
    drop(offer);
    if !taken.is_some_and(|taken| taken.sink.log(message)) {
        lose();
    }
}

/// Counts a message as lost.
pub(super) fn lose() {
    LOST.fetch_add(1, Relaxed);
}

/// Messages that modules have logged and that were lost.
pub fn lost_messages() -> u64 {
    LOST.load(Relaxed)
}

/// Keeps a sink in use; dropping it withdraws it.
pub struct SinkRegistration(());

impl SinkRegistration {
    /// From now on `sink` of `module`, which must hold this in its state, takes messages. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if there is one.
    pub fn new(module: &'static ThisModule, sink: Arc<dyn MessageSink>) -> Result<Self> {
        let mut offer = SINK.lock();
        if offer.is_some() {
            return Err(EBUSY);
        }
        *offer = Some(Offer { sink, module });
        Ok(SinkRegistration(()))
    }
}

impl Drop for SinkRegistration {
    fn drop(&mut self) {
        let old = SINK.lock().take();
        // Not under the lock: what it holds may be dropped in process context only.
        drop(old);
    }
}
