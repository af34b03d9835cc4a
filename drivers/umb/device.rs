// SPDX-License-Identifier: GPL-2.0

//! An interface that is bound.
//!
//! # Locking
//!
//! `reading` and `writing` are held by tasks that read and write, while they wait for the device and for
//! their programs; others wait for them interruptibly, and what the USB core calls never takes them.
//! `control` is held during control transfers, `openers` while input is being stopped; both for as long
//! as a device may take, not longer.

use crate::{
    settings::Settings,
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
        Endpoint,
        Interface,
        Stage,
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
    /// Whether control transfers may be made.
    #[pin]
    control: Mutex<bool>,
    /// Open files.
    #[pin]
    pub(crate) openers: Mutex<usize>,
    pub(crate) bytes_read: Atomic<u64>,
    pub(crate) bytes_written: Atomic<u64>,
    pub(crate) settings: Arc<Settings>,
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
    pub(crate) fn new(settings: &Arc<Settings>, interface: &Interface<'_>) -> Result<Arc<Self>> {
        let (input, output) = (interface.input(), interface.output());
        if input.is_none() && output.is_none() {
            return Err(ENODEV);
        }
        let usb = interface.device()?;
        let transfers = Transfers::new()?;
        let memory = |endpoint: &Option<Endpoint>| {
            let size = endpoint.as_ref().map_or((0, 0), buffers);
            (size.0 * size.1) as u64
        };
        let charge = settings
            .budget
            .charge(0, memory(&input) + memory(&output))?;
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
                usb.trace(Stage::Probe, endpoint, &[], None);
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
                openers <- linux::new_mutex!(0, "umb_openers"),
                bytes_read: Atomic::new(0),
                bytes_written: Atomic::new(0),
                settings: settings.clone(),
                usb,
                _charge: charge,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Ends the stall of an endpoint. May sleep, for as long as a control transfer takes.
    pub(crate) fn clear_halt(&self, endpoint: &Endpoint) -> Result {
        let allowed = self.control.lock();
        match *allowed {
            true => self.usb.clear_halt(endpoint),
            false => Err(ENODEV),
        }
    }

    /// Stops input and drops what nobody has read. For the last one that closes the device, who
    /// holds `openers`.
    pub(crate) fn stop_input(&self) {
        if self.input.is_none() {
            return;
        }
        // Nobody else has the device open, so nobody reads.
        let Some(mut reading) = self.reading.try_lock() else {
            return;
        };
        for urb in self.cancellers.iter().take(INPUTS) {
            urb.cancel();
        }
        reading.offset = 0;
        self.transfers.drop_input();
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

    /// On return there are no transfers until [`Self::resume`]. May sleep.
    pub(crate) fn suspend(&self) {
        self.transfers.set_suspended(true);
        let drained = || self.transfers.output_is_drained().then_some(());
        // Killed or late: what is under way is cancelled, and the writer told of it.
        let _ = self
            .transfers
            .waiters
            .wait(Deadline::after_ms(DRAIN_MS), drained);
        for urb in &self.cancellers {
            urb.close();
        }
    }

    /// Transfers may go on.
    pub(crate) fn resume(&self) {
        for urb in &self.cancellers {
            urb.reopen();
        }
        self.transfers.set_suspended(false);
    }
}
