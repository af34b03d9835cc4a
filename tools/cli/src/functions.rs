// SPDX-License-Identifier: GPL-2.0
//! The functions of a node.

use crate::{
    call_error::CallError,
    output::{self, Printer},
};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use virgo::{Call, Ended, On, status::Status};

/// The function that lists all of them.
const LIST: &str = "functions";

/// A function that a kernel module of the node has registered.
#[derive(Debug, PartialEq, Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: Vec<Argument<'a>>,
    about: &'a str,
}

#[derive(Debug, PartialEq, Serialize)]
struct Argument<'a> {
    name: &'a str,
    /// `number` or `text`.
    kind: &'a str,
}

pub(crate) fn show(output: Printer, on: Option<u32>) -> Result<()> {
    let node = match on {
        Some(node) => node,
        None => Status::default().config()?.me.into(),
    };
    let outcome = virgo::run(&Call::new(LIST).on(On::Node(node)))?;
    match outcome.ended {
        Ended::Returned(_) if !outcome.truncated => (),
        Ended::Failed(errno) => return Err(CallError::new(LIST, errno, &outcome).into()),
        _ => bail!("the list of node {node} is not whole"),
    }
    let list = String::from_utf8(outcome.stdout).context("the list is not text")?;
    let functions = read(&list)?;
    output.print(&functions, || table(&functions))
}

/// Takes lines `NAME ARGUMENT=KIND...: ABOUT` apart.
fn read(list: &str) -> Result<Vec<Function<'_>>> {
    let function = |line| {
        let (head, about) = str::split_once(line, ": ")?;
        let mut words = head.split(' ');
        let name = words.next()?;
        let argument = |word| {
            let (name, kind) = str::split_once(word, '=')?;
            Some(Argument { name, kind })
        };
        let arguments = words.map(argument).collect::<Option<_>>()?;
        Some(Function {
            name,
            arguments,
            about,
        })
    };
    list.lines()
        .map(|line| function(line).with_context(|| format!("'{line}' is no function")))
        .collect()
}

fn table(functions: &[Function]) -> String {
    let header = ["FUNCTION", "ARGUMENTS", "ABOUT"];
    let argument = |argument: &Argument| match argument.kind {
        "text" => argument.name.to_owned(),
        kind => format!("{} ({kind})", argument.name),
    };
    let rows = functions.iter().map(|function| {
        let arguments: Vec<_> = function.arguments.iter().map(argument).collect();
        vec![
            function.name.to_owned(),
            arguments.join(", "),
            function.about.to_owned(),
        ]
    });
    output::table(
        header.map(str::to_owned).to_vec(),
        usize::MAX,
        rows.collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "noop: does nothing\n\
                        copy from=text times=number: copies: often\n";

    #[test]
    fn are_read_as_a_node_writes_them() {
        let functions = read(LIST).unwrap();
        let (name, kind) = ("times", "number");
        assert_eq!(functions.len(), 2);
        assert_eq!(functions[0].arguments, []);
        assert_eq!(functions[1].name, "copy");
        assert_eq!(functions[1].arguments[1], Argument { name, kind });
        assert_eq!(functions[1].about, "copies: often");
        for line in ["noop", "noop text: x"] {
            let error = read(line).unwrap_err().to_string();
            assert_eq!(error, format!("'{line}' is no function"));
        }
    }

    #[test]
    fn are_lined_up() {
        let expected = "FUNCTION  ARGUMENTS             ABOUT\n\
                        noop                            does nothing\n\
                        copy      from, times (number)  copies: often";
        assert_eq!(table(&read(LIST).unwrap()), expected);
    }
}
