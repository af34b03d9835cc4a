// SPDX-License-Identifier: GPL-2.0

//! Hexadecimal digits.

/// The digit for the low four bits of `nibble`.
pub(crate) const fn digit(nibble: u8) -> u8 {
    match nibble & 0xf {
        value @ 0..=9 => b'0' | value,
        value => value.wrapping_add(b'a' - 10),
    }
}

/// What a byte is as a digit: its value, or more than 15 if it is none.
static VALUES: [u8; 256] = values();

/// Evaluated by the compiler, which would notice a panic.
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
const fn values() -> [u8; 256] {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        let digit = digit(value);
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
}

/// The number that up to 16 digits make; `None` if one of them is none.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let (mut number, mut seen) = (0, 0);
    for &digit in digits {
        let value = VALUES.get(usize::from(digit)).copied().unwrap_or(0xff);
        seen |= value;
        number = (number << 4) | u64::from(value & 0xf);
    }
    (seen <= 0xf).then_some(number)
}
