// SPDX-License-Identifier: GPL-2.0

//! Variables that a module declares: what they may be.

use super::{list::unquoted, number};
use core::fmt;

/// The type of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A number of 64 bits.
    Integer,
    /// A number with six digits behind the point, counted in millionths.
    Decimal,
    /// 0 or 1.
    Boolean,
    /// Anything.
    Text,
    /// Several values: see [`super::list::items`].
    List,
}

impl ValueType {
    /// Its name in lists.
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::Integer => "integer",
            ValueType::Decimal => "decimal",
            ValueType::Boolean => "boolean",
            ValueType::Text => "text",
            ValueType::List => "list",
        }
    }
}

/// What a module declares.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The key.
    pub name: &'static str,
    /// The type.
    pub kind: ValueType,
    /// What it is counted in; empty for a bare number.
    pub unit: &'static str,
    /// Lowest value; of a decimal in millionths. Texts and lists have no bounds.
    pub min: i64,
    /// Highest value.
    pub max: i64,
    /// Value of a number that nobody has set. Texts and lists are empty then.
    pub default: i64,
    /// Says what is wrong with a text or a list that is of its type: see [`super::check`].
    pub check: Option<TextCheck>,
    /// The module that reads it.
    pub reader: &'static str,
    /// What it changes, in a line.
    pub about: &'static str,
}

/// Says what is wrong with a text.
pub type TextCheck = fn(&str) -> Result<(), &'static str>;

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidValue {
    /// It is not of the variable's type; what is expected.
    Type(&'static str),
    /// It is below the lowest or above the highest value.
    Bounds,
}

impl InvalidValue {
    /// What is wrong, for people.
    pub const fn reason(self) -> &'static str {
        match self {
            InvalidValue::Type(reason) => reason,
            InvalidValue::Bounds => "out of the variable's bounds",
        }
    }
}

impl Declaration {
    /// Whether its value is a number.
    pub const fn is_number(&self) -> bool {
        matches!(
            self.kind,
            ValueType::Integer | ValueType::Decimal | ValueType::Boolean
        )
    }

    /// The number that `value` stands for; 0 for texts and lists.
    ///
    /// # Errors
    ///
    /// Why it may not be the variable's value.
    pub fn read(&self, value: &str) -> Result<i64, InvalidValue> {
        let text = unquoted(value);
        let number = match self.kind {
            ValueType::Integer => {
                number::integer(text).ok_or(InvalidValue::Type("expected an integer"))?
            }
            ValueType::Decimal => {
                number::decimal(text).ok_or(InvalidValue::Type("expected a decimal number"))?
            }
            ValueType::Boolean => i64::from(
                number::boolean(text).ok_or(InvalidValue::Type("expected 'true' or 'false'"))?,
            ),
            ValueType::Text | ValueType::List => {
                let checked = self.check.map_or(Ok(()), |check| check(value));
                return checked.map_or_else(|reason| Err(InvalidValue::Type(reason)), |()| Ok(0));
            }
        };
        match (self.min..=self.max).contains(&number) {
            true => Ok(number),
            false => Err(InvalidValue::Bounds),
        }
    }

    /// `number` as a value of this variable.
    pub const fn shown(&self, number: i64) -> Shown {
        Shown {
            kind: self.kind,
            number,
        }
    }
}

/// A number as a value of its type.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    kind: ValueType,
    number: i64,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ValueType::Integer => write!(f, "{}", self.number),
            ValueType::Decimal => write!(f, "{}", number::Decimal(self.number)),
            ValueType::Boolean => f.write_str(if self.number == 0 { "false" } else { "true" }),
            ValueType::Text | ValueType::List => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    const LOAD: Declaration = Declaration {
        name: "load",
        kind: ValueType::Decimal,
        unit: "",
        min: 0,
        max: 2_000_000,
        default: 1_000_000,
        check: None,
        reader: "virgo_test",
        about: "",
    };

    #[test]
    fn types_and_bounds_are_checked() {
        assert_eq!(LOAD.read("0.5"), Ok(500_000));
        assert_eq!(LOAD.read("'2'"), Ok(2_000_000));
        assert_eq!(LOAD.read("2.000001"), Err(InvalidValue::Bounds));
        assert_eq!(LOAD.read("-1"), Err(InvalidValue::Bounds));
        assert!(matches!(LOAD.read("high"), Err(InvalidValue::Type(_))));
        assert!(matches!(LOAD.read(""), Err(InvalidValue::Type(_))));
        let match_ = Declaration {
            kind: ValueType::Boolean,
            max: 1,
            ..LOAD
        };
        assert_eq!(match_.read("True"), Ok(1));
        assert_eq!(match_.shown(1).to_string(), "true");
        let text = Declaration {
            kind: ValueType::Text,
            ..LOAD
        };
        assert_eq!(text.read("anything"), Ok(0));
        let host = Declaration {
            check: Some(crate::analytics::check::address),
            ..text
        };
        assert_eq!(host.read("10.0.0.7"), Ok(0));
        assert!(matches!(host.read("nonsense"), Err(InvalidValue::Type(_))));
    }

    proptest! {
        #[test]
        fn numbers_are_within_bounds(text in "[0-9.e-]{0,8}") {
            if let Ok(number) = LOAD.read(&text) {
                prop_assert!((LOAD.min..=LOAD.max).contains(&number));
                prop_assert_eq!(LOAD.read(&LOAD.shown(number).to_string()), Ok(number));
            }
        }
    }
}
