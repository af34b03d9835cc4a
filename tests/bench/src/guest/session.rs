// SPDX-License-Identifier: GPL-2.0
//! A connection on which every request is answered by a number of bytes that is known.

use crate::measure;
use anyhow::{Result, ensure};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

/// The connection.
pub struct Session(TcpStream);

impl Session {
    pub fn new(address: &str, port: u16) -> Result<Self> {
        let stream = TcpStream::connect((address, port))?;
        stream.set_nodelay(true)?;
        Ok(Session(stream))
    }

    pub fn ask(&mut self, request: &[u8], reply: &mut [u8]) -> Result<()> {
        self.0.write_all(request)?;
        Ok(self.0.read_exact(reply)?)
    }

    /// Asks, and compares the reply.
    pub fn check(&mut self, request: &[u8], expected: &[u8]) -> Result<()> {
        let mut reply = vec![0; expected.len()];
        self.ask(request, &mut reply)?;
        ensure!(
            reply == expected,
            "{:?}: {:?}",
            String::from_utf8_lossy(request),
            String::from_utf8_lossy(&reply)
        );
        Ok(())
    }

    /// Times the request. The reply is compared before and after.
    pub fn measure(&mut self, name: &str, request: &[u8], expected: &[u8]) -> Result<()> {
        self.check(request, expected)?;
        let mut reply = vec![0; expected.len()];
        measure(name, || self.ask(request, &mut reply))?;
        self.check(request, expected)
    }
}
