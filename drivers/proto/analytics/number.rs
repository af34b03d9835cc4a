// SPDX-License-Identifier: GPL-2.0

//! Numbers of variables: integers, decimals as fixed point, booleans. No floating point, which the
//! kernel does not have.

/// A decimal is counted in millionths.
pub const SCALE: i64 = 1_000_000;

/// Decimal digits behind the point.
const PLACES: i32 = 6;

/// Reads an integer: digits, perhaps with a sign.
pub fn integer(text: &str) -> Option<i64> {
    // The parser of `core` takes signs and digits, nothing else.
    text.parse().ok()
}

/// Reads a boolean: `true`, `yes`, `on`, `1`, or their contraries, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "yes", "on", "1"]) {
        Some(true)
    } else if is_one_of(["false", "no", "off", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Reads a decimal such as `-1.25` or `3e-4`, in millionths, to the nearest one. `None` also if it is
/// out of range.
pub fn decimal(text: &str) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let mut value: u64 = 0;
    let (mut any, mut behind) = (false, false);
    let mut shift = PLACES.saturating_add(exponent.into());
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                any = true;
                // Digits beyond the 19th count as zeros. No 128 bits: the kernel cannot divide those.
                if value < u64::MAX / 10 {
                    value = value
                        .saturating_mul(10)
                        .saturating_add(byte.saturating_sub(b'0').into());
                } else {
                    shift = shift.saturating_add(1);
                }
                if behind {
                    shift = shift.saturating_sub(1);
                }
            }
            b'.' if !behind => behind = true,
            _ => return None,
        }
    }
    if !any {
        return None;
    }
    let scaled = scale(value, shift)?;
    let scaled = i64::try_from(scaled).ok()?;
    Some(if negative {
        scaled.saturating_neg()
    } else {
        scaled
    })
}

/// `value * 10^shift`, to the nearest integer.
fn scale(value: u64, shift: i32) -> Option<u64> {
    if value == 0 {
        return Some(0);
    }
    let power = 10u64.checked_pow(shift.unsigned_abs());
    if shift >= 0 {
        return value.checked_mul(power?);
    }
    let Some(power) = power else {
        // Smaller than all that can be told from zero.
        return Some(0);
    };
    let half = power.checked_div(2)?;
    value.saturating_add(half).checked_div(power)
}

/// A decimal in millionths, shown as people write it: without zeros at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal(pub i64);

impl core::fmt::Display for Decimal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let scale = SCALE.unsigned_abs();
        let whole = self.0.unsigned_abs().checked_div(scale).unwrap_or(0);
        let mut rest = self.0.unsigned_abs().checked_rem(scale).unwrap_or(0);
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{whole}")?;
        if rest == 0 {
            return Ok(());
        }
        let mut places = PLACES as usize;
        while rest.checked_rem(10) == Some(0) {
            rest = rest.checked_div(10).unwrap_or(0);
            places = places.saturating_sub(1);
        }
        write!(f, ".{rest:0places$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn decimals_are_read_to_the_nearest_millionth() {
        for (text, millionths) in [
            ("0", 0),
            ("-0", 0),
            ("1.5", 1_500_000),
            ("-1.25", -1_250_000),
            ("+3", 3_000_000),
            (".5", 500_000),
            ("5.", 5_000_000),
            ("0.0000005", 1),
            ("0.00000049", 0),
            ("1e-3", 1000),
            ("2.5E+2", 250_000_000),
            ("1e-07", 0),
            ("1e-999", 0),
            ("0.333333333333333333333333333333333333333333", 333_333),
            ("9223372036854.775807", i64::MAX),
            ("0e9999", 0),
        ] {
            assert_eq!(decimal(text), Some(millionths), "{text}");
        }
        for text in [
            "",
            ".",
            "-",
            "1.2.3",
            "1,5",
            "e5",
            "1e",
            "nan",
            "inf",
            "0x10",
            "1 ",
            "9223372036854.775808",
            "1e30",
            "1e99999",
            "--1",
        ] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn booleans_have_many_names() {
        assert_eq!(boolean("True"), Some(true));
        assert_eq!(boolean("OFF"), Some(false));
        assert_eq!(boolean("2"), None);
        assert_eq!(boolean(""), None);
    }

    #[test]
    fn integers_have_bounds() {
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        for text in ["", "1.0", "0x1", " 1", "9223372036854775808"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(value in any::<i64>().prop_filter("no contrary", |&v| v != i64::MIN)) {
            prop_assert_eq!(decimal(&Decimal(value).to_string()), Some(value));
        }

        #[test]
        fn decimals_agree_with_floating_point(value in -1.0e9..1.0e9f64) {
            let read = decimal(&value.to_string()).unwrap();
            prop_assert!((read as f64 - value * 1e6).abs() <= 1.0, "{} {}", read, value);
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "[0-9eE.+-]{0,60}") {
            let _ = decimal(&text);
        }
    }
}
