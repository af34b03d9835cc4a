// SPDX-License-Identifier: GPL-2.0
//! The command line: values that several commands take.

use std::time::Duration;
use virgo_proto::config::MAX_DEADLINE_MS;

/// How long a system call may take.
pub(super) fn deadline(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match u32::try_from(time.as_millis()) {
        Ok(0..=MAX_DEADLINE_MS) => Ok(time),
        _ => Err("at most 300s".to_owned()),
    }
}

/// Bytes.
pub(super) fn size(text: &str) -> Result<u64, &'static str> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|_| "expected a number of bytes, perhaps with K, M or G behind it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("0", 0), ("100", 100), ("64K", 65536), ("1.5M", 1572864)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("2GiB"), Ok(2 << 30));
        for text in ["", "-1", "1X", "99999999999G"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }
}
