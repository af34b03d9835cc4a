// SPDX-License-Identifier: GPL-2.0

//! Configuration files.

use virgo_proto::config::{
    self, ConfigFile, Fault, MAX_DEADLINE_MS, MAX_NODES, SettingsDraft, Statement,
};

/// The bytes are one file, or with a NUL between them both.
pub(crate) fn check(bytes: &[u8]) {
    let mut files = bytes.splitn(2, |&byte| byte == 0);
    let cloud = files.next().unwrap_or_default();
    let client = files.next().unwrap_or_default();
    check_items(bytes);
    let mut draft = SettingsDraft::default();
    let read = draft
        .add(ConfigFile::Cloud, cloud)
        .map_err(|fault| (ConfigFile::Cloud, fault))
        .and_then(|()| {
            let read = draft.add(ConfigFile::Client, client);
            read.map_err(|fault| (ConfigFile::Client, fault))
        });
    if let Some(path) = draft.key_file() {
        check_path(path);
    }
    // The first address that anybody asks for is this machine's.
    match read.and_then(|()| draft.complete(|_| true)) {
        Ok(settings) => {
            let nodes = settings.nodes;
            assert!((1..=MAX_NODES).contains(&nodes.len()));
            assert!(nodes.address(settings.me).is_some());
            for (id, address) in nodes.iter() {
                assert_eq!(nodes.number(address), Some(id));
                assert_eq!(nodes.address(id), Some(address));
            }
            assert!(settings.used != 0 && settings.used <= u64::MAX >> (64 - nodes.len()));
        }
        Err((ConfigFile::Cloud, fault)) => check_fault(fault, cloud),
        Err((ConfigFile::Client, fault)) => check_fault(fault, client),
    }
}

fn check_items(file: &[u8]) {
    let result = config::parse(file, |_, item| {
        match item {
            Statement::DeadlineMs(ms) => assert!((1..=MAX_DEADLINE_MS).contains(&ms)),
            Statement::KeyFile(path)
            | Statement::Executable { path, .. }
            | Statement::Library(path) => check_path(path),
            Statement::Export { path, .. } => check_path(path),
            _ => (),
        }
        Ok(())
    });
    if let Err(fault) = result {
        check_fault(fault, file);
    }
}

fn check_fault(fault: Fault, file: &[u8]) {
    let lines = file.split(|&byte| byte == b'\n').count();
    assert!(fault.line as usize <= lines, "{fault:?}");
    assert!(!fault.reason.is_empty());
}

/// Paths go to the kernel as they are.
fn check_path(path: &str) {
    assert!(
        path.starts_with('/') && !path.contains(['\0', '\n']),
        "{path:?}"
    );
}
