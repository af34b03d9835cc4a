// SPDX-License-Identifier: GPL-2.0

//! Who may use a queue or topic: its owner and its mode, as with files.

/// What somebody does with a queue or topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// Takes messages, subscribes, replays.
    Take = 4,
    /// Publishes.
    Publish = 2,
    /// Deletes it.
    Delete = 1,
}

/// The rights of the owner and of other users: two octal digits, each a sum of [`Right`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessMode(u8);

impl AccessMode {
    /// The owner may do everything, others nothing.
    pub const PRIVATE: AccessMode = AccessMode(0o70);

    /// The owner may do everything, others publish.
    pub const DROP_BOX: AccessMode = AccessMode(0o72);

    /// Reads two octal digits.
    pub fn parse(text: &[u8]) -> Option<AccessMode> {
        let digit = |digit: u8| matches!(digit, b'0'..=b'7').then(|| digit & 7);
        match text {
            &[owner, others] => Some(AccessMode((digit(owner)? << 3) | digit(others)?)),
            _ => None,
        }
    }

    /// Its digits.
    pub const fn digits(self) -> (u8, u8) {
        (self.0 >> 3, self.0 & 7)
    }
}

/// An owner and a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The uid that owns it.
    pub owner: u32,
    /// Who may do what.
    pub mode: AccessMode,
}

impl Access {
    /// Whether `uid` has this right. Root has all.
    pub fn allows(self, uid: u32, right: Right) -> bool {
        let (owner, others) = self.mode.digits();
        let rights = match uid == self.owner {
            true => owner,
            false => others,
        };
        uid == 0 || rights & right as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_two_octal_digits() {
        assert_eq!(AccessMode::parse(b"70"), Some(AccessMode::PRIVATE));
        assert_eq!(AccessMode::parse(b"72"), Some(AccessMode::DROP_BOX));
        for text in [&b""[..], b"7", b"700", b"80", b"7a", b" 7", b"-1"] {
            assert_eq!(AccessMode::parse(text), None, "{}", text.escape_ascii());
        }
        for owner in 0..8 {
            for others in 0..8 {
                let mode = AccessMode::parse(&[b'0' + owner, b'0' + others]).unwrap();
                assert_eq!(mode.digits(), (owner, others));
            }
        }
    }

    #[test]
    fn rights_are_those_of_the_owner_or_of_others() {
        let access = |mode: &[u8]| Access {
            owner: 7,
            mode: AccessMode::parse(mode).unwrap(),
        };
        for (mode, uid, expected) in [
            (b"70", 7, [true, true, true]),
            (b"70", 8, [false, false, false]),
            (b"70", 0, [true, true, true]),
            (b"72", 8, [false, true, false]),
            (b"46", 7, [true, false, false]),
            (b"46", 8, [true, true, false]),
            (b"00", 7, [false, false, false]),
            (b"00", 0, [true, true, true]),
        ] {
            let found = [Right::Take, Right::Publish, Right::Delete]
                .map(|right| access(mode).allows(uid, right));
            assert_eq!(found, expected, "{} {uid}", mode.escape_ascii());
        }
    }
}
