// SPDX-License-Identifier: GPL-2.0
//! Printing results.

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;
use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write},
};

/// How results are printed.
#[derive(Clone, Copy)]
pub(crate) struct Printer {
    pub(crate) json: bool,
}

impl Printer {
    /// Prints a result: `value` as JSON, or for people what `text` makes.
    pub(crate) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let mut result = if self.json {
            serde_json::to_string(value)?
        } else {
            text()
        };
        if !result.is_empty() && !result.ends_with('\n') {
            result.push('\n');
        }
        bytes(result.as_bytes())
    }
}

/// Standard output does not take what was to be printed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub(crate) struct StdoutError(#[from] io::Error);

impl StdoutError {
    /// Whether the reader has closed the pipe, as head(1) does when it has enough.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Writes bytes to standard output.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    Ok(written.map_err(StdoutError)?)
}

/// Writes a line to standard error.
///
/// If that cannot be written either, nothing is left to tell it to: `eprintln!` would panic.
pub(crate) fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// `text` with its control characters escaped, except for line ends and tabs: it may come from
/// another node or user, and terminals obey control characters.
pub(crate) fn printable(text: &str) -> String {
    let is_control = |c: &char| c.is_control() && !matches!(c, '\n' | '\t');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_control(&c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// Bytes as a member of a JSON object: text if they are UTF-8, otherwise hexadecimal digits.
pub(crate) fn json_bytes(data: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(data) {
        Ok(text) => ("text", text.into()),
        Err(_) => {
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            ("hex", hex.into())
        }
    }
}

/// `text` on one line, as a cell of a table: it may come from another node or user.
pub(crate) fn cell(text: &str) -> String {
    printable(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Lines up `rows` under `header`. Columns from `numbers` on are aligned to the right.
pub(crate) fn table(header: Vec<String>, numbers: usize, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    let cells = |row: Vec<String>| row.into_iter().map(|text| cell(&text)).collect::<Vec<_>>();
    table.add_rows(rows.into_iter().map(cells));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_text_or_digits() {
        assert_eq!(json_bytes(b"a\0\n"), ("text", "a\0\n".into()));
        assert_eq!(json_bytes(b"\xff\x01"), ("hex", "ff01".into()));
    }

    #[test]
    fn cells_of_a_table_are_on_one_line() {
        let rows = vec![vec!["a\n\x1b[2J".to_owned(), "1\t".to_owned()]];
        let header = ["A", "B"].map(str::to_owned).to_vec();
        let table = table(header, usize::MAX, rows);
        assert_eq!(table.lines().count(), 2, "{table:?}");
        assert!(table.ends_with("a\\n\\u{1b}[2J  1\\t"), "{table:?}");
    }

    #[test]
    fn control_characters_are_escaped() {
        let text = "\u{1b}[2J two\nlines\tand \u{9b}\u{7f} \u{fc}";
        let shown = "\\u{1b}[2J two\nlines\tand \\u{9b}\\u{7f} \u{fc}";
        assert_eq!(printable(text), shown);
    }

    #[test]
    fn columns_are_lined_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = vec![row(["a", "1", "200"]), row(["long", "-", "3"])];
        let text = table(row(["NAME", "N", "TIME"]), 1, rows);
        assert_eq!(text, "NAME  N  TIME\na     1   200\nlong  -     3");
    }
}
