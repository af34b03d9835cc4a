// SPDX-License-Identifier: GPL-2.0
//! The name of an allocation.

use std::{
    fmt::{self, Debug, Display, Formatter},
    str::FromStr,
};
use virgo_proto::vuid::{Hex, parse_hex};

/// Names an allocation on every node of the cluster.
///
/// An id is opaque. It is printed as 16 hexadecimal digits, and read with up to 16 of them,
/// perhaps after `0x`, perhaps in double quotes:
///
/// ```
/// use virgo::Id;
///
/// let id: Id = "0x01000000a3f1c2d4".parse()?;
/// assert_eq!(id.to_string(), "01000000a3f1c2d4");
/// assert_eq!("\"1000000A3F1C2D4\"".parse(), Ok(id));
/// # Ok::<(), virgo::ParseIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

impl From<u64> for Id {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

impl From<Id> for u64 {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Hex(self.0).fmt(f)
    }
}

impl Debug for Id {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hex(text.as_bytes()).map(Self).ok_or(ParseIdError(()))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Id {
    /// As text: JSON's numbers lose digits of 64 bits.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not an [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected up to 16 hexadecimal digits, as malloc gives them")]
pub struct ParseIdError(());

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_printed_is_read(number: u64) {
            let id = Id::from(number);
            let text = id.to_string();
            prop_assert_eq!(text.len(), 16);
            prop_assert_eq!(text.parse(), Ok(id));
            prop_assert_eq!(format!("0x{id}").parse(), Ok(id));
            prop_assert_eq!(format!("\"{id}\"").parse(), Ok(id));
            prop_assert_eq!(u64::from(id), number);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "0x", "xyz", "-1", "1 2", "11112222333344445"] {
            assert_eq!(text.parse::<Id>(), Err(ParseIdError(())), "{text:?}");
        }
    }
}
