// SPDX-License-Identifier: GPL-2.0
//! Giving what was learnt to nodes that fetch it: the stream of kernel analytics.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::Duration,
};
use virgo_proto::analytics::STREAM_START;

/// How long a node may take to say it, and to take what is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nodes at a time; further ones are sent away.
const MAX_NODES: usize = 64;

/// Serves the stream.
pub struct Server {
    listener: TcpListener,
    nodes: Vec<TcpStream>,
}

impl Server {
    /// Listens at `address`.
    ///
    /// # Errors
    ///
    /// The address is not to be had.
    pub fn new(address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            nodes: Vec::new(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Sends a line to all nodes that have come. Those that do not take it are sent away.
    ///
    /// # Errors
    ///
    /// Those of accepting.
    pub fn send(&mut self, line: &str) -> io::Result<usize> {
        loop {
            match self.listener.accept() {
                Ok((node, _)) if self.nodes.len() < MAX_NODES => {
                    if greet(&node).is_ok() {
                        self.nodes.push(node);
                    }
                }
                Ok(_) => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let line = format!("{line}\n");
        self.nodes
            .retain_mut(|node| node.write_all(line.as_bytes()).is_ok());
        Ok(self.nodes.len())
    }
}

fn greet(mut node: &TcpStream) -> io::Result<()> {
    node.set_nonblocking(false)?;
    node.set_read_timeout(Some(PATIENCE))?;
    node.set_write_timeout(Some(PATIENCE))?;
    let mut said = vec![0; STREAM_START.len()];
    node.read_exact(&mut said)?;
    match said == STREAM_START {
        true => Ok(()),
        false => Err(ErrorKind::InvalidData.into()),
    }
}
