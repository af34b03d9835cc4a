// SPDX-License-Identifier: GPL-2.0

//! An interface that is bound.
//!
//! # Locking
//!
//! `reading` and `writing` are held by tasks that read and write, while they wait for the device and for
//! their programs; others wait for them interruptibly, and what the USB core calls never takes them.
//! `control` is held during control transfers, for as long as a device may take, not longer; who suspends,
//! resets or unbinds the device waits for that.

use crate::{
    settings::UmbSettings,
    transfers::{
        Transfers,
        INPUTS,
        OUTPUTS, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use linux::deadline::Deadline;
use linux_usb::{
    device::{
        BufferStage,
        Endpoint,
        Interface,
        UsbDevice, //
    },
    mutex::InterruptibleMutex,
    new_interruptible_mutex,
    urb::{
        Urb,
        UrbCanceller, //
    }, //
};
use virgo_utils::budget::Charge;

/// Bytes of the buffer of an URB for output, if the endpoint's packets allow that.
const BUFFER: usize = 16 << 10;

/// What an interface is charged at least: there are 256 device files for USB, and all of them are not to go to
/// devices that want little.
const LEAST_CHARGE: u64 = 128 << 10;

/// How long output may take that is under way when the device is suspended or reset.
const DRAIN_MS: u32 = 1000;

/// An interface that is bound.
#[pin_data]
pub(crate) struct Device {
    pub(crate) usb: UsbDevice,
    /// The interface's number.
    pub(crate) number: u8,
    /// N of `/dev/umbN`.
    pub(crate) minor: Atomic<u32>,
    pub(crate) input: Option<Endpoint>,
    pub(crate) output: Option<Endpoint>,
    pub(crate) transfers: Arc<Transfers>,
    /// Of all URBs, those for input first.
    cancellers: KVec<UrbCanceller<Transfers>>,
    #[pin]
    pub(crate) reading: InterruptibleMutex<Reading>,
    #[pin]
    pub(crate) writing: InterruptibleMutex<Writing>,
    /// Whether control transfers may be made: not while it is suspended or reset, nor once it is gone.
    #[pin]
    control: Mutex<bool>,
    pub(crate) bytes_read: Atomic<u64>,
    pub(crate) bytes_written: Atomic<u64>,
    pub(crate) settings: Arc<UmbSettings>,
    _charge: Charge,
}

/// What a reader needs.
pub(crate) struct Reading {
    pub(crate) urbs: KVec<Urb<Transfers>>,
    /// Bytes of the first filled URB that were read.
    pub(crate) offset: usize,
}

/// What a writer needs.
pub(crate) struct Writing {
    pub(crate) urbs: KVec<Urb<Transfers>>,
}

/// Number and size of the buffers for an endpoint. That of input is what the endpoint transfers at once,
/// no less, since a device must not send more than there is room for.
fn buffers(endpoint: &Endpoint) -> (usize, usize) {
    let packet = endpoint.max_packet();
    match endpoint.is_input() {
        true => (INPUTS, packet),
        false => (OUTPUTS, (BUFFER / packet).max(1) * packet),
    }
}

impl Device {
    pub(crate) fn new(settings: &Arc<UmbSettings>, interface: &Interface<'_>) -> Result<Arc<Self>> {
        let (input, output) = (interface.input(), interface.output());
        if input.is_none() && output.is_none() {
            return Err(ENODEV);
        }
        let usb = interface.device()?;
        let transfers = Transfers::new(&settings.work)?;
        let memory = |endpoint: &Option<Endpoint>| {
            let size = endpoint.as_ref().map_or((0, 0), buffers);
            (size.0 * size.1) as u64
        };
        let charge = (memory(&input) + memory(&output)).max(LEAST_CHARGE);
        let charge = settings.budget.charge(0, charge)?;
        let mut cancellers = KVec::with_capacity(INPUTS + OUTPUTS, GFP_KERNEL)?;
        let mut urbs = |endpoint: &Option<Endpoint>, first: usize| -> Result<_> {
            let mut urbs = KVec::new();
            if let Some(endpoint) = endpoint {
                let (count, size) = buffers(endpoint);
                for token in first..first + count {
                    let urb = Urb::new(&usb, endpoint, size, transfers.clone(), token)?;
                    cancellers.push(urb.canceller(), GFP_KERNEL)?;
                    urbs.push(urb, GFP_KERNEL)?;
                }
                usb.trace(BufferStage::Probe, endpoint, &[], None);
            }
            Ok(urbs)
        };
        let reading = Reading {
            urbs: urbs(&input, 0)?,
            offset: 0,
        };
        let writing = Writing {
            urbs: urbs(&output, INPUTS)?,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                number: interface.number(),
                minor: Atomic::new(0),
                input,
                output,
                transfers,
                cancellers,
                reading <- new_interruptible_mutex!(reading, "umb_reading"),
                writing <- new_interruptible_mutex!(writing, "umb_writing"),
                control <- linux::new_mutex!(true, "umb_control"),
                bytes_read: Atomic::new(0),
                bytes_written: Atomic::new(0),
                settings: settings.clone(),
                usb,
                _charge: charge,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Ends the stall of an endpoint, whose URBs nobody else submits meanwhile: those that are queued behind the
    /// one that has stalled are cancelled, which the core wants. False while the device is suspended: then it is
    /// not asked. May sleep, for as long as a control transfer takes.
    pub(crate) fn clear_halt(&self, endpoint: &Endpoint) -> Result<bool> {
        for urb in self.cancellers_of(endpoint.is_input()) {
            urb.cancel();
        }
        let allowed = self.control.lock();
        match *allowed {
            true => self.usb.clear_halt(endpoint).map(|()| true),
            false if self.transfers.is_gone() => Err(ENODEV),
            false => Ok(false),
        }
    }

    fn cancellers_of(&self, input: bool) -> &[UrbCanceller<Transfers>] {
        let inputs = if self.input.is_some() { INPUTS } else { 0 };
        let (inputs, outputs) = self.cancellers.split_at_checked(inputs).unwrap_or_default();
        match input {
            true => inputs,
            false => outputs,
        }
    }

    /// Stops input and drops what nobody has read, unless somebody has the device open.
    pub(crate) fn stop_input(&self) {
        if self.input.is_none() {
            return;
        }
        loop {
            // Who holds it has opened the device meanwhile, and comes here, too, or is here.
            let Some(mut reading) = self.reading.try_lock() else {
                return;
            };
            // Who opens it from here on waits for `reading` before it has the device asked for data.
            let is_last = self.transfers.openers() == 0;
            if is_last {
                for urb in self.cancellers_of(true) {
                    urb.cancel();
                }
                reading.offset = 0;
                self.transfers.drop_input();
            }
            drop(reading);
            if is_last {
                // A poll does not wait for `reading`, so it has not started input and has to look again.
                return self.transfers.waiters.wake();
            }
            // Who has been the last to close it since then may have found `reading` held, and left it to this
            // task. Either that task sees it free, or this one sees that nobody has the device open: the lock
            // under which openers are counted is taken after this one was released.
            if self.transfers.openers() != 0 {
                return;
            }
        }
    }

    /// It has the device `/dev/umb<minor>`.
    pub(crate) fn named(&self, minor: u8) {
        self.minor.store(minor.into(), Relaxed);
        let (bus, number) = self.usb.numbers();
        pr_info!(
            "umb{minor}: interface {} of device {number} on bus {bus}\n",
            self.number
        );
    }

    /// The interface is gone: on return there are no transfers, nor any later. May sleep.
    pub(crate) fn end(&self) {
        self.transfers.set_gone();
        for urb in &self.cancellers {
            urb.close();
        }
        *self.control.lock() = false;
    }

    /// On return there are no transfers, nor control transfers, until [`Self::resume`]. May sleep.
    pub(crate) fn suspend(&self) {
        self.transfers.set_suspended(true);
        let drained = || self.transfers.output_is_drained().then_some(());
        // Killed or late: what is under way is cancelled, and the writer told of it.
        let _ = self
            .transfers
            .waiters
            .queue()
            .wait(Deadline::after_ms(DRAIN_MS), drained);
        for urb in &self.cancellers {
            urb.close();
        }
        *self.control.lock() = false;
    }

    /// Transfers may go on. `was_reset`: no endpoint is stalled any more.
    pub(crate) fn resume(&self, was_reset: bool) {
        if was_reset {
            self.transfers.forget_stalls();
        }
        for urb in &self.cancellers {
            urb.reopen();
        }
        let mut allowed = self.control.lock();
        *allowed = !self.transfers.is_gone();
        drop(allowed);
        // Last: who finds control transfers not allowed waits until the device is not suspended any more.
        self.transfers.set_suspended(false);
    }
}
