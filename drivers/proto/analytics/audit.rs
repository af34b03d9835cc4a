// SPDX-License-Identifier: GPL-2.0

//! The audit trail: who has changed what, when; a line of JSON (RFC 8259) each.

use crate::{
    json::{string, ByteSink},
    vuid::NodeId,
};

/// Bytes of a line besides key and values, at most.
const HEAD: usize = 192;

/// A change of a variable.
#[derive(Clone, Copy, Debug)]
pub struct AuditLine<'a> {
    /// When, in milliseconds since 1970.
    pub ms: u64,
    /// On which node.
    pub node: NodeId,
    /// Who.
    pub uid: u32,
    /// By which way: a name of [`super::source::ValueSource`].
    pub source: &'a str,
    /// By which roll-out; 0 for none.
    pub rollout: u64,
    /// Of which variable.
    pub key: &'a str,
    /// The value before, if it was there.
    pub old: Option<&'a str>,
    /// The value from then on, if it is still there.
    pub new: Option<&'a str>,
}

/// Formats numbers into a place of fixed size.
struct Digits([u8; 20]);

impl Digits {
    /// `value` in base 10 or 16, with `least` digits at least.
    fn of(&mut self, mut value: u64, base: u64, least: usize) -> &[u8] {
        let mut used = 0usize;
        for to in self.0.iter_mut().rev() {
            if value == 0 && used >= least {
                break;
            }
            let digit = value.checked_rem(base).unwrap_or(0);
            *to = crate::hex::digit(digit as u8);
            value = value.checked_div(base).unwrap_or(0);
            used = used.saturating_add(1);
        }
        let (_, digits) = self
            .0
            .split_at_checked(self.0.len().saturating_sub(used))
            .unwrap_or_default();
        digits
    }
}

impl AuditLine<'_> {
    /// Writes the line, with its end.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn write<O: ByteSink>(&self, out: &mut O) -> Result<(), O::Error> {
        let mut digits = Digits([0; 20]);
        for (name, number) in [
            ("{\"ms\":", self.ms),
            (",\"node\":", self.node.into()),
            (",\"uid\":", self.uid.into()),
        ] {
            out.put(name.as_bytes())?;
            out.put(digits.of(number, 10, 1))?;
        }
        out.put(b",\"source\":")?;
        string(out, self.source)?;
        if self.rollout != 0 {
            out.put(b",\"rollout\":\"")?;
            out.put(digits.of(self.rollout, 16, 16))?;
            out.put(b"\"")?;
        }
        out.put(b",\"key\":")?;
        string(out, self.key)?;
        for (name, value) in [(",\"old\":", self.old), (",\"new\":", self.new)] {
            out.put(name.as_bytes())?;
            match value {
                Some(value) => string(out, value)?,
                None => out.put(b"null")?,
            }
        }
        out.put(b"}\n")
    }

    /// Bytes that the line has at most.
    pub fn max_len(&self) -> usize {
        let texts = [Some(self.key), self.old, self.new];
        texts
            .iter()
            .flatten()
            .fold(HEAD, |len, text| len.saturating_add(escaped(text)))
    }
}

/// Bytes of a text whose characters may need an escape; control characters do not occur in values.
fn escaped(text: &str) -> usize {
    text.len().saturating_mul(2).saturating_add(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use proptest::prelude::*;
    use std::{string::String, vec::Vec};

    struct Bytes(Vec<u8>);

    impl ByteSink for Bytes {
        type Error = Infallible;

        fn put(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    fn written(line: &AuditLine<'_>) -> String {
        let mut out = Bytes(Vec::new());
        line.write(&mut out).unwrap();
        String::from_utf8(out.0).unwrap()
    }

    #[test]
    fn a_change_is_a_line_of_json() {
        let line = AuditLine {
            ms: 1_700_000_000_123,
            node: 2,
            uid: 0,
            source: "rollout",
            rollout: 0xab,
            key: "cloudfs_read_window",
            old: Some("4"),
            new: Some("say \"8\""),
        };
        assert_eq!(
            written(&line),
            "{\"ms\":1700000000123,\"node\":2,\"uid\":0,\"source\":\"rollout\",\
             \"rollout\":\"00000000000000ab\",\"key\":\"cloudfs_read_window\",\"old\":\"4\",\
             \"new\":\"say \\\"8\\\"\"}\n"
        );
        let gone = AuditLine {
            rollout: 0,
            old: None,
            new: None,
            ..line
        };
        assert!(!written(&gone).contains("\"rollout\":"));
        assert!(written(&gone).ends_with("\"old\":null,\"new\":null}\n"));
    }

    proptest! {
        #[test]
        fn a_line_is_no_longer_than_it_says(
            ms in any::<u64>(), node in any::<u8>(), uid in any::<u32>(), rollout in any::<u64>(),
            key in "[a-z\"\\\\]{0,64}", value in "[ -~]{0,80}",
        ) {
            let old = Some(&value[..]);
            let line = AuditLine { ms, node, uid, source: "rollout", rollout, key: &key, old, new: old };
            prop_assert!(written(&line).len() <= line.max_len());
        }
    }
}
