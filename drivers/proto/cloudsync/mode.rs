// SPDX-License-Identifier: GPL-2.0

//! The six modes of a lock, as VMS and the kernel's DLM have them.
//!
//! | asked \ granted | NL | CR | CW | PR | PW | EX |
//! |-----------------|----|----|----|----|----|----|
//! | NL null             | yes | yes | yes | yes | yes | yes |
//! | CR concurrent read  | yes | yes | yes | yes | yes |     |
//! | CW concurrent write | yes | yes | yes |     |     |     |
//! | PR protected read   | yes | yes |     | yes |     |     |
//! | PW protected write  | yes | yes |     |     |     |     |
//! | EX exclusive        | yes |     |     |     |     |     |

/// How strongly a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Null: keeps the name and its value block.
    Nl = 1,
    /// Concurrent read: excludes EX only.
    Cr = 2,
    /// Concurrent write: others may read and write unprotected.
    Cw = 3,
    /// Protected read: the usual shared lock.
    Pr = 4,
    /// Protected write: one writer, others may read unprotected.
    Pw = 5,
    /// Exclusive.
    Ex = 6,
}

/// A set of modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Modes(u8);

impl Mode {
    /// All, from the weakest on.
    pub const ALL: [Mode; 6] = [Mode::Nl, Mode::Cr, Mode::Cw, Mode::Pr, Mode::Pw, Mode::Ex];

    /// The modes that may be held by others at the same time.
    const fn friends(self) -> Modes {
        Modes(match self {
            Mode::Nl => 0b111_1110,
            Mode::Cr => 0b011_1110,
            Mode::Cw => 0b000_1110,
            Mode::Pr => 0b001_0110,
            Mode::Pw => 0b000_0110,
            Mode::Ex => 0b000_0010,
        })
    }

    /// Whether both may be held at the same time.
    pub const fn is_compatible(self, other: Mode) -> bool {
        self.friends().has(other)
    }

    /// Whether who has this may do all that `other` allows: it excludes at least as much.
    pub const fn covers(self, other: Mode) -> bool {
        self.friends().0 & !other.friends().0 == 0
    }

    /// The weakest mode that covers both.
    pub const fn join(self, other: Mode) -> Mode {
        if self.covers(other) {
            self
        } else if other.covers(self) {
            other
        } else {
            // CW and PR.
            Mode::Pw
        }
    }

    /// Whether who has it may change the value block.
    pub const fn writes(self) -> bool {
        matches!(self, Mode::Pw | Mode::Ex)
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// The mode of this number.
    pub fn from_wire(number: u8) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.to_wire() == number)
    }

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Nl => "NL",
            Mode::Cr => "CR",
            Mode::Cw => "CW",
            Mode::Pr => "PR",
            Mode::Pw => "PW",
            Mode::Ex => "EX",
        }
    }

    /// The mode of this name, in letters of either case.
    pub fn parse(name: &[u8]) -> Option<Mode> {
        let is = |mode: &Mode| mode.name().as_bytes().eq_ignore_ascii_case(name);
        Mode::ALL.into_iter().find(is)
    }
}

impl Modes {
    /// All six.
    pub const ALL: Modes = Modes(0b111_1110);

    /// None.
    pub const NONE: Modes = Modes(0);

    /// Whether `mode` is one of them.
    pub const fn has(self, mode: Mode) -> bool {
        self.0 & (1 << mode as u8) != 0
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, mode: Mode) -> Modes {
        Modes(self.0 | (1 << mode as u8))
    }

    /// All of both.
    #[must_use]
    pub const fn union(self, other: Modes) -> Modes {
        Modes(self.0 | other.0)
    }

    /// Whether `mode` may be held together with each of them.
    pub const fn allow(self, mode: Mode) -> bool {
        self.0 & !mode.friends().0 == 0
    }

    /// The bits on the wire.
    pub const fn to_wire(self) -> u8 {
        self.0
    }

    /// The set with these bits; others are left out.
    pub const fn from_wire(bits: u8) -> Modes {
        Modes(bits & Modes::ALL.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_vms() {
        let rows = ["yyyyyy", "yyyyyn", "yyynnn", "yynynn", "yynnnn", "ynnnnn"];
        for (a, row) in Mode::ALL.into_iter().zip(rows) {
            for (b, cell) in Mode::ALL.into_iter().zip(row.chars()) {
                assert_eq!(a.is_compatible(b), cell == 'y', "{a:?} {b:?}");
                assert_eq!(a.is_compatible(b), b.is_compatible(a));
            }
        }
    }

    #[test]
    fn a_join_is_the_weakest_cover() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                let join = a.join(b);
                assert!(join.covers(a) && join.covers(b));
                for other in Mode::ALL {
                    if other.covers(a) && other.covers(b) {
                        assert!(other.covers(join), "{a:?} {b:?} {other:?}");
                    }
                }
            }
        }
        assert_eq!(Mode::Cw.join(Mode::Pr), Mode::Pw);
    }

    #[test]
    fn names_and_numbers_lead_back() {
        for mode in Mode::ALL {
            assert_eq!(Mode::parse(mode.name().as_bytes()), Some(mode));
            assert_eq!(Mode::from_wire(mode.to_wire()), Some(mode));
        }
        assert_eq!(Mode::parse(b"pw"), Some(Mode::Pw));
        assert_eq!(
            (Mode::parse(b""), Mode::from_wire(0), Mode::from_wire(7)),
            (None, None, None)
        );
        assert_eq!(Modes::from_wire(0xff), Modes::ALL);
    }

    #[test]
    fn a_set_allows_what_each_of_it_allows() {
        let readers = Modes::NONE.with(Mode::Pr).with(Mode::Cr);
        assert!(readers.allow(Mode::Pr) && readers.allow(Mode::Nl));
        assert!(!readers.allow(Mode::Cw) && !readers.allow(Mode::Ex));
        assert!(!Modes::ALL.allow(Mode::Cr) && Modes::NONE.allow(Mode::Ex));
    }
}
