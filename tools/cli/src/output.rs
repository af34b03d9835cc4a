// SPDX-License-Identifier: GPL-2.0
//! Printing results.

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;
use std::io::{self, Write};

/// How results are printed.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
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

/// Writes bytes to standard output.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
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

/// Lines up `rows` under `header`. Columns from `numbers` on are aligned to the right.
pub(crate) fn table(header: Vec<String>, numbers: usize, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows);
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
    fn columns_are_lined_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = vec![row(["a", "1", "200"]), row(["long", "-", "3"])];
        let text = table(row(["NAME", "N", "TIME"]), 1, rows);
        assert_eq!(text, "NAME  N  TIME\na     1   200\nlong  -     3");
    }
}
