// SPDX-License-Identifier: GPL-2.0
//! Memory that system calls may do anything to.
#![expect(
    unsafe_code,
    reason = "it is not Rust's memory, so it is reached by pointers"
)]

use std::ptr;

/// Smallest unit of protection.
pub const PAGE: usize = 4096;

/// A user address, for the kernel only: nothing of Rust's lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(u64);

/// No address.
pub const NULL: Address = Address(0);

/// Addresses that no program can have: in the kernel's half, between the halves, and at the end.
pub const KERNEL: [Address; 3] = [
    Address(0xffff_8880_0010_0000),
    Address(0x8000_0000_0000_0000),
    Address(u64::MAX - 7),
];

impl Address {
    /// As the kernel gets it.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Some pages with an inaccessible one before and behind them.
///
/// # Invariants
///
/// `start` is the address of `len` bytes that were mapped for this value, with an inaccessible page
/// on either side, and are readable.
pub struct Region {
    start: *mut u8,
    len: usize,
}

impl Region {
    /// Zeros; `len` is rounded up to pages.
    pub fn new(len: usize) -> Self {
        let len = len.next_multiple_of(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: A new mapping, anywhere.
        let map = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len + 2 * PAGE,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            )
        };
        assert_ne!(map, libc::MAP_FAILED, "mmap");
        let region = Self {
            // INVARIANT: The first page of the mapping and its last stay inaccessible.
            start: map.cast::<u8>().wrapping_add(PAGE),
            len,
        };
        region.protect(libc::PROT_READ | libc::PROT_WRITE);
        region
    }

    /// Makes it read-only.
    pub fn read_only(self) -> Self {
        self.protect(libc::PROT_READ);
        self
    }

    fn protect(&self, protection: i32) {
        // SAFETY: By the invariant the pages are this value's; no reference to them exists.
        let result = unsafe { libc::mprotect(self.start.cast(), self.len, protection) };
        assert_eq!(result, 0, "mprotect");
    }

    /// The address of byte `offset`; `len` and what follows is inaccessible.
    pub fn at(&self, offset: usize) -> Address {
        assert!(offset < self.len + PAGE);
        Address(self.start.wrapping_add(offset).expose_provenance() as u64)
    }

    /// The address of the last `len` bytes.
    pub fn last(&self, len: usize) -> Address {
        self.at(self.len - len)
    }

    /// Where the inaccessible page begins.
    pub fn end(&self) -> Address {
        self.at(self.len)
    }

    /// Writes `value` at its end and returns the address.
    pub fn put_last<T: Copy>(&self, value: T) -> Address {
        let at = self.last(size_of::<T>());
        self.put(self.len - size_of::<T>(), value);
        at
    }

    /// Writes `value` at byte `offset` and returns the address.
    pub fn put<T: Copy>(&self, offset: usize, value: T) -> Address {
        assert!(offset <= self.len - size_of::<T>());
        // SAFETY: By the invariant these bytes are mapped; no reference to them exists.
        unsafe { self.start.add(offset).cast::<T>().write_unaligned(value) };
        self.at(offset)
    }

    /// Writes `bytes` from byte `offset` on and returns the address.
    pub fn put_bytes(&self, offset: usize, bytes: &[u8]) -> Address {
        assert!(offset <= self.len && bytes.len() <= self.len - offset);
        // SAFETY: As in `put`; the slice cannot overlap a mapping that has no reference.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(offset), bytes.len()) };
        self.at(offset)
    }

    /// Copies `len` bytes from byte `offset` on.
    pub fn bytes(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset <= self.len && len <= self.len - offset);
        let mut bytes = vec![0; len];
        // SAFETY: As in `put_bytes`.
        unsafe { ptr::copy_nonoverlapping(self.start.add(offset), bytes.as_mut_ptr(), len) };
        bytes
    }

    /// Copies the number at byte `offset`.
    pub fn number(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(offset, 8).try_into().unwrap_or_default())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let map = self.start.wrapping_sub(PAGE);
        // SAFETY: By the invariant the mapping is this value's, with a page on either side.
        unsafe { libc::munmap(map.cast(), self.len + 2 * PAGE) };
    }
}
