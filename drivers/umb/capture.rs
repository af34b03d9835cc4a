// SPDX-License-Identifier: GPL-2.0

//! `/dev/umbmon`: what all USB devices of this machine say.
//!
//! A program opens it, writes what it wants to see, and reads records: see `virgo_proto::usb` for both. A read
//! without a filter captures all. What the program does not read in time is lost and counted in the
//! record that comes after it: who transfers is never held up.

use crate::{
    module_parameters,
    settings::mebibytes,
    waiting::WaitingPrograms, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    },
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};
use linux::{
    user::current_uid,
    wait::WaitQueue,
    work::WorkQueue, //
};
use linux_usb::{
    misc::MiscState,
    monitor::{
        Tap,
        UrbEvent,
        UrbObserver,
        TAPS, //
    },
    mutex::InterruptibleMutex,
    new_interruptible_mutex,
    open_file::{
        OpenFile,
        Readiness, //
    },
    ring::CaptureRing, //
};
use virgo_proto::usb::{
    CaptureFilter,
    EventKey,
    ISO_DESCRIPTOR,
    PACKET_HEADER, //
};
use virgo_utils::budget::{
    Budget,
    Charge, //
};

/// Bytes of a filter's text.
const MAX_FILTER: usize = 256;

/// The device.
pub(crate) struct Captures {
    /// Bytes of rings.
    budget: Pin<KBox<Budget>>,
    /// Captures that may run at once.
    taps: Pin<KBox<Budget>>,
    /// Wakes those who wait, where they are many.
    work: Arc<WorkQueue>,
}

impl Captures {
    pub(crate) fn new(work: &Arc<WorkQueue>) -> Result<Self> {
        Ok(Captures {
            budget: Budget::new(mebibytes(module_parameters::capture_memory.value()))?,
            taps: Budget::new(TAPS)?,
            work: work.clone(),
        })
    }

    /// A capture of the current user.
    fn charge_tap(&self) -> Result<Charge> {
        let charge = self.taps.charge(current_uid(), 1);
        charge.map_err(|e| if e == ENOMEM { EUSERS } else { e })
    }

    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "captures {} {}", self.budget.used(), self.budget.limit())
    }
}

impl MiscState for Captures {
    type File = CaptureFile;

    fn open(state: &Arc<Self>) -> Result<CaptureFile> {
        let waiters = Arc::new(WaitingPrograms::new(&state.work)?, GFP_KERNEL_ACCOUNT)?;
        let starting = KBox::pin_init(
            new_interruptible_mutex!((), "umb_capture_starting"),
            GFP_KERNEL_ACCOUNT,
        )?;
        Ok(CaptureFile {
            running: SetOnce::new(),
            starting,
            waiters,
            captures: state.clone(),
        })
    }
}

/// An open `/dev/umbmon`.
pub(crate) struct CaptureFile {
    /// The capture, once it has begun.
    running: SetOnce<Pin<KBox<Tap<Recorder>>>>,
    /// Held while it is being started.
    starting: Pin<KBox<InterruptibleMutex<()>>>,
    /// Who waits for records.
    waiters: Arc<WaitingPrograms>,
    captures: Arc<Captures>,
}

/// Puts events into a ring.
struct Recorder {
    filter: CaptureFilter,
    ring: Pin<KBox<CaptureRing>>,
    waiters: Arc<WaitingPrograms>,
    _charges: [Charge; 2],
}

impl CaptureFile {
    fn start(&self, filter: CaptureFilter) -> Result<&Tap<Recorder>> {
        let _starting = self.starting.lock()?;
        if self.running.as_ref().is_some() {
            return Err(EBUSY);
        }
        // The size that the ring has in the end.
        let size = filter.ring.next_power_of_two();
        let tap = self.captures.charge_tap()?;
        let memory = self.captures.budget.charge(current_uid(), size as u64)?;
        let ring = KBox::pin_init(CaptureRing::new(size)?, GFP_KERNEL_ACCOUNT)?;
        let recorder = Recorder {
            filter,
            ring,
            waiters: self.waiters.clone(),
            _charges: [tap, memory],
        };
        let tap = KBox::try_pin_init(Tap::new(recorder), GFP_KERNEL_ACCOUNT)?;
        self.running.populate(tap);
        self.tap()
    }

    fn tap(&self) -> Result<&Tap<Recorder>> {
        self.running.as_ref().map(|tap| &**tap).ok_or(EINVAL)
    }

    /// The capture, which begins now if nobody has begun it.
    fn started(&self) -> Result<&Tap<Recorder>> {
        if let Ok(tap) = self.tap() {
            return Ok(tap);
        }
        match self.start(CaptureFilter::default()) {
            Err(EBUSY) if self.running.as_ref().is_some() => self.tap(),
            result => result,
        }
    }
}

impl OpenFile for CaptureFile {
    fn read(&self, to: &mut UserSliceWriter, nonblocking: bool) -> Result<usize> {
        let ring = &self.started()?.observer().ring;
        loop {
            let copied = ring.read(to)?;
            if copied > 0 || to.is_empty() {
                return Ok(copied);
            }
            if nonblocking {
                return Err(EAGAIN);
            }
            let ready = || ring.is_readable().then_some(());
            self.waiters.queue().wait_interruptible(ready)?;
        }
    }

    /// Begins the capture; at most once for each open file.
    fn write(&self, from: &mut UserSliceReader, _nonblocking: bool) -> Result<usize> {
        let mut text = [0; MAX_FILTER];
        let len = from.len();
        let text = text.get_mut(..len).ok_or(EINVAL)?;
        from.read_slice(text)?;
        self.start(CaptureFilter::parse(text).ok_or(EINVAL)?)?;
        Ok(len)
    }

    fn readiness(&self) -> Readiness {
        let readable = match self.tap() {
            Ok(tap) => tap.observer().ring.is_readable(),
            Err(_) => false,
        };
        Readiness {
            readable,
            ..Readiness::default()
        }
    }

    fn waiters(&self) -> &WaitQueue {
        self.waiters.queue()
    }
}

impl UrbObserver for Recorder {
    fn event(&self, event: &UrbEvent<'_>) {
        let header = event.header();
        let key = EventKey {
            bus: header.bus,
            device: header.device,
            endpoint: header.endpoint,
            transfer: header.transfer,
            event: header.type_,
        };
        if !self.filter.matches(&key) {
            return;
        }
        let descriptors = header.ndesc.saturating_mul(ISO_DESCRIPTOR);
        let len = self.filter.snapped(header.data_len, descriptors);
        // Losses wake nobody: there are records to be read, as long as there is no room.
        let Some(mut slot) = self.ring.reserve(PACKET_HEADER + len as usize) else {
            return;
        };
        let bytes = event.header_bytes(len);
        slot.fill(0, PACKET_HEADER, |from, piece| {
            if let Some(part) = bytes.get(from..from.saturating_add(piece.len())) {
                piece.copy_from_slice(part);
            }
        });
        slot.fill(PACKET_HEADER, len as usize, |from, piece| {
            let copied = event.copy(from as u32, piece) as usize;
            // Memory that cannot be reached reads as zeros.
            piece.iter_mut().skip(copied).for_each(|byte| *byte = 0);
        });
        // It is there for readers from here on.
        drop(slot);
        self.waiters.wake();
    }
}
