// SPDX-License-Identifier: GPL-2.0

//! A ring of records that are written in any context and read by one task at a time.
//!
//! A record is reserved under a spinlock, which takes the same time whatever its length; it is filled
//! without the lock, so that several processors fill records at once and interrupts are not kept off; and
//! it is committed by its first word. Readers stop at the first record that is not committed.

use crate::mutex::InterruptibleMutex;
use core::cell::UnsafeCell;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        SpinLockIrq, //
    },
    uaccess::UserSliceWriter, //
};
use virgo_proto::usb::{
    record_word,
    word_size,
    Span,
    RECORD_WORD, //
};

/// The ring.
///
/// # Invariants
///
/// `bytes` never changes its length, the size of `span`. What `span` calls free is touched by nobody
/// but [`CaptureRing::reserve`], which holds the lock. The bytes of a reserved record belong to its
/// [`ReservedRecord`], except for their first word, which is atomic and 0; those of a committed one belong
/// to who reads.
#[pin_data]
pub struct CaptureRing {
    #[pin]
    state: SpinLockIrq<State>,
    /// Held by who reads.
    #[pin]
    reading: InterruptibleMutex<()>,
    bytes: UnsafeCell<VVec<u64>>,
}

struct State {
    span: Span,
    /// Records that there was no room for since the last one.
    lost: u32,
}

// SAFETY: The bytes are used as the invariant says.
unsafe impl Send for CaptureRing {}
// SAFETY: As above.
unsafe impl Sync for CaptureRing {}

impl CaptureRing {
    /// An empty ring of at least `size` bytes, charged to the memory cgroup of the current task. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`EINVAL`] for sizes that a ring cannot have.
    pub fn new(size: usize) -> Result<impl PinInit<Self>> {
        let span = Span::new(size).ok_or(EINVAL)?;
        let bytes = VVec::from_elem(0u64, span.size() / size_of::<u64>(), GFP_KERNEL_ACCOUNT)?;
        let state = State { span, lost: 0 };
        Ok(pin_init!(Self {
            state <- linux::new_spinlock_irq!(state, "virgo_usb_ring"),
            reading <- crate::new_interruptible_mutex!((), "virgo_usb_ring_reading"),
            bytes: UnsafeCell::new(bytes),
        }))
    }

    /// Reserves a record of `len` bytes, beside its first word. `None` if there is no room, which is
    /// counted. Any context.
    pub fn reserve(&self, len: usize) -> Option<ReservedRecord<'_>> {
        let mut state = self.state.lock();
        let Some(start) = state.span.reserve(len) else {
            state.lost = state.lost.saturating_add(1);
            return None;
        };
        let lost = core::mem::take(&mut state.lost);
        // Before the lock is left: a reader that sees the record in `span` sees that it is not
        // committed.
        self.word(start).store(0, Release);
        drop(state);
        let mut slot = ReservedRecord {
            ring: self,
            start,
            len,
            lost,
        };
        slot.clear_end();
        Some(slot)
    }

    /// The atomic word at a position of `span`, which is a multiple of its size.
    fn word(&self, at: u64) -> &Atomic<u64> {
        // SAFETY: Positions are brought into the buffer by `offset`, whose result is a multiple of 8 below
        // its length. By the invariant first words are used as atomics only.
        unsafe {
            let bytes = (*self.bytes.get()).as_ptr();
            Atomic::from_ptr(bytes.add(self.offset(at) / size_of::<u64>()).cast_mut())
        }
    }

    fn offset(&self, at: u64) -> usize {
        // SAFETY: The length never changes.
        let size = unsafe { (*self.bytes.get()).len() } * size_of::<u64>();
        // The size is a power of two.
        (at as usize) & (size - 1)
    }

    /// The bytes from position `at` on, at most `len`, as far as they lie in one piece.
    fn piece(&self, at: u64, len: usize) -> (*mut u8, usize) {
        let offset = self.offset(at);
        // SAFETY: The offset is below the length.
        unsafe {
            let bytes = &*self.bytes.get();
            let size = bytes.len() * size_of::<u64>();
            let start = bytes.as_ptr().cast::<u8>().cast_mut().add(offset);
            (start, len.min(size - offset))
        }
    }

    /// Whether there is a record to be read, or losses are to be told. Any context.
    pub fn is_readable(&self) -> bool {
        let state = self.state.lock();
        let (next, lost) = (state.span.next(), state.lost);
        drop(state);
        match next {
            Some(at) => word_size(self.word(at).load(Acquire)) != 0,
            None => lost > 0,
        }
    }

    /// Copies whole records to a program, as many as there are and fit; 0 if there are none. Losses behind the
    /// last one are a word without a record. May sleep, for the program.
    ///
    /// # Errors
    ///
    /// [`EFAULT`] and [`EMSGSIZE`], if not even one record could be copied; [`ERESTARTSYS`] when a
    /// signal comes while another task reads.
    pub fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
        let _reading = self.reading.lock()?;
        let mut copied = 0;
        loop {
            let Some(at) = self.next(&mut copied, to)? else {
                return Ok(copied);
            };
            let word = self.word(at).load(Acquire);
            let size = word_size(word);
            if size == 0 {
                return Ok(copied);
            }
            if size > to.len() {
                return if copied == 0 {
                    Err(EMSGSIZE)
                } else {
                    Ok(copied)
                };
            }
            let written = self.copy_record(at, size, word, to);
            if let Err(e) = written {
                return if copied == 0 { Err(e) } else { Ok(copied) };
            }
            copied += size;
            self.state.lock().span.release(size);
        }
    }

    /// Position of the oldest record. If there is none, losses are told, as far as there is room for that.
    fn next(&self, copied: &mut usize, to: &mut UserSliceWriter) -> Result<Option<u64>> {
        let mut state = self.state.lock();
        if let Some(at) = state.span.next() {
            return Ok(Some(at));
        }
        if state.lost == 0 {
            return Ok(None);
        }
        if to.len() < RECORD_WORD {
            return match *copied {
                0 => Err(EMSGSIZE),
                _ => Ok(None),
            };
        }
        let lost = core::mem::take(&mut state.lost);
        drop(state);
        match to.write_slice(&record_word(0, lost).to_ne_bytes()) {
            Ok(()) => *copied += RECORD_WORD,
            Err(e) => {
                let mut state = self.state.lock();
                state.lost = state.lost.saturating_add(lost);
                if *copied == 0 {
                    return Err(e);
                }
            }
        }
        Ok(None)
    }

    fn copy_record(&self, at: u64, size: usize, word: u64, to: &mut UserSliceWriter) -> Result {
        to.write_slice(&word.to_ne_bytes())?;
        let mut done = RECORD_WORD;
        while done < size {
            let (start, len) = self.piece(at.wrapping_add(done as u64), size - done);
            // SAFETY: By the invariant a committed record is ours, as long as it is not released, and
            // `piece` stays in the buffer.
            to.write_slice(unsafe { core::slice::from_raw_parts(start, len) })?;
            done += len;
        }
        Ok(())
    }
}

/// A reserved record, to be filled and committed by dropping it.
pub struct ReservedRecord<'a> {
    ring: &'a CaptureRing,
    start: u64,
    len: usize,
    lost: u32,
}

impl ReservedRecord<'_> {
    /// Has `fill` fill the record from byte `from` on, `len` bytes, in pieces: it is given each piece and what of the
    /// `len` bytes came before.
    pub fn fill(&mut self, from: usize, len: usize, mut fill: impl FnMut(usize, &mut [u8])) {
        let len = len.min(self.len.saturating_sub(from));
        let first = self
            .start
            .wrapping_add((RECORD_WORD + from.min(self.len)) as u64);
        let mut done = 0;
        while done < len {
            let (start, piece) = self.ring.piece(first.wrapping_add(done as u64), len - done);
            // SAFETY: By the invariant of `CaptureRing` the record is this slot's, borrowed exclusively; the
            // buffer is initialised.
            fill(done, unsafe {
                core::slice::from_raw_parts_mut(start, piece)
            });
            done += piece;
        }
    }
}

impl ReservedRecord<'_> {
    /// The bytes between the content and the next record are what an older record has left.
    fn clear_end(&mut self) {
        let end = RECORD_WORD + self.len;
        let (start, len) = self.ring.piece(
            self.start.wrapping_add(end as u64),
            end.next_multiple_of(8) - end,
        );
        // SAFETY: As in `fill`. A record ends at a multiple of 8, so this is one piece.
        unsafe { core::slice::from_raw_parts_mut(start, len) }.fill(0);
    }
}

impl Drop for ReservedRecord<'_> {
    fn drop(&mut self) {
        let word = record_word(self.len, self.lost);
        self.ring.word(self.start).store(word, Release);
    }
}
