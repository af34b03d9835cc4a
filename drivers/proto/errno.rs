// SPDX-License-Identifier: GPL-2.0

//! Error numbers as they cross the wire: positive, with Linux's values on every architecture.

macro_rules! errnos {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        /// The error numbers that a VIRGO node sends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        #[expect(missing_docs, reason = "the names are POSIX's")]
        pub enum Errno {
            $($name = $value,)*
        }

        impl Errno {
            /// The symbolic name, as text replies show it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Errno::$name => stringify!($name),)*
                }
            }

            /// What it means, for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Errno::$name => $text,)*
                }
            }

            /// The error with number `value`; a number that no node sends is `EPROTO`.
            pub const fn from_wire(value: u32) -> Errno {
                match value {
                    $($value => Errno::$name,)*
                    _ => Errno::EPROTO,
                }
            }

            /// The error with this symbolic name.
            pub fn from_name(name: &[u8]) -> Option<Errno> {
                let all = [$(Errno::$name),*];
                all.into_iter().find(|errno| errno.name().as_bytes() == name)
            }

            /// The number on the wire.
            pub const fn to_wire(self) -> u32 {
                self as u32
            }
        }
    };
}

errnos! {
    EPERM = 1, "belongs to another user";
    ENOENT = 2, "does not exist";
    ESRCH = 3, "no such job";
    EINTR = 4, "interrupted";
    EIO = 5, "input or output failed";
    ENXIO = 6, "not a file or directory";
    E2BIG = 7, "more than this version knows";
    ENOEXEC = 8, "not a program";
    EBADF = 9, "not open here";
    EAGAIN = 11, "busy, try again";
    ENOMEM = 12, "not enough memory";
    EACCES = 13, "not allowed";
    EFAULT = 14, "bad address";
    EBUSY = 16, "in use";
    EEXIST = 17, "exists already";
    EXDEV = 18, "leads to another place";
    ENODEV = 19, "no such node";
    ENOTDIR = 20, "not a directory";
    EISDIR = 21, "a directory";
    EINVAL = 22, "not valid";
    ENFILE = 23, "too many files open on that machine";
    EMFILE = 24, "too many open";
    ETXTBSY = 26, "a program that runs";
    EFBIG = 27, "beyond the end";
    ENOSPC = 28, "disk full";
    EROFS = 30, "read-only";
    EMLINK = 31, "too many links";
    ERANGE = 34, "out of range";
    EDEADLK = 35, "would wait for ever";
    ENAMETOOLONG = 36, "name too long";
    ENOLCK = 37, "guarded by a lock";
    ENOSYS = 38, "unknown command";
    ENOTEMPTY = 39, "not empty";
    ELOOP = 40, "reached through a symbolic link";
    EPROTO = 71, "not understood";
    EOVERFLOW = 75, "too large a number";
    EILSEQ = 84, "bytes that a text line cannot hold";
    EUSERS = 87, "too many users";
    EMSGSIZE = 90, "too long";
    EPROTONOSUPPORT = 93, "another version of the protocol";
    EOPNOTSUPP = 95, "not supported";
    ECONNRESET = 104, "the other node lost the request";
    ENOBUFS = 105, "the queue is full";
    ESHUTDOWN = 108, "stopped";
    ETIMEDOUT = 110, "no answer in time";
    ECONNREFUSED = 111, "refused";
    EHOSTDOWN = 112, "node is down";
    EHOSTUNREACH = 113, "node cannot be reached";
    EALREADY = 114, "given up already";
    ESTALE = 116, "freed, or its node has restarted";
    EDQUOT = 122, "quota used up";
    ECANCELED = 125, "cancelled";
    EKEYREJECTED = 129, "wrong key";
}

impl Errno {
    /// The error that a reply tells: the line `ERR NAME REASON`, or its beginning, as text sessions
    /// and KingCobra give it. `None` for any other reply.
    pub fn told_by(reply: &[u8]) -> Option<Errno> {
        let told = reply.strip_prefix(b"ERR ")?;
        let name = told.split(u8::is_ascii_whitespace).next()?;
        Self::from_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_wire() {
        for e in [Errno::EPERM, Errno::ESTALE, Errno::EKEYREJECTED] {
            assert_eq!(Errno::from_wire(e.to_wire()), e);
        }
        assert_eq!(Errno::from_wire(0), Errno::EPROTO);
        assert_eq!(Errno::from_wire(u32::MAX), Errno::EPROTO);
        assert_eq!(Errno::ESTALE.name(), "ESTALE");
        assert_eq!(Errno::from_name(b"ESTALE"), Some(Errno::ESTALE));
        assert_eq!(Errno::from_name(b"ENONE"), None);
    }

    #[test]
    fn replies_tell_errors() {
        for (reply, told) in [
            (&b"ERR EIO it failed"[..], Some(Errno::EIO)),
            (b"ERR EINVAL\nx", Some(Errno::EINVAL)),
            (b"ERR ENOENT", Some(Errno::ENOENT)),
            (b"ERR E", None),
            (b"ERR ", None),
            (b"ERROR EIO", None),
            (b" ERR EIO x", None),
            (b"EIO", None),
            (b"", None),
        ] {
            assert_eq!(Errno::told_by(reply), told, "{}", reply.escape_ascii());
        }
    }
}
