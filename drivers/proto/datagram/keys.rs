// SPDX-License-Identifier: GPL-2.0

//! The keys of a session's datagrams, derived from the handshake of its connection.
//!
//! HKDF-SHA256 (RFC 5869): the input is the key of the cluster, the salt both nonces; the information is a
//! label, the Hello and the Challenge as sent, so that the keys are good for one pair of nodes, one service
//! and one connection. Each direction has its own key: what a node has sent is not taken back by it.

use crate::handshake::{hello_bytes, Hello, HELLO_LEN, MAC_LEN};

/// Bytes of a key of SipHash.
pub const KEY_LEN: usize = 16;

const LABEL: &[u8] = b"virgo datagram 1";

const INFO_LEN: usize = LABEL.len() + 2 * HELLO_LEN;

/// What both ends of a connection derive from its handshake. Not copied: who has them wipes them.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct Keys {
    /// Of what the client sends.
    pub to_server: [u8; KEY_LEN],
    /// Of what the server sends.
    pub to_client: [u8; KEY_LEN],
    /// Names these keys in the datagrams. No secret.
    pub session: u32,
}

impl Keys {
    /// A place for keys, all 0.
    pub const fn none() -> Self {
        Keys {
            to_server: [0; KEY_LEN],
            to_client: [0; KEY_LEN],
            session: 0,
        }
    }

    /// Puts the keys of the connection here that began with `hello` and `challenge`, between nodes that know
    /// `key`. `hmac` is HMAC-SHA256 of data under a key; `wipe` overwrites what others may not find.
    pub fn derive(
        &mut self,
        hmac: impl Fn(&[u8], &[u8]) -> [u8; MAC_LEN],
        wipe: impl Fn(&mut [u8]),
        key: &[u8],
        hello: &Hello,
        challenge: &Hello,
    ) {
        let mut salt = [0; 32];
        let (client, server) = salt.split_at_mut(16);
        client.copy_from_slice(&hello.nonce);
        server.copy_from_slice(&challenge.nonce);
        let mut secret = hmac(&salt, key);

        // The first block is of the information and its number, the second also of the first block.
        let mut input = [0; MAC_LEN + INFO_LEN + 1];
        let info = [LABEL, hello_bytes(hello), hello_bytes(challenge), &[1]];
        let bytes = info.into_iter().flatten();
        for (to, from) in input.iter_mut().skip(MAC_LEN).zip(bytes) {
            *to = *from;
        }
        let (before, rest) = input.split_at_mut(MAC_LEN);
        let mut block = hmac(&secret, rest);
        before.copy_from_slice(&block);
        if let Some(number) = rest.last_mut() {
            *number = 2;
        }
        let mut more = hmac(&secret, &input);

        let (to_server, to_client) = block.split_at(KEY_LEN);
        self.to_server.copy_from_slice(to_server);
        self.to_client.copy_from_slice(to_client);
        let [a, b, c, d, ..] = more;
        self.session = u32::from_le_bytes([a, b, c, d]);
        wipe(&mut secret);
        wipe(&mut block);
        wipe(&mut input);
        wipe(&mut more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, Mac as _};
    use sha2::Sha256;

    fn hmac(key: &[u8], data: &[u8]) -> [u8; MAC_LEN] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(data);
        mac.finalize().into_bytes().into()
    }

    fn hello(node: u16, nonce: u8) -> Hello {
        Hello {
            node: node.into(),
            port: 30000.into(),
            features: 0.into(),
            boot: 9.into(),
            nonce: [nonce; 16],
        }
    }

    fn derive(key: &[u8], hello: &Hello, challenge: &Hello) -> Keys {
        let mut keys = Keys::none();
        keys.derive(hmac, |bytes| bytes.fill(0), key, hello, challenge);
        keys
    }

    #[test]
    fn keys_are_those_of_hkdf() {
        let (a, b) = (hello(1, 1), hello(2, 2));
        let keys = derive(b"secret", &a, &b);
        let mut salt = [1; 32];
        salt[16..].fill(2);
        let mut info = LABEL.to_vec();
        info.extend(hello_bytes(&a));
        info.extend(hello_bytes(&b));
        let secret = hmac(&salt, b"secret");
        let first = hmac(&secret, &[&info[..], &[1]].concat());
        let second = hmac(&secret, &[&first[..], &info, &[2]].concat());
        assert_eq!(keys.to_server, first[..16]);
        assert_eq!(keys.to_client, first[16..]);
        assert_eq!(keys.session.to_le_bytes(), second[..4]);
    }

    #[test]
    fn keys_differ_in_direction_node_nonce_and_secret() {
        let (a, b) = (hello(1, 1), hello(2, 2));
        let keys = derive(b"secret", &a, &b);
        assert_ne!(keys.to_server, keys.to_client);
        for other in [
            derive(b"Secret", &a, &b),
            derive(b"secret", &b, &a),
            derive(b"secret", &hello(1, 7), &b),
            derive(b"secret", &a, &hello(2, 7)),
            derive(b"secret", &hello(3, 1), &b),
        ] {
            assert_ne!(other.to_server, keys.to_server);
            assert_ne!(other.to_client, keys.to_client);
            assert_ne!(other.session, keys.session);
        }
    }
}
