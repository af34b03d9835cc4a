// SPDX-License-Identifier: GPL-2.0
//! What has been told already: only what differs is told again.

use std::collections::BTreeMap;

/// The values that were told last, by key.
#[derive(Default)]
pub struct Told(BTreeMap<String, String>);

impl Told {
    /// Those of `pairs` that were not told, or with another value; from now on all are. Of keys that are
    /// not among `pairs` nothing is kept.
    pub fn differing(&mut self, pairs: Vec<(String, String)>) -> Vec<(String, String)> {
        let now: BTreeMap<_, _> = pairs.into_iter().collect();
        let before = std::mem::replace(&mut self.0, now);
        let differs = |(key, value): &(&String, &String)| before.get(*key) != Some(*value);
        let all = self.0.iter().filter(differs);
        all.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// All that was told last.
    #[must_use]
    pub fn all(&self) -> Vec<(String, String)> {
        let all = self.0.iter();
        all.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut told = Told::default();
        let first = vec![pair("a", "1"), pair("b", "1")];
        assert_eq!(told.differing(first.clone()), first);
        assert_eq!(
            told.differing(vec![pair("a", "1"), pair("b", "2")]),
            [pair("b", "2")]
        );
        assert_eq!(told.all(), [pair("a", "1"), pair("b", "2")]);
    }
}
