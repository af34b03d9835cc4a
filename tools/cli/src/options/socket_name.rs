// SPDX-License-Identifier: GPL-2.0
//! How people name sockets.

use std::{fmt, net::SocketAddr, str::FromStr};

/// A socket, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketName {
    Inode(u64),
    /// Either end.
    Address(SocketAddr),
}

impl SocketName {
    /// Whether a socket has this name.
    pub(crate) fn is_of(self, inode: u64, ends: [Option<SocketAddr>; 2]) -> bool {
        match self {
            Self::Inode(number) => number == inode,
            Self::Address(address) => ends.contains(&Some(address)),
        }
    }
}

impl FromStr for SocketName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected an inode, or ADDRESS:PORT such as 10.9.0.1:80 or [::1]:80";
        let inode = text.parse().ok().filter(|&inode| inode != 0);
        if let Some(inode) = inode {
            return Ok(Self::Inode(inode));
        }
        let address: SocketAddr = text.parse().map_err(|_| EXPECTED)?;
        Ok(Self::Address(SocketAddr::new(
            address.ip().to_canonical(),
            address.port(),
        )))
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inode(inode) => write!(f, "with inode {inode}"),
            Self::Address(address) => write!(f, "at {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_inodes_or_addresses() {
        assert_eq!("17".parse(), Ok(SocketName::Inode(17)));
        let at = |text: &str| SocketName::Address(text.parse().unwrap());
        assert_eq!("10.9.0.1:80".parse(), Ok(at("10.9.0.1:80")));
        assert_eq!("[::ffff:10.9.0.1]:80".parse(), Ok(at("10.9.0.1:80")));
        for text in [
            "",
            "0",
            "-1",
            "10.9.0.1",
            "host:80",
            ":80",
            "1.2.3.4:x",
            "99999999999999999999",
        ] {
            assert!(text.parse::<SocketName>().is_err(), "{text}");
        }
    }

    #[test]
    fn either_end_will_do() {
        let [a, b, c] = ["1.1.1.1:1", "2.2.2.2:2", "3.3.3.3:3"].map(|text| text.parse().unwrap());
        let ends = [Some(a), Some(b)];
        assert!(SocketName::Address(a).is_of(7, ends) && SocketName::Address(b).is_of(7, ends));
        assert!(!SocketName::Address(c).is_of(7, ends) && !SocketName::Inode(8).is_of(7, ends));
        assert!(SocketName::Inode(7).is_of(7, [None, None]));
    }
}
