// SPDX-License-Identifier: GPL-2.0

//! Configuration files.

use virgo_proto::config::{self, Item, MAX_DEADLINE_MS, MAX_NODES, Nodes};

/// The bytes are a file.
pub(crate) fn check(file: &[u8]) {
    let mut nodes = Nodes::new();
    let result = config::parse(file, |item| match item {
        Item::Node(address) => nodes.add(address),
        Item::DeadlineMs(ms) => {
            assert!((1..=MAX_DEADLINE_MS).contains(&ms));
            Ok(())
        }
        Item::KeyFile(path) | Item::Executable(path) | Item::Library(path) => check_path(path),
        Item::Export { path, .. } => check_path(path),
        _ => Ok(()),
    });
    if let Err(fault) = result {
        let lines = file.split(|&byte| byte == b'\n').count();
        assert!(fault.line as usize <= lines, "{fault:?}");
        assert!(!fault.reason.is_empty());
    }
    assert!(nodes.len() <= MAX_NODES);
    assert_eq!(nodes.iter().count(), nodes.len());
    for (id, address) in nodes.iter() {
        assert_eq!(nodes.number(address), Some(id));
        assert_eq!(nodes.address(id), Some(address));
    }
}

/// Paths go to the kernel as they are.
fn check_path(path: &str) -> Result<(), &'static str> {
    assert!(
        path.starts_with('/') && !path.contains(['\0', '\n']),
        "{path:?}"
    );
    Ok(())
}
