// SPDX-License-Identifier: GPL-2.0

//! Who waits for a device or a capture: woken in any context, however many they are.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    new_task,
    new_wait_queue,
    wait::WaitQueue,
    work::{
        Run,
        Task,
        WorkQueue, //
    }, //
};

/// So many are woken where something happens, with interrupts off; if there are more a work does it.
const WAITERS_AT_ONCE: u16 = 64;

/// A wait queue, and the work that wakes those in it if they are many.
///
/// Dropping it waits for the work, so it may sleep.
pub(crate) struct WaitingPrograms(Pin<KBox<Task<ManyWaiters>>>);

/// What the work needs.
#[pin_data]
struct ManyWaiters {
    #[pin]
    programs: WaitQueue,
}

impl WaitingPrograms {
    /// Nobody waits. The work is done by `work`. May sleep.
    pub(crate) fn new(work: &Arc<WorkQueue>) -> Result<Self> {
        let many = pin_init!(ManyWaiters { programs <- new_wait_queue!("umb_waiting") });
        let task = new_task!(work.clone(), many, "umb_waking");
        Ok(WaitingPrograms(KBox::pin_init(task, GFP_KERNEL_ACCOUNT)?))
    }

    /// Lets all look at their condition again, soon if they are many. Any context.
    pub(crate) fn wake(&self) {
        if !self.queue().wake_few(WAITERS_AT_ONCE) {
            self.0.schedule();
        }
    }

    /// What they wait in.
    pub(crate) fn queue(&self) -> &WaitQueue {
        &self.0.programs
    }
}

impl Run for ManyWaiters {
    fn run(task: &Task<Self>) {
        task.programs.wake_in_steps();
    }
}
