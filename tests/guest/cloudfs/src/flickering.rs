// SPDX-License-Identifier: GPL-2.0
//! Memory whose pages are taken away again and again, and come back by a page fault.
#![expect(
    unsafe_code,
    reason = "what the kernel does to it is none of Rust's business"
)]

use std::{
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Memory that is shared with nobody, so that its content outlives its place in the page table.
///
/// # Invariants
///
/// `start` is the address of `len` bytes that were mapped for this value.
pub(crate) struct Flickering {
    start: *mut u8,
    len: usize,
}

impl Flickering {
    pub(crate) fn new(len: usize) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: A new mapping, anywhere.
        let map = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        assert_ne!(map, libc::MAP_FAILED, "mmap");
        // INVARIANT: Just mapped.
        Self {
            start: map.cast(),
            len,
        }
    }

    /// Does `with` something with the bytes, while their pages come and go.
    pub(crate) fn flicker<T>(&mut self, with: impl FnOnce(&mut [u8]) -> T) -> T {
        let (start, len) = (self.start.expose_provenance(), self.len);
        let done = AtomicBool::new(false);
        // SAFETY: By the invariant they are mapped, and borrowed as long as `self` is.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start, self.len) };
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let map = ptr::with_exposed_provenance_mut(start);
                    // SAFETY: Changes no byte of a shared mapping.
                    unsafe { libc::madvise(map, len, libc::MADV_DONTNEED) };
                }
            });
            // Also when it panics, as the thread is waited for.
            let _end = End(&done);
            with(bytes)
        })
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Flickering {
    fn drop(&mut self) {
        // SAFETY: By the invariant the mapping is this value's.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}
