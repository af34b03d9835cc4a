// SPDX-License-Identifier: GPL-2.0
//! Graphviz's language. `dot -Tsvg` makes a picture of it.

use crate::{
    event::{Event, EventId},
    graph::Graph,
};
use std::{collections::BTreeMap, fmt::Write};

/// The graph, a column a node, time going down: what caused what by solid arrows, the order of a node
/// by dotted ones.
pub fn dot(graph: &Graph) -> String {
    let mut out = String::from(concat!(
        "digraph eventnet {\n",
        "  graph [fontname=\"sans-serif\", newrank=true, nodesep=0.4, ranksep=0.25];\n",
        "  node [fontname=\"sans-serif\", fontsize=10, shape=box, style=\"rounded,filled\", \
         fillcolor=white];\n",
        "  edge [fontname=\"sans-serif\", fontsize=9];\n",
    ));
    let mut by_node: BTreeMap<u8, Vec<&Event>> = BTreeMap::new();
    for event in graph.events() {
        by_node.entry(event.id.node).or_default().push(event);
    }
    for (node, events) in &by_node {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "  subgraph cluster_{node} {{\n    label=\"node{node}\"; color=gray80; style=rounded;"
        );
        for event in events {
            let colour = match event.status {
                0 => "",
                _ => ", fillcolor=mistyrose, color=firebrick",
            };
            let _ = writeln!(
                out,
                "    {} [label={}, tooltip={}{colour}];",
                name(event.id),
                quoted(&event.label()),
                quoted(&event.id.to_string()),
            );
        }
        for pair in events.windows(2) {
            let (before, after) = (name(pair[0].id), name(pair[1].id));
            let _ = writeln!(
                out,
                "    {before} -> {after} [style=dotted, color=gray60, arrowhead=none];"
            );
        }
        out.push_str("  }\n");
    }
    for event in graph.events() {
        let Some(cause) = event.cause.and_then(|cause| graph.get(cause)) else {
            continue;
        };
        let colour = match cause.id.node == event.id.node {
            true => "black",
            false => "royalblue",
        };
        let _ = writeln!(
            out,
            "  {} -> {} [color={colour}];",
            name(cause.id),
            name(event.id)
        );
    }
    out.push_str("}\n");
    out
}

fn name(id: EventId) -> String {
    format!("e{}_{}", id.node, id.seq)
}

/// A string of the language: only quotes and backslashes are special, and line ends are kept out.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push('\u{fffd}'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::RecordingNodes;

    #[test]
    fn names_and_labels_cannot_break_out() {
        let mut nodes = RecordingNodes::default();
        let first = nodes.record(1, "local", None, None, 1);
        nodes.record(2, "receive", Some(first), None, 1);
        nodes.events[first].text = "a \"quote\" \\ and\na line".to_owned();
        let text = dot(&Graph::new(nodes.events));
        assert!(
            text.contains(r#"label="memory local: a \"quote\" \\ and�a line""#),
            "{text}"
        );
        assert!(text.contains("e1_1 -> e2_1 [color=royalblue];"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
