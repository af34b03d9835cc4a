// SPDX-License-Identifier: GPL-2.0

//! Entries of directories.

use super::wire::StatReply;
use zerocopy::little_endian::U64;
use zerocopy::FromBytes as _;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Fewest bytes of entries that can be asked for: the longest entry fits.
pub const MIN_ENTRIES: usize = 512;

/// An entry of a directory; the name follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct NameEntry {
    /// Number of the inode.
    pub ino: U64,
    /// DT_* of readdir(3).
    pub kind: u8,
    /// Bytes of the name.
    pub len: u8,
}

/// An entry with what is known of it; the name follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct StatEntry {
    /// Of a symbolic link itself. The mode is 0 if nothing is known.
    pub stat: StatReply,
    /// DT_* of readdir(3).
    pub kind: u8,
    /// Bytes of the name.
    pub len: u8,
}

/// Whether all of `bytes` are [`NameEntry`]s, or [`StatEntry`]s if they are to be `with_stat`, with names of
/// files of one directory. Users put such a name behind that of the directory: one with a slash, or
/// `..`, would lead them elsewhere.
pub fn are_entries(mut bytes: &[u8], with_stat: bool) -> bool {
    while !bytes.is_empty() {
        let whole = match with_stat {
            false => NameEntry::read_from_prefix(bytes)
                .ok()
                .and_then(|(entry, rest)| rest.split_at_checked(entry.len.into())),
            true => StatEntry::read_from_prefix(bytes)
                .ok()
                .and_then(|(entry, rest)| rest.split_at_checked(entry.len.into())),
        };
        let Some((name, rest)) = whole else {
            return false;
        };
        if !is_entry_name(name) {
            return false;
        }
        bytes = rest;
    }
    true
}

/// Whether `name` can be that of an entry of a directory.
pub fn is_entry_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use zerocopy::IntoBytes as _;

    fn entry(name: &[u8], with_stat: bool) -> vec::Vec<u8> {
        let (kind, len) = (8, name.len() as u8);
        let mut bytes = vec::Vec::new();
        match with_stat {
            false => bytes.extend_from_slice(
                NameEntry {
                    ino: 7.into(),
                    kind,
                    len,
                }
                .as_bytes(),
            ),
            true => {
                let stat = StatReply::default();
                bytes.extend_from_slice(StatEntry { stat, kind, len }.as_bytes());
            }
        }
        bytes.extend_from_slice(name);
        bytes
    }

    #[test]
    fn names_that_lead_out_of_a_directory_are_no_entries() {
        for with_stat in [false, true] {
            let good = entry(b"a", with_stat);
            assert!(are_entries(&good, with_stat));
            assert!(are_entries(b"", with_stat));
            assert!(!are_entries(&good[..good.len() - 1], with_stat));
            for bad in [&b""[..], b".", b"..", b"/", b"../x", b"a/b", b"a\0"] {
                let both = [&good[..], &entry(bad, with_stat)].concat();
                assert!(!are_entries(&both, with_stat), "{bad:?}");
            }
            for odd in [&b"..."[..], b".a", b"\xff\n", &[b'x'; 255]] {
                assert!(are_entries(&entry(odd, with_stat), with_stat), "{odd:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_entries_or_not(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            with_stat in any::<bool>(),
        ) {
            let _ = are_entries(&bytes, with_stat);
        }
    }
}
