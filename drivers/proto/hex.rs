// SPDX-License-Identifier: GPL-2.0

//! Hexadecimal digits.

/// The digit for the low four bits of `nibble`.
pub(crate) const fn digit(nibble: u8) -> u8 {
    match nibble & 0xf {
        value @ 0..=9 => b'0' | value,
        value => value.wrapping_add(b'a' - 10),
    }
}

/// The value of a digit; `None` if it is none.
pub(crate) const fn value(digit: u8) -> Option<u8> {
    let value = match digit {
        b'0'..=b'9' => digit.wrapping_sub(b'0'),
        b'a'..=b'f' => digit.wrapping_sub(b'a' - 10),
        b'A'..=b'F' => digit.wrapping_sub(b'A' - 10),
        _ => return None,
    };
    Some(value)
}
