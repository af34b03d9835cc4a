// SPDX-License-Identifier: GPL-2.0
//! Functions of Rust for other nodes to call: each gets its arguments as one text.
#![expect(unsafe_code, reason = "they are called from C")]

use std::{
    ffi::{CStr, c_char, c_void},
    ptr,
};

/// Returns the sum of the numbers in the text; what is no number counts nothing.
///
/// # Safety
///
/// `text` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virgo_test_sum(text: *mut c_void) -> *mut c_void {
    // SAFETY: As the caller has promised.
    let text = unsafe { CStr::from_ptr(text.cast::<c_char>()) }.to_string_lossy();
    let sum: i64 = text
        .split(' ')
        .filter_map(|word| word.parse::<i64>().ok())
        .sum();
    ptr::without_provenance_mut(sum as usize)
}

/// Panics with the text, which kills the process by SIGABRT.
///
/// # Safety
///
/// `text` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virgo_test_panic(text: *mut c_void) -> *mut c_void {
    // SAFETY: As the caller has promised.
    let text = unsafe { CStr::from_ptr(text.cast::<c_char>()) }.to_string_lossy();
    panic!("{text}")
}
