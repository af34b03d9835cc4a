// SPDX-License-Identifier: GPL-2.0

//! The configuration in force: what the files say, checked and completed.

use crate::node::Rejected;
use core::net::Ipv4Addr;
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::{
    crypto,
    file,
    net, //
};
use virgo_proto::{
    balance::Policy,
    config::{
        self,
        Item,
        Nodes, //
    },
    vuid::{
        CheckKey,
        NodeId, //
    }, //
};

const CLOUD: &str = "/etc/virgo_cloud.conf";
const CLIENT: &str = "/etc/virgo_client.conf";
const KEY: &str = "/etc/virgo.key";
const MAX_KEY: usize = 4096;
const MIN_KEY: usize = 16;

/// A configuration. Never changes; a reload makes another one.
pub struct Config {
    /// The nodes of the cluster.
    pub nodes: Nodes,
    /// Which of them this machine is.
    pub me: NodeId,
    /// Bit `n - 1` is set if this machine's programs use node `n`.
    pub used: u64,
    /// The shared key; `None` in a laboratory (`auth none`).
    pub key: Option<KVec<u8>>,
    /// Key of the check value in VUIDs.
    pub check: CheckKey,
    /// Whether text sessions may come from other machines.
    pub remote_text: bool,
    /// The uid that text sessions act as.
    pub text_uid: u32,
    /// Longest wait for another node, in milliseconds.
    pub deadline_ms: u32,
    /// Where allocations go.
    pub place: Policy,
}

/// What the files say, before it is completed.
struct Draft {
    nodes: Nodes,
    client_nodes: Nodes,
    own: Option<Ipv4Addr>,
    auth: bool,
    key_file: Result<CString>,
    remote_text: bool,
    text_uid: u32,
    deadline_ms: u32,
    place: Policy,
}

impl Config {
    /// Reads and checks the files. A missing file says nothing; without any file the machine is
    /// alone. May sleep.
    ///
    /// # Errors
    ///
    /// Which file was bad, where and why.
    pub(crate) fn read() -> Result<Self, Rejected> {
        let mut draft = Draft {
            nodes: Nodes::new(),
            client_nodes: Nodes::new(),
            own: None,
            auth: true,
            key_file: c_string(KEY),
            remote_text: false,
            text_uid: 65534,
            deadline_ms: 5000,
            place: Policy::Random,
        };
        read_file(CLOUD, |item| draft.cloud(item))?;
        read_file(CLIENT, |item| draft.client(item))?;
        draft.complete()
    }

    /// Says in the log what holds from now on.
    pub(crate) fn announce(&self) {
        pr_info!("node {} of {}\n", self.me, self.nodes.len());
        if self.key.is_none() {
            pr_warn!("auth none: everybody who reaches the ports may do everything\n");
        }
    }
}

impl Draft {
    fn cloud(&mut self, item: Item<'_>) -> Result<(), &'static str> {
        match item {
            Item::Node(address) => self.nodes.add(address)?,
            Item::SelfAddress(address) => self.own = Some(address),
            Item::Auth(auth) => self.auth = auth,
            Item::KeyFile(path) => self.key_file = c_string(path),
            Item::RemoteText(yes) => self.remote_text = yes,
            Item::TextUid(uid) => self.text_uid = uid,
            Item::DeadlineMs(ms) => self.deadline_ms = ms,
            Item::Place(place) => self.place = place,
            // For the services that serve them; checked here, so that a bad line is found early.
            Item::Export { .. } | Item::Executable(_) | Item::Library(_) => (),
        }
        Ok(())
    }

    fn client(&mut self, item: Item<'_>) -> Result<(), &'static str> {
        match item {
            Item::Node(address) => {
                if !self.nodes.is_empty() && self.nodes.number(address).is_none() {
                    return Err("a node that /etc/virgo_cloud.conf does not name");
                }
                self.client_nodes.add(address)?;
            }
            Item::SelfAddress(_) | Item::DeadlineMs(_) | Item::Place(_) => self.cloud(item)?,
            _ => return Err("this key belongs into /etc/virgo_cloud.conf"),
        }
        Ok(())
    }

    fn complete(mut self) -> Result<Config, Rejected> {
        if self.nodes.is_empty() {
            self.nodes = self.client_nodes;
        }
        if self.nodes.is_empty() {
            // A machine alone.
            let added = self.nodes.add(Ipv4Addr::LOCALHOST);
            added.map_err(|reason| Rejected::new(CLOUD, 0, reason))?;
        }
        if self.client_nodes.is_empty() {
            self.client_nodes = self.nodes;
        }
        let me = match self.own {
            Some(own) => self.nodes.number(own).ok_or("self: not among the nodes"),
            None => {
                let mut own = self.nodes.iter().filter(|&(_, at)| net::is_local(at));
                own.next().map(|(id, _)| id).ok_or(
                    "no node has an address of this machine; say which is it: self = ADDRESS",
                )
            }
        }
        .map_err(|reason| Rejected::new(CLOUD, 0, reason))?;
        let used = self
            .client_nodes
            .iter()
            .filter_map(|(_, at)| self.nodes.number(at))
            .fold(0, |used, id| used | 1 << (id - 1));
        let key = match self.auth {
            true => Some(read_key(&self.key_file)?),
            false => None,
        };
        let mac = crypto::hmac_sha256(key.as_deref().unwrap_or(b"auth none"), b"virgo 1 vuid");
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = mac;
        Ok(Config {
            nodes: self.nodes,
            me,
            used,
            key,
            check: CheckKey([
                u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                u64::from_le_bytes([i, j, k, l, m, n, o, p]),
            ]),
            remote_text: self.remote_text,
            text_uid: self.text_uid,
            deadline_ms: self.deadline_ms,
            place: self.place,
        })
    }
}

fn c_string(path: &str) -> Result<CString> {
    CString::try_from_fmt(fmt!("{path}"))
}

fn read_file(
    path: &'static str,
    visit: impl FnMut(Item<'_>) -> Result<(), &'static str>,
) -> Result<(), Rejected> {
    let name = c_string(path).map_err(|_| Rejected::new(path, 0, "out of memory"))?;
    match file::read(&name, config::MAX_FILE) {
        Ok(contents) => config::parse(&contents.bytes, visit)
            .map_err(|fault| Rejected::new(path, fault.line, fault.reason)),
        Err(ENOENT) => Ok(()),
        Err(EFBIG) => Err(Rejected::new(path, 0, "longer than 64 KiB")),
        Err(_) => Err(Rejected::new(path, 0, "cannot be read")),
    }
}

/// The key: the file's bytes without white space round them. Nobody but root may be able to read
/// the file.
fn read_key(path: &Result<CString>) -> Result<KVec<u8>, Rejected> {
    let fail = |reason| Rejected::new("key file", 0, reason);
    let path = path.as_ref().map_err(|_| fail("out of memory"))?;
    let contents = file::read(path, MAX_KEY).map_err(|e| {
        fail(match e {
            ENOENT => "does not exist; make one, or say 'auth = none' for a laboratory",
            EFBIG => "longer than 4096 bytes",
            _ => "cannot be read",
        })
    })?;
    if contents.uid != 0 || contents.mode & 0o077 != 0 {
        return Err(fail("must be root's, with mode 0600"));
    }
    let secret = contents.bytes.trim_ascii();
    if secret.len() < MIN_KEY {
        return Err(fail("shorter than 16 bytes"));
    }
    let mut key = KVec::new();
    key.extend_from_slice(secret, GFP_KERNEL)
        .map_err(|_| fail("out of memory"))?;
    Ok(key)
}
