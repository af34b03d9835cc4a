// SPDX-License-Identifier: GPL-2.0
//! Listing what the memory pools hold.

use crate::{
    options::MemoryList,
    output::{self, Printer},
};
use anyhow::Result;
use std::process::ExitCode;
use virgo::status::{Memory, Object, Status};

const HEADER: [&str; 6] = ["ID", "NODE", "UID", "KIND", "ACCESS", "SIZE"];

/// Lists allocations; the status says whether all nodes that are asked for have answered.
pub(crate) fn list(output: Printer, options: &MemoryList) -> Result<ExitCode> {
    let memory = selected(Status::default().memory()?, options);
    output.print(&memory, || table(&memory.objects))?;
    for lost in &memory.lost {
        if !output.json {
            output::note(format_args!(
                "virgo: node {} does not answer ({})",
                lost.node, lost.error
            ));
        }
    }
    Ok(if memory.lost.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn selected(mut memory: Memory, options: &MemoryList) -> Memory {
    let wanted = |node| options.node.is_none_or(|only| only == node);
    memory.objects.retain(|object| {
        wanted(object.node)
            && options.uid.is_none_or(|uid| uid == object.uid)
            && (options.pieces || object.kind != "piece")
    });
    memory.lost.retain(|lost| wanted(lost.node));
    memory
}

fn table(objects: &[Object]) -> String {
    let rows = objects.iter().map(|object| {
        vec![
            object.id.to_string(),
            object.node.to_string(),
            object.uid.to_string(),
            object.kind.clone(),
            object.access.clone(),
            object.size.to_string(),
        ]
    });
    output::table(HEADER.map(str::to_owned).to_vec(), 5, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "object 1 0100000a1b25c4f1 1048576 1000 split shared\n\
                         object 1 0100000a1b25c4f2 10 0 whole private\n\
                         object 2 0200000a1b25c4f3 65536 1000 piece shared\n\
                         lost 3 EHOSTDOWN\n";

    fn ids(options: &MemoryList) -> (Vec<u64>, usize) {
        let memory = selected(STATE.parse().unwrap(), options);
        let ids = memory.objects.iter().map(|object| object.id.into());
        (ids.collect(), memory.lost.len())
    }

    #[test]
    fn selection_is_by_uid_node_and_kind() {
        let all = MemoryList {
            uid: None,
            node: None,
            pieces: true,
        };
        let [one, two, three] = [
            0x0100_000a_1b25_c4f1,
            0x0100_000a_1b25_c4f2,
            0x0200_000a_1b25_c4f3,
        ];
        assert_eq!(ids(&all), (vec![one, two, three], 1));
        let whole = MemoryList {
            pieces: false,
            ..all
        };
        assert_eq!(ids(&whole), (vec![one, two], 1));
        let root = MemoryList {
            uid: Some(0),
            ..whole
        };
        assert_eq!(ids(&root), (vec![two], 1));
        let there = MemoryList {
            node: Some(2),
            uid: None,
            pieces: true,
        };
        assert_eq!(ids(&there), (vec![three], 0));
    }

    #[test]
    fn allocations_are_a_table() {
        let memory: Memory = STATE.parse().unwrap();
        let expected = "ID                NODE  UID   KIND   ACCESS      SIZE\n\
                        0100000a1b25c4f1  1     1000  split  shared   1048576\n\
                        0100000a1b25c4f2  1     0     whole  private       10";
        assert_eq!(table(&memory.objects[..2]), expected);
    }
}
