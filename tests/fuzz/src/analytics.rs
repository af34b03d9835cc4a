// SPDX-License-Identifier: GPL-2.0

//! Files and streams of analytics variables, and the values in them.

use virgo_proto::analytics::{
    list,
    number::{self, Decimal},
    pairs::{self, MAX_KEY, MAX_VALUE},
};

pub(crate) fn check(text: &[u8]) {
    let mut joined = String::new();
    let mut found = Vec::new();
    let result = pairs::parse(text, |line, pair| {
        assert!((1..=MAX_KEY).contains(&pair.key.len()));
        assert!(pair.value.len() <= MAX_VALUE && !pair.value.contains(char::is_control));
        assert!(line as usize <= text.len() + 1);
        for item in list::items(pair.value) {
            assert!(item.len() <= pair.value.len());
        }
        if let Some(value) = number::decimal(pair.value) {
            if value != i64::MIN {
                assert_eq!(number::decimal(&Decimal(value).to_string()), Some(value));
            }
        }
        joined += &format!("{}={},\n", pair.key, pair.value);
        found.push((pair.key, pair.value));
        Ok(())
    });
    match result {
        Err(fault) => {
            let lines = text.split(|&byte| byte == b'\n').count();
            assert!((1..=lines).contains(&(fault.line as usize)));
        }
        // What was read and is written again says the same.
        Ok(()) => {
            let mut again = found.into_iter();
            let result = pairs::parse(joined.as_bytes(), |_, pair| {
                assert_eq!(again.next(), Some((pair.key, pair.value)));
                Ok(())
            });
            assert!(result.is_ok() && again.next().is_none(), "{joined}");
        }
    }
}
