// SPDX-License-Identifier: GPL-2.0
//! Giving what was learnt to nodes that fetch it: the stream of kernel analytics.
//!
//! Nothing here waits: a node that says nothing, or does not take what it is sent, costs a place until its
//! deadline, and delays nobody.

use crate::told::Told;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};
use virgo_proto::analytics::{MAX_STREAM_PAIRS, STREAM_START};

/// How long a node may take to say it, and to take all that waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connections at a time. If there are more, the one that has not said the word for longest goes.
const MAX_NODES: usize = 64;

/// Connections at a time from one address.
const MAX_OF_ADDRESS: usize = 8;

/// Connections that are accepted in a round.
const MAX_ACCEPTED: usize = 32;

/// Bytes that wait for a node.
const MAX_WAITING: usize = 4 << 20;

/// A connection.
struct Connection {
    stream: TcpStream,
    from: IpAddr,
    /// What it has said, until that is the word.
    said: Vec<u8>,
    /// It is a node that has said the word.
    is_open: bool,
    /// It has been sent something: all that was known then.
    is_fed: bool,
    waiting: Vec<u8>,
    /// By when it has to have said the word, or to have taken what waits, if anything does.
    deadline: Instant,
}

/// Serves the stream.
pub struct Server {
    listener: TcpListener,
    connections: Vec<Connection>,
    told: Told,
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
            connections: Vec::new(),
            told: Told::default(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Sends what differs from what was sent last to all nodes that have come, and to new ones all of it.
    /// Returns how many nodes there are.
    pub fn send(&mut self, pairs: Vec<(String, String)>) -> usize {
        self.poll();
        let differing = lines(&self.told.differing(pairs));
        let mut all = None;
        for node in self.connections.iter_mut().filter(|node| node.is_open) {
            let text = match std::mem::replace(&mut node.is_fed, true) {
                true => &differing,
                false => all.get_or_insert_with(|| lines(&self.told.all())),
            };
            node.put(text.as_bytes());
        }
        self.poll();
        self.connections.iter().filter(|node| node.is_open).count()
    }

    /// Accepts who has come, and goes on with what waits. Those who are too slow are sent away.
    pub fn poll(&mut self) {
        // An error of accepting is the peer's, or over in a while.
        let accepted = (0..MAX_ACCEPTED).map_while(|_| self.listener.accept().ok());
        for (stream, from) in accepted.collect::<Vec<_>>() {
            self.admit(stream, from.ip());
        }
        let now = Instant::now();
        self.connections
            .retain_mut(|connection| connection.go_on(now).is_ok());
    }

    fn admit(&mut self, stream: TcpStream, from: IpAddr) {
        let of_address = self.connections.iter().filter(|other| other.from == from);
        if of_address.count() >= MAX_OF_ADDRESS || stream.set_nonblocking(true).is_err() {
            return;
        }
        if self.connections.len() >= MAX_NODES {
            // They are in the order in which they came.
            match self.connections.iter().position(|other| !other.is_open) {
                Some(silent) => drop(self.connections.remove(silent)),
                None => return,
            }
        }
        self.connections.push(Connection {
            stream,
            from,
            said: Vec::new(),
            is_open: false,
            is_fed: false,
            waiting: Vec::new(),
            deadline: Instant::now() + PATIENCE,
        });
    }
}

impl Connection {
    /// Adds to what waits.
    fn put(&mut self, text: &[u8]) {
        if self.waiting.is_empty() {
            self.deadline = Instant::now() + PATIENCE;
        }
        self.waiting.extend_from_slice(text);
    }

    /// Takes what the peer has said, and sends what it takes.
    ///
    /// # Errors
    ///
    /// It is to go.
    fn go_on(&mut self, now: Instant) -> io::Result<()> {
        let mut piece = [0; 64];
        let room = match self.is_open {
            // What a node says after the word is of no interest, but its end is.
            true => piece.len(),
            false => STREAM_START.len() - self.said.len(),
        };
        match self.stream.read(&mut piece[..room.min(64)]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) if !self.is_open => self.said.extend_from_slice(&piece[..n]),
            Ok(_) => (),
            Err(error) if is_temporary(&error) => (),
            Err(error) => return Err(error),
        }
        if !self.is_open {
            if !STREAM_START.starts_with(&self.said) {
                return Err(ErrorKind::InvalidData.into());
            }
            if self.said.len() < STREAM_START.len() {
                return in_time(now <= self.deadline);
            }
            self.is_open = true;
        }
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => drop(self.waiting.drain(..n)),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        in_time(
            self.waiting.is_empty() || now <= self.deadline && self.waiting.len() <= MAX_WAITING,
        )
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn in_time(is_in_time: bool) -> io::Result<()> {
    match is_in_time {
        true => Ok(()),
        false => Err(ErrorKind::TimedOut.into()),
    }
}

/// Several lines: a node takes so many pairs in one.
fn lines(pairs: &[(String, String)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs
        .chunks(MAX_STREAM_PAIRS)
        .map(|some| some.join(",") + "\n")
        .collect()
}
