// SPDX-License-Identifier: GPL-2.0

//! Just enough JSON to write a reply: strings and numbers in one flat object.

use crate::hex::digit;

/// Where bytes are written to.
pub trait ByteSink {
    /// Why no more can be written.
    type Error;

    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Writes `text` as a JSON string (RFC 8259).
pub fn string<O: ByteSink>(out: &mut O, text: &str) -> Result<(), O::Error> {
    out.put(b"\"")?;
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
    {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, b""));
        out.put(plain)?;
        let Some((&byte, after)) = special.split_first() else {
            break;
        };
        match byte {
            b'"' | b'\\' => out.put(&[b'\\', byte])?,
            b'\n' => out.put(b"\\n")?,
            b'\r' => out.put(b"\\r")?,
            b'\t' => out.put(b"\\t")?,
            _ => {
                out.put(b"\\u00")?;
                out.put(&hex(byte))?;
            }
        }
        rest = after;
    }
    out.put(rest)?;
    out.put(b"\"")
}

/// Writes `bytes` as a JSON string of hexadecimal digits.
pub fn hex_string<O: ByteSink>(out: &mut O, bytes: &[u8]) -> Result<(), O::Error> {
    out.put(b"\"")?;
    for &byte in bytes {
        out.put(&hex(byte))?;
    }
    out.put(b"\"")
}

fn hex(byte: u8) -> [u8; 2] {
    [digit(byte >> 4), digit(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{string::String, vec::Vec};

    impl ByteSink for Vec<u8> {
        type Error = core::convert::Infallible;
        fn put(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
            self.extend_from_slice(bytes);
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn strings_are_read_back_by_a_real_parser(text in any::<String>()) {
            let mut out = Vec::new();
            let Ok(()) = string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn hex_has_two_digits_a_byte(bytes in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            let Ok(()) = hex_string(&mut out, &bytes);
            let expected: String = bytes.iter().map(|b| std::format!("{b:02x}")).collect();
            prop_assert_eq!(String::from_utf8(out).unwrap(), std::format!("\"{expected}\""));
        }
    }
}
