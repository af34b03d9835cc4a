// SPDX-License-Identifier: GPL-2.0
//! The kernel's lists of sockets.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The kernel's lists, of this network name space.
const LISTS: [&str; 4] = [
    "/proc/net/tcp",
    "/proc/net/tcp6",
    "/proc/net/udp",
    "/proc/net/udp6",
];

/// A line of the kernel's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListedSocket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// 0 of what is no socket of a program any more, or not yet.
    pub(super) inode: u64,
}

/// All that the kernel lists. A list that is not there (no IPv6) has nothing.
pub(super) fn listed() -> Vec<ListedSocket> {
    let text = |path: &&str| fs::read_to_string(path).unwrap_or_default();
    LISTS
        .iter()
        .map(text)
        .flat_map(|text| parse(&text))
        .collect()
}

fn parse(text: &str) -> Vec<ListedSocket> {
    text.lines().skip(1).filter_map(line).collect()
}

fn line(line: &str) -> Option<ListedSocket> {
    let words: Vec<_> = line.split_whitespace().collect();
    Some(ListedSocket {
        local: end(words.get(1)?)?,
        remote: end(words.get(2)?)?,
        inode: words.get(9)?.parse().ok()?,
    })
}

/// An address is words of 32 bits, each in the machine's order.
fn end(word: &str) -> Option<SocketAddr> {
    let (address, port) = word.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let group = |at: usize| {
        let digits = address.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(group(0)?)),
        32 => {
            let groups = [group(0)?, group(8)?, group(16)?, group(24)?];
            let mut bytes = [0; 16];
            bytes.copy_from_slice(groups.as_flattened());
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    // An address of IPv4 in one of IPv6 is one of IPv4, as people write it.
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 20 4 30 10 -1\n\
            1: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0\n\
            broken\n";
        let [first, second] = parse(text)[..] else {
            panic!("{:?}", parse(text));
        };
        assert_eq!(first.local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(first.remote, "127.0.0.2:50000".parse().unwrap());
        assert_eq!(first.inode, 4711);
        assert_eq!(second.local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(second.remote, "[::]:0".parse().unwrap());
    }
}
