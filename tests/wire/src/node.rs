// SPDX-License-Identifier: GPL-2.0

//! The node under test, and who we are to it.

use std::{
    env, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// The memory pool's port.
pub(crate) const MEMPOOL: u16 = 30000;

/// The processor pool's port.
pub(crate) const CPUPOOLING: u16 = 10000;

/// The file service's port.
pub(crate) const CLOUDFS: u16 = 50000;

/// The queue's port.
pub(crate) const QUEUE: u16 = 60000;

/// The sample service's port: it repeats what it is told.
pub(crate) const ECHO: u16 = 7007;

/// How long an answer may take: long, since the node may run on an emulated processor with a
/// kernel that checks itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const CONFIG: &str = "/sys/kernel/debug/virgo/config";

/// The node under test.
pub(crate) struct Node {
    address: IpAddr,
    /// The cluster's key.
    pub(crate) key: Vec<u8>,
    /// A key that opens text sessions.
    pub(crate) text_key: Vec<u8>,
    /// The number of the node that we speak for.
    pub(crate) own: u16,
}

impl Node {
    /// The node that the environment names.
    pub(crate) fn from_env() -> Result<Self, String> {
        let address = match env::var("VIRGO_TARGET") {
            Ok(text) => text
                .parse()
                .map_err(|e| format!("VIRGO_TARGET={text}: {e}; expected an IP address"))?,
            Err(_) => Ipv4Addr::LOCALHOST.into(),
        };
        let key = key_file("VIRGO_KEY_FILE", "/etc/virgo.key")?;
        let text_key = key_file("VIRGO_TEXT_KEY_FILE", "/etc/virgo_text.key")?;
        let own = match env::var("VIRGO_NODE") {
            Ok(text) => text
                .parse()
                .map_err(|e| format!("VIRGO_NODE={text}: {e}; expected a node's number"))?,
            Err(_) => own_number()?,
        };
        Ok(Node {
            address,
            key,
            text_key,
            own,
        })
    }

    /// A connection on which nothing takes longer than [`PATIENCE`].
    pub(crate) fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let to = SocketAddr::new(self.address, port);
        let stream = TcpStream::connect_timeout(&to, PATIENCE)
            .map_err(|e| io::Error::new(e.kind(), format!("connecting to {to}: {e}")))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The key in the file that the environment names.
fn key_file(variable: &str, usual: &str) -> Result<Vec<u8>, String> {
    let path = env::var(variable).unwrap_or(usual.into());
    let key = fs::read(&path)
        .map_err(|e| format!("{path}: {e}; {variable} names the file with the key"))?;
    Ok(key.trim_ascii().to_vec())
}

fn own_number() -> Result<u16, String> {
    let hint = "VIRGO_NODE=NUMBER says which node this is";
    let config = fs::read_to_string(CONFIG).map_err(|e| format!("{CONFIG}: {e}; {hint}"))?;
    let mut lines = config.lines();
    let own = lines.find_map(|line| line.strip_prefix("self ")?.parse().ok());
    own.ok_or(format!("{CONFIG}: no line 'self NUMBER'; {hint}"))
}
