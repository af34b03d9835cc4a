// SPDX-License-Identifier: GPL-2.0
//! What was measured, as a table for people and JSON for programs.

use anyhow::{Context, Result};
use serde::Serialize;
use std::{fs, path::Path};

/// Where the table stands in the document.
const TABLE: (&str, &str) = ("<!-- table: make bench -->\n", "<!-- end of table -->\n");

/// One comparison. Lower is better.
#[derive(Serialize)]
pub struct Row {
    name: &'static str,
    unit: &'static str,
    virgo: f64,
    peer: f64,
    peer_name: &'static str,
    ratio: f64,
    #[serde(skip)]
    goal: Option<Goal>,
}

/// What is to be reached: at most so much.
enum Goal {
    /// Of the peer's figure.
    Ratio(f64),
    /// Of the row's unit.
    Value(f64),
}

impl Row {
    /// A comparison of VIRGO's figure with the one of a peer, `(name, figure)`.
    pub fn new(
        name: &'static str,
        unit: &'static str,
        virgo: f64,
        (peer_name, peer): (&'static str, f64),
    ) -> Self {
        Row {
            name,
            unit,
            virgo,
            peer,
            peer_name,
            ratio: virgo / peer,
            goal: None,
        }
    }

    /// VIRGO's figure is to be at most so many times the peer's.
    pub fn ratio_goal(self, goal: f64) -> Self {
        Row {
            goal: Some(Goal::Ratio(goal)),
            ..self
        }
    }

    /// VIRGO's figure is to be at most so much, whatever the peer's is.
    pub fn value_goal(self, goal: f64) -> Self {
        Row {
            goal: Some(Goal::Value(goal)),
            ..self
        }
    }

    fn cells(&self) -> [String; 7] {
        let (goal, reached) = match self.goal {
            None => ("-".into(), "-"),
            Some(Goal::Ratio(goal)) => (format!("ratio {goal:.2}"), mark(self.ratio <= goal)),
            Some(Goal::Value(goal)) => (format!("{goal:.0}"), mark(self.virgo <= goal)),
        };
        [
            self.name.into(),
            self.unit.into(),
            format!("{:.0}", self.virgo),
            format!("{:.0} ({})", self.peer, self.peer_name),
            format!("{:.3}", self.ratio),
            goal,
            reached.into(),
        ]
    }
}

fn mark(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

/// Writes the table and the JSON into the repository at `top`.
pub fn write(rows: &[Row], top: &Path) -> Result<()> {
    let table = table(rows);
    let json = serde_json::to_string_pretty(rows)?;
    fs::write(top.join("build/bench.json"), json + "\n")?;
    let path = top.join("docs/benchmarks.md");
    let document = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(fs::write(&path, with_table(&document, &table)?)?)
}

/// A Markdown table whose columns are also aligned in a terminal. Figures stand on the right.
pub fn table(rows: &[Row]) -> String {
    const FIGURES: [bool; 7] = [false, false, true, true, true, true, false];
    let head = ["operation", "unit", "VIRGO", "peer", "ratio", "goal", ""].map(String::from);
    let lines: Vec<_> = [head]
        .into_iter()
        .chain(rows.iter().map(Row::cells))
        .collect();
    let widths: [usize; 7] =
        std::array::from_fn(|i| lines.iter().map(|cells| cells[i].len()).max().unwrap_or(0));
    let mut table = String::new();
    for (number, cells) in lines.iter().enumerate() {
        for ((cell, width), right) in cells.iter().zip(widths).zip(FIGURES) {
            table += &match right {
                true => format!("| {cell:>width$} "),
                false => format!("| {cell:width$} "),
            };
        }
        table += "|\n";
        if number == 0 {
            for (width, right) in widths.into_iter().zip(FIGURES) {
                let dashes = "-".repeat(width + 1);
                table += &format!("|{dashes}{}", if right { ':' } else { '-' });
            }
            table += "|\n";
        }
    }
    table
}

fn with_table(document: &str, table: &str) -> Result<String> {
    let (before, rest) = document
        .split_once(TABLE.0)
        .context("docs/benchmarks.md has lost the mark of its table")?;
    let (_, after) = rest
        .split_once(TABLE.1)
        .context("docs/benchmarks.md has lost the end of its table")?;
    Ok([before, TABLE.0, table, TABLE.1, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_aligned_and_says_what_was_reached() {
        let rows = [
            Row::new("get", "ns", 60.0, ("peer", 100.0)).ratio_goal(0.5),
            Row::new("wake-ups", "in 10 s", 0.0, ("its own", 10.0)).value_goal(0.0),
            Row::new("put", "ns", 7.0, ("peer", 10.0)),
        ];
        let expected = "\
| operation | unit    | VIRGO |         peer | ratio |       goal |         |
|-----------|---------|------:|-------------:|------:|-----------:|---------|
| get       | ns      |    60 |   100 (peer) | 0.600 | ratio 0.50 | MISSED  |
| wake-ups  | in 10 s |     0 | 10 (its own) | 0.000 |          0 | reached |
| put       | ns      |     7 |    10 (peer) | 0.700 |          - | -       |
";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn only_the_table_of_a_document_is_replaced() {
        let document = ["a\n", TABLE.0, "old\n", TABLE.1, "b\n"].concat();
        let expected = ["a\n", TABLE.0, "new\n", TABLE.1, "b\n"].concat();
        assert_eq!(with_table(&document, "new\n").unwrap(), expected);
        assert!(with_table("a\n", "new\n").is_err());
    }
}
