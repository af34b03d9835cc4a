// SPDX-License-Identifier: GPL-2.0
//! Checking and reloading the configuration.

use crate::output::Output;
use anyhow::Result;
use serde::Serialize;
use std::{
    fmt::{self, Display, Formatter},
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
};
use virgo::status::Status;
use virgo_proto::config::{Item, MAX_FILE, Nodes, parse};

const CLOUD: &str = "/etc/virgo_cloud.conf";
const CLIENT: &str = "/etc/virgo_client.conf";

/// What was found out about a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    file: PathBuf,
    ok: bool,
    /// Line of the fault; 0 for the file as a whole.
    line: u32,
    /// What is wrong, or what the file says.
    reason: String,
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}", self.reason)
    }
}

pub(crate) fn check(output: Output, files: &[PathBuf]) -> Result<ExitCode> {
    let mut check = Check::default();
    let findings: Vec<_> = if files.is_empty() {
        let default = |path| check.file(Path::new(path), true);
        [CLOUD, CLIENT].map(default).into()
    } else {
        files.iter().map(|path| check.file(path, false)).collect()
    };
    output.print(&findings, || {
        let lines = findings.iter().map(|finding| format!("{finding}\n"));
        lines.collect()
    })?;
    Ok(if findings.iter().all(|finding| finding.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub(crate) fn reload(output: Output) -> Result<()> {
    let status = Status::default();
    status.reload()?;
    let config = status.config()?;
    output.print(&config, || {
        format!("taken: node {} of {}", config.me, config.nodes.len())
    })
}

/// Checks files as virgo_config does, one after the other.
#[derive(Default)]
struct Check {
    /// The nodes of the last virgo_cloud.conf.
    cloud: Nodes,
}

impl Check {
    /// Checks one file. With `optional` it need not be there.
    fn file(&mut self, path: &Path, optional: bool) -> Finding {
        let (ok, line, reason) = match fs::read(path) {
            Ok(content) => match self.content(path, &content) {
                Ok(nodes) => (true, 0, format!("ok (nodes: {nodes})")),
                Err((line, reason)) => (false, line, reason.to_owned()),
            },
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => {
                (true, 0, "not there, which is allowed".to_owned())
            }
            Err(error) => (false, 0, format!("cannot be read: {error}")),
        };
        Finding {
            file: path.to_owned(),
            ok,
            line,
            reason,
        }
    }

    /// Returns how many nodes the file names, or where it is wrong and why.
    fn content(&mut self, path: &Path, content: &[u8]) -> Result<usize, (u32, &'static str)> {
        if content.len() > MAX_FILE {
            return Err((0, "longer than 64 KiB"));
        }
        let client = path.file_name() == Path::new(CLIENT).file_name();
        let mut nodes = Nodes::new();
        let mut own = None;
        parse(content, |item| {
            if client {
                self.allowed_in_client(item)?;
            }
            match item {
                Item::Node(address) => nodes.add(address)?,
                Item::SelfAddress(address) => own = Some(address),
                _ => (),
            }
            Ok(())
        })
        .map_err(|fault| (fault.line, fault.reason))?;
        let cluster = if client && !self.cloud.is_empty() {
            &self.cloud
        } else {
            &nodes
        };
        let known = |own: Ipv4Addr| cluster.number(own).is_some();
        if !cluster.is_empty() && !own.is_none_or(known) {
            return Err((0, "self: not among the nodes"));
        }
        if !client {
            self.cloud = nodes;
        }
        Ok(nodes.len())
    }

    fn allowed_in_client(&self, item: Item<'_>) -> Result<(), &'static str> {
        match item {
            Item::Node(address) => {
                if !self.cloud.is_empty() && self.cloud.number(address).is_none() {
                    return Err("a node that /etc/virgo_cloud.conf does not name");
                }
                Ok(())
            }
            Item::SelfAddress(_) | Item::DeadlineMs(_) | Item::Place(_) => Ok(()),
            _ => Err("this key belongs into /etc/virgo_cloud.conf"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_both(cloud: &str, client: &str) -> [Result<usize, (u32, &'static str)>; 2] {
        let mut check = Check::default();
        [(CLOUD, cloud), (CLIENT, client)]
            .map(|(path, content)| check.content(Path::new(path), content.as_bytes()))
    }

    #[test]
    fn good_files_are_good() {
        let both = check_both(
            "nodes = 10.9.0.1, 10.9.0.2\nremote_text = yes\n",
            "10.9.0.2\n",
        );
        assert_eq!(both, [Ok(2), Ok(1)]);
    }

    #[test]
    fn faults_have_a_line() {
        let both = check_both("auth = none\nbogus = 1\n", "\nremote_text = yes\n");
        let reason = "this key belongs into /etc/virgo_cloud.conf";
        assert_eq!(both, [Err((2, "unknown key")), Err((2, reason))]);
    }

    #[test]
    fn files_must_agree() {
        let [cloud, client] = check_both("10.9.0.1", "10.9.0.2");
        assert_eq!(cloud, Ok(1));
        assert_eq!(
            client,
            Err((1, "a node that /etc/virgo_cloud.conf does not name"))
        );
        let [cloud, _] = check_both("self = 10.9.0.9\nnodes = 10.9.0.1\n", "");
        assert_eq!(cloud, Err((0, "self: not among the nodes")));
    }

    #[test]
    fn a_missing_file_is_a_fault_if_it_was_named() {
        let path = Path::new("/nonexistent/virgo_cloud.conf");
        assert!(Check::default().file(path, true).ok);
        let finding = Check::default().file(path, false);
        assert!(!finding.ok);
        assert_eq!(
            finding.to_string(),
            "/nonexistent/virgo_cloud.conf: cannot be read: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn findings_are_written_as_compilers_write_them() {
        let finding = Finding {
            file: "/a".into(),
            ok: false,
            line: 3,
            reason: "unknown key".to_owned(),
        };
        assert_eq!(finding.to_string(), "/a:3: unknown key");
    }
}
