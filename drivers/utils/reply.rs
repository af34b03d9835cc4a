// SPDX-License-Identifier: GPL-2.0

//! Replies to text commands: one line each, plain or JSON.

use kernel::{
    alloc::AllocError,
    prelude::*,
    str::CString, //
};
use virgo_proto::{
    errno::Errno,
    json::{
        self,
        ByteSink, //
    },
    scan,
    vuid::NodeId, //
};

/// Why a command failed: for programs, and for people.
pub struct Failure {
    /// The error.
    pub errno: Errno,
    reason: Reason,
}

/// What is wrong and what to do.
enum Reason {
    /// In words of this module.
    Known(&'static str),
    /// In words that were put together, without control characters.
    Made(CString),
}

impl Failure {
    /// Of a line that is no command.
    pub const UNKNOWN: Failure = Failure::new(Errno::ENOSYS, "unknown command; try help");

    /// A failure with a reason of its own.
    pub const fn new(errno: Errno, reason: &'static str) -> Self {
        Failure {
            errno,
            reason: Reason::Known(reason),
        }
    }

    /// A failure whose reason was put together, and has no control characters.
    pub fn made(errno: Errno, reason: CString) -> Self {
        Failure {
            errno,
            reason: Reason::Made(reason),
        }
    }

    /// What node `node` has refused, for `reason`; one that a line cannot hold gives way to what
    /// the number means.
    pub fn of_node(node: NodeId, errno: Errno, reason: &[u8]) -> Self {
        let said = core::str::from_utf8(reason)
            .ok()
            .filter(|said| !said.is_empty() && !said.chars().any(char::is_control))
            .unwrap_or(errno.text());
        match CString::try_from_fmt(fmt!("node {node}: {said}")) {
            Ok(made) => Failure {
                errno,
                reason: Reason::Made(made),
            },
            Err(_) => errno.into(),
        }
    }

    /// What is wrong and what to do.
    fn reason(&self) -> &str {
        match &self.reason {
            Reason::Known(reason) => reason,
            Reason::Made(reason) => reason.to_str().unwrap_or_default(),
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::new(errno, errno.text())
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        to_wire(e).into()
    }
}

impl From<AllocError> for Failure {
    fn from(_: AllocError) -> Self {
        Errno::ENOMEM.into()
    }
}

/// A kernel error as it crosses the wire.
pub fn to_wire(e: Error) -> Errno {
    Errno::from_wire(e.to_errno().unsigned_abs())
}

/// An error from the wire as the kernel has it.
pub fn from_wire(status: u32) -> Error {
    // The numbers are Linux's, far below MAX_ERRNO.
    Error::from_errno(-(Errno::from_wire(status).to_wire() as c_int))
}

/// Bytes that wait to be sent.
pub(crate) struct OutgoingBytes<'a>(pub(crate) &'a mut KVVec<u8>);

impl ByteSink for OutgoingBytes<'_> {
    type Error = AllocError;

    fn put(&mut self, bytes: &[u8]) -> Result<(), AllocError> {
        self.0.extend_from_slice(bytes, GFP_KERNEL)
    }
}

/// A reply being written.
pub struct Reply<'a> {
    out: OutgoingBytes<'a>,
    start: usize,
    json: bool,
    empty: bool,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(out: &'a mut KVVec<u8>, json: bool) -> Self {
        Reply {
            start: out.len(),
            out: OutgoingBytes(out),
            json,
            empty: true,
        }
    }

    /// The result of the command, as it is. In JSON it is `result`, or `hex` if it is not UTF-8.
    ///
    /// # Errors
    ///
    /// `EILSEQ` if the bytes have line ends and the reply is not JSON; `ENOMEM`.
    pub fn text(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if !self.json {
            self.empty = false;
            if scan::find(bytes, [b'\n', b'\r']).is_some() {
                return Err(Failure::new(
                    Errno::EILSEQ,
                    "the data has line ends; say 'json on' to see it",
                ));
            }
            return Ok(self.out.put(bytes)?);
        }
        self.separator()?;
        match core::str::from_utf8(bytes) {
            Ok(text) => {
                self.out.put(b"\"result\":")?;
                Ok(json::string(&mut self.out, text)?)
            }
            Err(_) => {
                self.out.put(b"\"hex\":")?;
                Ok(json::hex_string(&mut self.out, bytes)?)
            }
        }
    }

    /// A named number.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn field(&mut self, name: &str, value: u64) -> Result<(), Failure> {
        self.name(name)?;
        Ok(self.out.put(Decimal::new(value).digits())?)
    }

    fn name(&mut self, name: &str) -> Result<(), AllocError> {
        self.separator()?;
        if self.json {
            json::string(&mut self.out, name)?;
            self.out.put(b":")
        } else {
            self.out.put(name.as_bytes())?;
            self.out.put(b"=")
        }
    }

    /// A named number that may be negative.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn signed(&mut self, name: &str, value: i64) -> Result<(), Failure> {
        self.name(name)?;
        if value < 0 {
            self.out.put(b"-")?;
        }
        Ok(self.out.put(Decimal::new(value.unsigned_abs()).digits())?)
    }

    /// Named bytes: a JSON string in quotes, or `NAME_hex` and digits if they are not UTF-8.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn bytes(&mut self, name: &str, value: &[u8]) -> Result<(), Failure> {
        match core::str::from_utf8(value) {
            Ok(text) => {
                self.name(name)?;
                Ok(json::string(&mut self.out, text)?)
            }
            Err(_) => {
                self.separator()?;
                let (before, after) = if self.json {
                    ("\"", "_hex\":")
                } else {
                    ("", "_hex=")
                };
                for part in [before, name, after] {
                    self.out.put(part.as_bytes())?;
                }
                Ok(json::hex_string(&mut self.out, value)?)
            }
        }
    }

    fn separator(&mut self) -> Result<(), AllocError> {
        let separator: &[u8] = match (self.json, self.empty) {
            (true, true) => b"{\"ok\":true,",
            (true, false) => b",",
            (false, true) => b"",
            (false, false) => b" ",
        };
        self.empty = false;
        self.out.put(separator)
    }

    /// Ends the line. A failure replaces what was written.
    pub(crate) fn end(mut self, result: Result<(), Failure>) -> Result<(), AllocError> {
        if let Err(failure) = result {
            self.out.0.truncate(self.start);
            return self.fail(failure);
        }
        let end: &[u8] = match (self.json, self.empty) {
            (true, true) => b"{\"ok\":true}\n",
            (true, false) => b"}\n",
            (false, _) => b"\n",
        };
        self.out.put(end)
    }

    fn fail(&mut self, failure: Failure) -> Result<(), AllocError> {
        let name = failure.errno.name();
        if self.json {
            self.out.put(b"{\"ok\":false,\"errno\":")?;
            json::string(&mut self.out, name)?;
            self.out.put(b",\"reason\":")?;
            json::string(&mut self.out, failure.reason())?;
            return self.out.put(b"}\n");
        }
        self.out.put(b"ERR ")?;
        self.out.put(name.as_bytes())?;
        self.out.put(b" ")?;
        self.out.put(failure.reason().as_bytes())?;
        self.out.put(b"\n")
    }
}

/// A number's decimal digits, without the formatting machinery.
struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    fn new(mut value: u64) -> Self {
        let mut this = Decimal {
            digits: [b'0'; 20],
            start: 19,
        };
        for (at, digit) in this.digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (value % 10) as u8;
            this.start = at;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        this
    }

    fn digits(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}
