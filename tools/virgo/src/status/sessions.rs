// SPDX-License-Identifier: GPL-2.0
//! Who is connected to a service.

use super::format::{FormatError, lines, number};
use std::{net::SocketAddrV4, str::FromStr};

/// The sessions of a service of this node, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Sessions {
    /// They.
    pub sessions: Vec<SessionStatus>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SessionStatus {
    /// Its number, by which it can be ended.
    pub number: u64,
    /// `text`, `node`, or `unproven` before it has proven who it is.
    pub kind: String,
    /// Where it comes from.
    pub from: SocketAddrV4,
    /// The uid that a text session acts as, or the number of a node.
    pub who: Option<u32>,
    /// How old it is, in seconds.
    pub age_s: u64,
}

impl FromStr for Sessions {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut sessions = Vec::new();
        lines(text, |words| {
            let [session, kind, from, who, age_s, ..] = *words else {
                return Err("expected five fields");
            };
            sessions.push(SessionStatus {
                number: number(session)?,
                kind: kind.to_owned(),
                from: from.parse().map_err(|_| "expected an address and a port")?,
                who: match who {
                    "-" => None,
                    who => Some(number(who)?),
                },
                age_s: number(age_s)?,
            });
            Ok(())
        })?;
        Ok(Self { sessions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_read_as_the_module_writes_them() {
        let text = "# session kind from who age_s\n3 node 10.9.0.2:41000 2 100\n\
            7 text 127.0.0.1:33000 65534 5\n8 unproven 10.9.0.9:1 - 0\n";
        let sessions = text.parse::<Sessions>().unwrap().sessions;
        let expected = SessionStatus {
            number: 3,
            kind: "node".to_owned(),
            from: "10.9.0.2:41000".parse().unwrap(),
            who: Some(2),
            age_s: 100,
        };
        assert_eq!(sessions[0], expected);
        assert_eq!((sessions[1].who, sessions[2].who), (Some(65534), None));
    }

    #[test]
    fn an_address_without_port_is_found() {
        let error = "1 node 10.9.0.2 2 0\n".parse::<Sessions>().unwrap_err();
        assert_eq!(error.to_string(), "line 1: expected an address and a port");
    }
}
