// SPDX-License-Identifier: GPL-2.0
//! The configuration in force.

use super::format::{FormatError, lines, number};
use std::{net::Ipv4Addr, str::FromStr};

/// The configuration in force, from the files `/etc/virgo_cloud.conf` and
/// `/etc/virgo_client.conf` as they were when they were last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Config {
    /// The number of this node.
    pub me: u8,
    /// All nodes, by number.
    pub nodes: Vec<NodeAddress>,
    /// Everything else that is said: key and value, in order.
    pub settings: Vec<(String, String)>,
    /// Where and why the last reload was not taken: `file:line: reason`.
    pub rejected: Option<String>,
}

/// A node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NodeAddress {
    /// Its number, from 1.
    pub number: u8,
    /// Its address.
    pub address: Ipv4Addr,
}

impl FromStr for Config {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut config = Self::default();
        lines(text, |words| {
            match words {
                ["self", me] => config.me = number(me)?,
                ["node", node, address] => config.nodes.push(NodeAddress {
                    number: number(node)?,
                    address: address.parse().map_err(|_| "expected an IPv4 address")?,
                }),
                ["rejected", why @ ..] => config.rejected = Some(why.join(" ")),
                [key, value @ ..] => {
                    let setting = ((*key).to_owned(), value.join(" "));
                    config.settings.push(setting);
                }
                [] => (),
            }
            Ok(())
        })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_the_module_writes_it() {
        let text = "self 2\nnode 1 10.9.0.1\nnode 2 10.9.0.2\nauth key\nremote_text yes\n\
            rejected /etc/virgo_cloud.conf:3: unknown key\n";
        let node = |number| NodeAddress {
            number,
            address: Ipv4Addr::new(10, 9, 0, number),
        };
        let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = Config {
            me: 2,
            nodes: vec![node(1), node(2)],
            settings: vec![setting("auth", "key"), setting("remote_text", "yes")],
            rejected: Some("/etc/virgo_cloud.conf:3: unknown key".to_owned()),
        };
        assert_eq!(text.parse(), Ok(expected));
    }

    #[test]
    fn a_bad_address_is_found() {
        let error = "self 1\nnode 1 10.9.0\n".parse::<Config>().unwrap_err();
        assert_eq!(error.to_string(), "line 2: expected an IPv4 address");
    }
}
