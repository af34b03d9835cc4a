// SPDX-License-Identifier: GPL-2.0

//! Values that are lists: `[1.31 3.68 4.47]`, `{'22', '20'}`, `(1, 2)`, or items without brackets.

/// The items of `value`, without their quotes. They have commas or blanks between them; a quoted item
/// may have both inside.
pub fn items(value: &str) -> ListItems<'_> {
    let value = value.trim();
    let inner = [('[', ']'), ('{', '}'), ('(', ')')]
        .iter()
        .find_map(|&(open, close)| value.strip_prefix(open)?.strip_suffix(close));
    ListItems(inner.unwrap_or(value))
}

/// `value` without quotes around it.
pub fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

/// See [`items`].
#[derive(Clone, Debug)]
pub struct ListItems<'a>(&'a str);

impl<'a> Iterator for ListItems<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let quoted = ['"', '\'']
            .iter()
            .find_map(|&quote| rest.strip_prefix(quote)?.split_once(quote));
        if let Some((item, after)) = quoted {
            self.0 = after;
            return Some(item);
        }
        let end = rest.find([' ', '\t', ',']).unwrap_or(rest.len());
        let (item, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        self.0 = after;
        (!item.is_empty()).then_some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String, vec::Vec};

    fn all(value: &str) -> Vec<&str> {
        items(value).collect()
    }

    #[test]
    fn the_samples_are_lists() {
        assert_eq!(all("{'22', '20', '48', '3'}"), ["22", "20", "48", "3"]);
        assert_eq!(
            all("[1.31 3.68 4.47 2/935 7677]"),
            ["1.31", "3.68", "4.47", "2/935", "7677"]
        );
        assert_eq!(all("(1, 'a, b',\"\")"), ["1", "a, b", ""]);
        assert_eq!(all("1,2"), ["1", "2"]);
        assert_eq!(all("[]"), Vec::<&str>::new());
        assert_eq!(all("['open"), ["['open"]);
    }

    #[test]
    fn only_whole_quotes_are_taken_off() {
        assert_eq!(unquoted("'a'"), "a");
        assert_eq!(unquoted("\"a'"), "\"a'");
        assert_eq!(unquoted("'"), "'");
    }

    proptest! {
        #[test]
        fn what_is_joined_is_taken_apart(list in prop::collection::vec("[a-z0-9./]{1,5}", 0..6)) {
            let quoted: Vec<String> = list.iter().map(|item| format!("'{item}'")).collect();
            for text in [format!("[{}]", list.join(" ")), format!("{{{}}}", quoted.join(", "))] {
                prop_assert_eq!(&items(&text).collect::<Vec<_>>(), &list);
            }
        }

        #[test]
        fn any_text_ends(text in "\\PC{0,40}") {
            prop_assert!(items(&text).count() <= text.len() + 1);
        }
    }
}
