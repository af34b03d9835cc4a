// SPDX-License-Identifier: GPL-2.0

//! Hexadecimal digits.

/// The digit for the low four bits of `nibble`.
pub(crate) const fn digit(nibble: u8) -> u8 {
    match nibble & 0xf {
        value @ 0..=9 => b'0' | value,
        value => value.wrapping_add(b'a' - 10),
    }
}
