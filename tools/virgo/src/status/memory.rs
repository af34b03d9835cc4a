// SPDX-License-Identifier: GPL-2.0
//! What the memory pools of all nodes hold.

use super::format::{FormatError, lines, number};
use crate::Id;
use std::str::FromStr;

/// The objects of all nodes' memory pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Memory {
    /// They, node by node.
    pub objects: Vec<Object>,
    /// Nodes that did not answer, or not to the end.
    pub lost: Vec<Lost>,
}

/// An object of a memory pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Object {
    /// Number of the node that has it.
    pub node: u8,
    /// Its id.
    pub id: Id,
    /// Bytes; of a split allocation those of all pieces.
    pub size: u64,
    /// The uid that it belongs to.
    pub uid: u32,
    /// `whole`, `split` (an allocation in pieces), or `piece` (of a split allocation).
    pub kind: String,
    /// `private` to its uid, or `shared`.
    pub access: String,
}

/// A node that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Lost {
    /// Its number.
    pub node: u8,
    /// Name of the error.
    pub error: String,
}

impl FromStr for Memory {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut memory = Self::default();
        lines(text, |words| {
            match *words {
                ["object", node, id, size, uid, kind, access, ..] => memory.objects.push(Object {
                    node: number(node)?,
                    id: id.parse().map_err(|_| "expected an id")?,
                    size: number(size)?,
                    uid: number(uid)?,
                    kind: kind.to_owned(),
                    access: access.to_owned(),
                }),
                ["lost", node, error, ..] => memory.lost.push(Lost {
                    node: number(node)?,
                    error: error.to_owned(),
                }),
                ["object" | "lost", ..] => return Err("too few fields"),
                // Of a later version.
                _ => (),
            }
            Ok(())
        })?;
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_the_module_writes_it() {
        let text = "object 1 0100000a1b25c4f1 1048576 1000 split shared\nlost 2 EHOSTDOWN\n";
        let memory: Memory = text.parse().unwrap();
        let object = Object {
            node: 1,
            id: Id::from(0x0100_000a_1b25_c4f1),
            size: 1 << 20,
            uid: 1000,
            kind: "split".to_owned(),
            access: "shared".to_owned(),
        };
        let lost = Lost {
            node: 2,
            error: "EHOSTDOWN".to_owned(),
        };
        assert_eq!(memory.objects, [object]);
        assert_eq!(memory.lost, [lost]);
        assert!("object 1 2 3\n".parse::<Memory>().is_err());
    }
}
