// SPDX-License-Identifier: GPL-2.0

//! What a text or a list has to be, where a module says more than its type.

use super::{
    list::{items, unquoted},
    number,
};
use core::net::Ipv4Addr;

/// Nothing, or an IPv4 address.
///
/// # Errors
///
/// What is expected.
pub fn address(value: &str) -> Result<(), &'static str> {
    match unquoted(value) {
        "" => Ok(()),
        text => match text.parse::<Ipv4Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("expected an IPv4 address"),
        },
    }
}

/// An empty list, or one that begins with a load: a decimal number, which is not negative.
///
/// # Errors
///
/// What is expected.
pub fn load(value: &str) -> Result<(), &'static str> {
    match items(value).next().map(number::decimal) {
        None => Ok(()),
        Some(Some(load)) if load >= 0 => Ok(()),
        Some(_) => Err("expected a list that begins with a load, as /proc/loadavg does"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_loads_are_told_from_other_texts() {
        for good in ["", "''", "10.0.0.1", "'10.0.0.1'"] {
            assert_eq!(address(good), Ok(()), "{good}");
        }
        for bad in ["nonsense", "10.0.0", "10.0.0.256", "::1", "10.0.0.1 "] {
            assert!(address(bad).is_err(), "{bad}");
        }
        for good in ["", "[]", "[1.31 3.68 4.47 2/935 7677]", "0", "{'2', '1'}"] {
            assert_eq!(load(good), Ok(()), "{good}");
        }
        for bad in ["hello", "[high]", "-1", "[-0.5 1]", "''"] {
            assert!(load(bad).is_err(), "{bad}");
        }
    }
}
