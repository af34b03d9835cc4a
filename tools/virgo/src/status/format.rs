// SPDX-License-Identifier: GPL-2.0
//! How the files of the modules are read: lines of words.

use super::error::StatusError;
use std::{fs, path::Path, str::FromStr};

/// What is wrong with a text, and in which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FormatError {
    pub(super) line: usize,
    pub(super) reason: &'static str,
}

pub(super) fn read<T: FromStr<Err = FormatError>>(path: &Path) -> Result<T, StatusError> {
    let text = fs::read_to_string(path).map_err(|error| StatusError::io(path, error))?;
    text.parse().map_err(|FormatError { line, reason }| {
        let path = path.to_owned();
        StatusError::Format { path, line, reason }
    })
}

/// Calls `each` with the words of every line that is neither empty nor a comment.
pub(super) fn lines<'a>(
    text: &'a str,
    mut each: impl FnMut(&[&'a str]) -> Result<(), &'static str>,
) -> Result<(), FormatError> {
    for (line, text) in (1..).zip(text.lines()) {
        let words: Vec<_> = text.split_whitespace().collect();
        if words.first().is_some_and(|word| *word != "#") {
            each(&words).map_err(|reason| FormatError { line, reason })?;
        }
    }
    Ok(())
}

/// Reads a number.
pub(super) fn number<T: FromStr>(word: &str) -> Result<T, &'static str> {
    word.parse().map_err(|_| "expected a number")
}
