// SPDX-License-Identifier: GPL-2.0

//! Look-ups for modules in C: `include/linux/virgo_analytics.h`.

use super::table::{
    self,
    VariableValue, //
};
use kernel::prelude::*;

/// # Safety
///
/// `key` is a string that ends with NUL; `value` is valid for writes.
unsafe fn number(
    key: *const c_char,
    value: *mut i64,
    read: impl FnOnce(&VariableValue) -> Option<i64>,
) -> c_int {
    // SAFETY: By the caller's promise.
    let key = unsafe { CStr::from_char_ptr(key) };
    match table::with_value(key.to_bytes(), read) {
        None => ENOENT.to_errno(),
        Some(None) => EINVAL.to_errno(),
        Some(Some(number)) => {
            // SAFETY: By the caller's promise.
            unsafe { value.write(number) };
            0
        }
    }
}

/// # Safety
///
/// As the header says: a string that ends with NUL, and a pointer that is valid for writes.
#[no_mangle]
pub(super) unsafe extern "C" fn virgo_analytics_integer(
    key: *const c_char,
    value: *mut i64,
) -> c_int {
    // SAFETY: By the caller's promise.
    unsafe { number(key, value, VariableValue::integer) }
}

/// # Safety
///
/// As for [`virgo_analytics_integer`].
#[no_mangle]
pub(super) unsafe extern "C" fn virgo_analytics_decimal(
    key: *const c_char,
    millionths: *mut i64,
) -> c_int {
    // SAFETY: By the caller's promise.
    unsafe { number(key, millionths, VariableValue::decimal) }
}

/// # Safety
///
/// As the header says: a string that ends with NUL, and `size` bytes at `text` that are valid for
/// writes.
#[no_mangle]
pub(super) unsafe extern "C" fn virgo_analytics_text(
    key: *const c_char,
    text: *mut c_char,
    size: usize,
) -> isize {
    // SAFETY: By the caller's promise.
    let key = unsafe { CStr::from_char_ptr(key) };
    let copied = table::with_value(key.to_bytes(), |value| {
        let value = value.text().as_bytes();
        if value.len() >= size {
            return None;
        }
        // SAFETY: By the caller's promise there are `size` bytes, which is more than the value has.
        unsafe {
            text.cast::<u8>()
                .copy_from_nonoverlapping(value.as_ptr(), value.len());
            text.add(value.len()).write(0);
        }
        Some(value.len() as isize)
    });
    match copied {
        None => ENOENT.to_errno() as isize,
        Some(None) => E2BIG.to_errno() as isize,
        Some(Some(len)) => len,
    }
}
