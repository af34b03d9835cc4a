// SPDX-License-Identifier: GPL-2.0

//! Who may have a session, and as whom.

use crate::{
    config::Config,
    key::KeyId, //
};
use core::net::Ipv4Addr;
use linux::crypto;
use virgo_proto::vuid::NodeId;

/// Whom a session belongs to, and what opened it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// Who it is.
    pub identity: Identity,
    /// The key that was proven or given; `None` if there was none (`auth = none`).
    pub key: Option<KeyId>,
}

/// Who a session is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A node, in frames.
    Node(NodeId),
    /// Somebody who types commands, and acts as this uid.
    Text(u32),
}

impl Config {
    /// The party that node `number` is once it has proven the cluster's key.
    pub fn node_party(&self, number: NodeId) -> Party {
        Party {
            identity: Identity::Node(number),
            key: self.key.as_ref().map(|key| key.id),
        }
    }

    /// Whether text sessions may come from `from` at all.
    pub fn takes_text_from(&self, from: Ipv4Addr) -> bool {
        self.remote_text || from.is_loopback()
    }

    /// The party that a text session is which gives no key; `None` if it has to.
    pub fn party_without_key(&self) -> Option<Party> {
        let party = Party {
            identity: Identity::Text(self.text_uid),
            key: None,
        };
        self.key.is_none().then_some(party)
    }

    /// The party that a text session from `from` is which gives `secret`; `None` if that opens
    /// nothing. Takes a time that does not depend on the keys.
    pub fn text_party(&self, from: Ipv4Addr, secret: &[u8]) -> Option<Party> {
        // The cluster's key makes a node: it is not taken from a wire, where it has crossed in clear.
        let shared = self.key.iter().filter(|_| from.is_loopback());
        let shared = shared.map(|key| (self.text_uid, key));
        let own = self.text_keys.iter().map(|own| (own.uid, &own.key));
        let mut found = None;
        for (uid, key) in shared.chain(own) {
            if crypto::equal(secret, key) {
                found = Some(Party {
                    identity: Identity::Text(uid),
                    key: Some(key.id),
                });
            }
        }
        found
    }

    /// Whether this configuration would let `party` in, with the same rights, if it came from `from`
    /// now.
    pub fn admits(&self, from: Ipv4Addr, party: &Party) -> bool {
        let is_shared = self.key.as_ref().map(|key| key.id) == party.key;
        match party.identity {
            Identity::Node(number) => {
                self.nodes.address(number) == Some(from) && (is_shared || self.key.is_none())
            }
            Identity::Text(_) if !self.takes_text_from(from) => false,
            Identity::Text(uid) if is_shared && (from.is_loopback() || self.key.is_none()) => {
                uid == self.text_uid
            }
            Identity::Text(uid) => self
                .text_keys
                .iter()
                .any(|own| own.uid == uid && Some(own.key.id) == party.key),
        }
    }
}
