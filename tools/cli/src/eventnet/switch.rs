// SPDX-License-Identifier: GPL-2.0
//! Switching recording on and off, and what nodes say of it.

use super::collect::{ask, nodes};
use crate::{
    options::eventnet::{NodesOptions, OnOptions},
    output::{self, Printer},
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;

const RECORD: &str = "eventnet_record";
const STATUS: &str = "eventnet_status";

/// What one node says.
#[derive(Debug, PartialEq, Serialize)]
struct Status {
    node: u32,
    kinds: String,
    one_in: u32,
    /// Events that later ones have replaced.
    replaced: u64,
    /// Messages that modules have logged and that were lost.
    messages_lost: u64,
    /// Stamps of other nodes that were too far ahead to be followed.
    clocks_ahead: u64,
}

impl Status {
    /// Takes `KEY=VALUE KEY=VALUE…` apart.
    fn read(node: u32, text: &str) -> Option<Self> {
        let words: BTreeMap<_, _> = text.split(' ').filter_map(|w| w.split_once('=')).collect();
        Some(Status {
            node,
            kinds: (*words.get("kinds")?).to_owned(),
            one_in: words.get("one_in")?.parse().ok()?,
            replaced: words.get("replaced")?.parse().ok()?,
            messages_lost: words.get("messages_lost")?.parse().ok()?,
            clocks_ahead: words.get("clocks_ahead")?.parse().ok()?,
        })
    }
}

pub(super) fn on(options: &OnOptions) -> Result<()> {
    set(&options.nodes, &options.kinds.join("+"), options.one_in)
}

pub(super) fn off(nodes: &NodesOptions) -> Result<()> {
    set(nodes, "none", 1)
}

/// Tells the nodes; one that cannot be told does not keep the others from it.
fn set(of: &NodesOptions, kinds: &str, one_in: u32) -> Result<()> {
    let kinds = match kinds.split('+').any(|kind| kind == "all") {
        true => "all",
        false => kinds,
    };
    let args = [kinds.to_owned(), one_in.to_string()];
    let mut result = Ok(());
    for node in nodes(of.node)? {
        let told = ask(node, RECORD, &args).with_context(|| format!("node {node}"));
        if let (Err(error), Ok(())) = (told, &result) {
            result = Err(error);
        }
    }
    result
}

fn ask_status(of: &NodesOptions) -> Result<Vec<Status>> {
    let status = |node| {
        let answer = ask(node, STATUS, &[]).with_context(|| format!("node {node}"))?;
        let text = String::from_utf8_lossy(&answer);
        Status::read(node, &text).with_context(|| format!("node {node}: '{text}' is no status"))
    };
    nodes(of.node)?.into_iter().map(status).collect()
}

pub(super) fn status(output: Printer, nodes: &NodesOptions) -> Result<()> {
    let all = ask_status(nodes)?;
    output.print(&all, || {
        let header = ["NODE", "RECORDED", "ONE IN"].map(str::to_owned).to_vec();
        let rows = all.iter().map(|status| {
            let Status {
                node,
                kinds,
                one_in,
                ..
            } = status;
            vec![node.to_string(), kinds.clone(), one_in.to_string()]
        });
        output::table(header, 2, rows.collect())
    })
}

pub(super) fn loss(output: Printer, nodes: &NodesOptions) -> Result<()> {
    let all = ask_status(nodes)?;
    output.print(&all, || {
        let header = ["NODE", "REPLACED", "MESSAGES LOST", "CLOCKS AHEAD"];
        let rows = all.iter().map(|status| {
            [
                status.node.into(),
                status.replaced,
                status.messages_lost,
                status.clocks_ahead,
            ]
            .map(|number: u64| number.to_string())
            .to_vec()
        });
        output::table(header.map(str::to_owned).to_vec(), 1, rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_nodes_write_it() {
        let text = "kinds=memory+file one_in=3 rings=2 replaced=4 messages_lost=5 clocks_ahead=6";
        let expected = Status {
            node: 2,
            kinds: "memory+file".to_owned(),
            one_in: 3,
            replaced: 4,
            messages_lost: 5,
            clocks_ahead: 6,
        };
        assert_eq!(Status::read(2, text), Some(expected));
        assert_eq!(Status::read(2, "kinds=all one_in=x"), None);
    }
}
