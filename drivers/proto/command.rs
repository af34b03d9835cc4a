// SPDX-License-Identifier: GPL-2.0

//! The grammar of text commands.
//!
//! ```text
//! line    = name "(" body [ ")" ]      as the original: virgo_cloud_set(id,data)
//!         | name [ " " body ]          as people type: auth secret, json on
//! ```
//!
//! The body ends at the *last* closing parenthesis of the line (blanks may follow it), or at the
//! end of the line if there is none. A command with `n` arguments cuts its body at the first
//! `n - 1` commas, so the last argument may hold commas, blanks and parentheses as they are.

use crate::scan;

/// A command line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// The word before the parenthesis or blank; empty for an empty line.
    pub name: &'a [u8],
    /// What the arguments are cut from.
    pub body: &'a [u8],
}

impl<'a> CommandLine<'a> {
    /// Takes `line`, without its line end, apart.
    pub fn parse(line: &'a [u8]) -> Self {
        let line = line.trim_ascii_start();
        let end = scan::find(line, [b'(', b' ', b'\t']);
        let Some((name, rest)) = end.and_then(|end| line.split_at_checked(end)) else {
            return CommandLine {
                name: line.trim_ascii_end(),
                body: b"",
            };
        };
        let body = match rest.strip_prefix(b"(") {
            Some(body) => body.trim_ascii_end().strip_suffix(b")").unwrap_or(body),
            None => rest.trim_ascii(),
        };
        CommandLine { name, body }
    }

    /// The `N` arguments; `None` if there are fewer, or if the body is empty.
    pub fn args<const N: usize>(&self) -> Option<[&'a [u8]; N]> {
        let mut args = [&b""[..]; N];
        let mut pieces = self.body.splitn(N, |&byte| byte == b',');
        for arg in &mut args {
            *arg = pieces.next()?;
        }
        (!self.body.is_empty()).then_some(args)
    }
}

/// A number of people: decimal digits, nothing else but blanks around them.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits
        .then(|| core::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

/// A number as [`parse_u64`] reads it, perhaps with a minus sign.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    match text.strip_prefix(b"-") {
        Some(digits) if digits.first().is_some_and(u8::is_ascii_digit) => {
            0i64.checked_sub_unsigned(parse_u64(digits)?)
        }
        Some(_) => None,
        None => i64::try_from(parse_u64(text)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{string::ToString, vec::Vec};

    fn parse(line: &str) -> (&str, &str) {
        let c = CommandLine::parse(line.as_bytes());
        let text = |b| core::str::from_utf8(b).unwrap();
        (text(c.name), text(c.body))
    }

    #[test]
    fn the_original_spellings_are_read() {
        assert_eq!(
            parse("virgo_cloud_malloc(100)"),
            ("virgo_cloud_malloc", "100")
        );
        assert_eq!(parse("virgo_cloud_get(ff"), ("virgo_cloud_get", "ff"));
        assert_eq!(parse("virgo_cloud_get(ff) \t"), ("virgo_cloud_get", "ff"));
        assert_eq!(parse("stats"), ("stats", ""));
        assert_eq!(parse(" auth  s e c "), ("auth", "s e c"));
        assert_eq!(parse(""), ("", ""));
        assert_eq!(parse("()"), ("", ""));
        assert_eq!(parse("virgo_cloud_free()"), ("virgo_cloud_free", ""));
    }

    #[test]
    fn data_keeps_its_commas_blanks_and_parentheses() {
        let c = CommandLine::parse(b"virgo_cloud_set(1f, a,b) (c ))");
        assert_eq!(c.args(), Some([&b"1f"[..], b" a,b) (c )"]));
        let open = CommandLine::parse(b"virgo_cloud_set(1f,a) b ");
        assert_eq!(open.args(), Some([&b"1f"[..], b"a) b "]));
    }

    #[test]
    fn missing_arguments_are_noticed() {
        assert_eq!(CommandLine::parse(b"f(1)").args::<2>(), None);
        assert_eq!(CommandLine::parse(b"f()").args::<1>(), None);
        assert_eq!(CommandLine::parse(b"f(,)").args(), Some([&b""[..], b""]));
    }

    #[test]
    fn numbers_are_decimal_and_bounded() {
        assert_eq!(parse_u64(b" 100 "), Some(100));
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "-1", "+1", "1x", "0x10", "18446744073709551616", "1 1"] {
            assert_eq!(parse_u64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn signed_numbers_reach_their_bounds() {
        for number in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
        for bad in [
            "",
            "-",
            "--1",
            "- 1",
            "+1",
            "9223372036854775808",
            "-9223372036854775809",
        ] {
            assert_eq!(parse_i64(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_set_in_parentheses_is_what_is_stored(
            data in prop::collection::vec(any::<u8>().prop_filter("line end", |&b| b != b'\n'), 0..50)
        ) {
            let line: Vec<u8> = [b"virgo_cloud_set(1f,", &data[..], b")"].concat();
            prop_assert_eq!(CommandLine::parse(&line).args(), Some([&b"1f"[..], &data[..]]));
        }

        #[test]
        fn any_line_is_taken(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = CommandLine::parse(&line).args::<3>();
        }
    }
}
