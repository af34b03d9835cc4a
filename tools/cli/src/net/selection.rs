// SPDX-License-Identifier: GPL-2.0
//! Which sockets are looked at.

use super::{
    error::NetError,
    listed::{self, ListedSocket},
    process::{self, ProcessSocket},
};
use crate::{doctor::PORTS, options::SocketName};
use serde::Serialize;
use virgo::sockets::{SocketInfo, SocketReader};

/// The port where the stream of variables comes from.
const STREAM_PORT: u16 = 64000;

/// Sockets to look at, any number of times.
pub(super) struct Selection {
    reader: SocketReader,
    /// Names of VIRGO's own; `None`: all.
    own: Option<Vec<SocketName>>,
    others: Vec<ProcessSocket>,
}

/// A socket, and whose it is.
#[derive(Serialize)]
pub(super) struct LookedAt {
    /// Of VIRGO's own: the service.
    pub(super) service: Option<&'static str>,
    /// Of VIRGO's own: `listener`, `datagrams`, `session` (somebody has connected), `link` (to another
    /// node), `other`.
    pub(super) role: Option<&'static str>,
    /// Of others: the program.
    pub(super) program: Option<String>,
    /// Of others: its process.
    pub(super) pid: Option<u32>,
    #[serde(flatten)]
    pub(super) socket: SocketInfo,
}

/// What was seen at once.
pub(super) struct Look {
    pub(super) sockets: Vec<LookedAt>,
    /// Inodes of those that are closed since the last look.
    pub(super) closed: Vec<u64>,
}

impl Selection {
    /// Finds the sockets with these names, or without names VIRGO's own, and says which are not found.
    pub(super) fn find(
        reader: SocketReader,
        names: &[SocketName],
    ) -> Result<(Self, Vec<NetError>), NetError> {
        if names.is_empty() {
            let selection = Selection {
                reader,
                own: None,
                others: Vec::new(),
            };
            return Ok((selection, Vec::new()));
        }
        let own = own(&reader)?;
        let listed = listed::listed();
        let is_own = |inode| own.iter().any(|socket| socket.inode == inode);
        let (mut wanted, mut own_names, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for &name in names {
            let has_own = own.iter().any(|socket| is(name, socket));
            if has_own {
                own_names.push(name);
            }
            let before = wanted.len();
            match name {
                SocketName::Inode(inode) if !has_own => wanted.push((name, inode)),
                SocketName::Inode(_) => (),
                SocketName::Address(_) => {
                    let named = listed
                        .iter()
                        .filter(|at| name.is_of(at.inode, [Some(at.local), Some(at.remote)]))
                        .filter(|at| !is_own(at.inode));
                    // What has no inode is closing or was not accepted: it counts if there is nothing else.
                    let (open, not): (Vec<&ListedSocket>, Vec<_>) =
                        named.partition(|at| at.inode != 0);
                    wanted.extend(open.iter().map(|at| (name, at.inode)));
                    if open.is_empty() && !has_own && !not.is_empty() {
                        wanted.push((name, 0));
                    }
                }
            }
            if !has_own && wanted.len() == before {
                missing.push(NetError::Unknown(name));
            }
        }
        let inodes: Vec<_> = wanted.iter().map(|&(_, inode)| inode).collect();
        let places = process::places(&inodes);
        let mut others: Vec<ProcessSocket> = Vec::new();
        for (name, inode) in wanted {
            if others.iter().any(|other| other.inode == inode) {
                continue;
            }
            let opened = match places.get(&inode) {
                Some(place) => ProcessSocket::open(inode, place)?,
                None => None,
            };
            let is_listed = listed.iter().any(|at| at.inode == inode);
            match opened {
                Some(socket) => others.push(socket),
                None if is_listed => missing.push(NetError::NoProcess { name, inode }),
                None => missing.push(NetError::Unknown(name)),
            }
        }
        let selection = Selection {
            reader,
            own: Some(own_names),
            others,
        };
        Ok((selection, missing))
    }

    /// Whether nothing is left to look at.
    pub(super) fn is_empty(&self) -> bool {
        self.others.is_empty() && self.own.as_ref().is_some_and(Vec::is_empty)
    }

    /// Looks at all of them, each at its own moment. Those that are closed are left out from then on.
    pub(super) fn look(&mut self) -> Result<Look, NetError> {
        let mut sockets = Vec::new();
        let is_named = |socket: &SocketInfo| match &self.own {
            None => true,
            Some(names) => names.iter().any(|&name| is(name, socket)),
        };
        if !self.own.as_ref().is_some_and(Vec::is_empty) {
            let named = own(&self.reader)?.into_iter().filter(is_named);
            sockets.extend(named.map(|socket| LookedAt {
                service: service(&socket),
                role: Some(role(&socket)),
                program: None,
                pid: None,
                socket,
            }));
            // What was named and is closed does not come again.
            if let Some(names) = &mut self.own {
                names.retain(|&name| sockets.iter().any(|at| is(name, &at.socket)));
            }
        }
        let mut closed = Vec::new();
        for other in std::mem::take(&mut self.others) {
            match other.look(&self.reader)? {
                Some(socket) => {
                    sockets.push(LookedAt {
                        service: None,
                        role: None,
                        program: Some(other.program.clone()),
                        pid: Some(other.pid),
                        socket,
                    });
                    self.others.push(other);
                }
                None => closed.push(other.inode),
            }
        }
        Ok(Look { sockets, closed })
    }
}

fn own(reader: &SocketReader) -> Result<Vec<SocketInfo>, NetError> {
    reader
        .own()
        .collect::<Result<_, _>>()
        .map_err(NetError::Read)
}

fn is(name: SocketName, socket: &SocketInfo) -> bool {
    name.is_of(socket.inode, [socket.local, socket.remote])
}

fn service_at(port: Option<u16>) -> Option<&'static str> {
    let port = port?;
    if port == STREAM_PORT {
        return Some("kernel_analytics");
    }
    PORTS
        .iter()
        .find(|&&(_, at)| at == port)
        .map(|&(service, _)| service)
}

/// Services are told by their ports.
fn service(socket: &SocketInfo) -> Option<&'static str> {
    let [local, remote] = [socket.local, socket.remote].map(|end| end.map(|end| end.port()));
    service_at(local).or(service_at(remote))
}

fn role(socket: &SocketInfo) -> &'static str {
    let [local, remote] =
        [socket.local, socket.remote].map(|end| service_at(end.map(|end| end.port())).is_some());
    match (socket.protocol.as_str(), socket.state) {
        ("udp", _) => "datagrams",
        (_, "listen") => "listener",
        _ if local => "session",
        _ if remote => "link",
        _ => "other",
    }
}
