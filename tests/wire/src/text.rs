// SPDX-License-Identifier: GPL-2.0

//! A text session.

use crate::{node::Node, wire::Wire};
use std::{collections::HashMap, io};

/// A text session.
pub(crate) struct Text {
    pub(crate) wire: Wire,
    /// Arrived, but not asked for yet.
    input: Vec<u8>,
}

impl Text {
    /// A session that has not said `auth`.
    pub(crate) fn stranger(node: &Node, port: u16) -> io::Result<Self> {
        Ok(Text {
            wire: Wire(node.connect(port)?),
            input: Vec::new(),
        })
    }

    /// A session that may do everything.
    pub(crate) fn open(node: &Node, port: u16) -> io::Result<Self> {
        let mut text = Self::stranger(node, port)?;
        let reply = text.ask([b"auth ", &node.text_key[..]].concat())?;
        assert_eq!(reply, "OK", "reply to auth");
        Ok(text)
    }

    /// Sends `command` as a line and returns the reply.
    pub(crate) fn ask_bytes(&mut self, command: impl AsRef<[u8]>) -> io::Result<Vec<u8>> {
        let command = command.as_ref();
        self.wire.send(&[command, b"\n"].concat())?;
        self.line().map_err(|e| {
            let start = command.get(..60).unwrap_or(command);
            let text = format!("reply to '{}': {e}", start.escape_ascii());
            io::Error::new(e.kind(), text)
        })
    }

    /// Sends `command` as a line and returns the reply, which must be UTF-8.
    pub(crate) fn ask(&mut self, command: impl AsRef<[u8]>) -> io::Result<String> {
        String::from_utf8(self.ask_bytes(command)?).map_err(io::Error::other)
    }

    /// Sends `command` and checks that it fails with `errno` and a reason.
    pub(crate) fn ask_in_vain(&mut self, command: impl AsRef<[u8]>, errno: &str) -> io::Result<()> {
        let command = command.as_ref();
        let reply = self.ask(command)?;
        let reason = reply.strip_prefix(&format!("ERR {errno} "));
        assert!(
            reason.is_some_and(|reason| !reason.is_empty()),
            "reply to '{}' is '{reply}', expected ERR {errno} with a reason",
            command.escape_ascii()
        );
        Ok(())
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut scanned = 0;
        loop {
            let fresh = &self.input[scanned..];
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=scanned + at).collect();
                line.pop();
                return Ok(line);
            }
            scanned = self.input.len();
            self.more()?;
        }
    }

    /// The numbers that `stats` shows.
    pub(crate) fn stats(&mut self) -> io::Result<HashMap<String, u64>> {
        let reply = self.ask("stats")?;
        let fields = reply.split(' ').map(|field| {
            let (name, value) = field.split_once('=')?;
            Some((name.to_string(), value.parse().ok()?))
        });
        let fields: Option<_> = fields.collect();
        fields.ok_or_else(|| io::Error::other(format!("stats are not name=number: '{reply}'")))
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        match io::Read::read(&mut self.wire.0, &mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.input.extend_from_slice(&piece[..n]);
                Ok(())
            }
        }
    }
}
