// SPDX-License-Identifier: GPL-2.0
//! Checking and reloading the configuration.

use crate::output::Printer;
use anyhow::Result;
use serde::Serialize;
use std::{
    fmt::{self, Display, Formatter},
    fs::{Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    net::{Ipv4Addr, UdpSocket},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};
use virgo::status::Status;
use virgo_proto::config::{
    ConfigFile, FILE_LIMIT, Fault, KEY_LIMIT, KEY_MISSING, Limit, NOT_REGULAR, SettingsDraft,
    Statement, TEXT_KEY_MISSING, check_text_key, key, parse,
};

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

impl Finding {
    fn good(file: &Path, what: String) -> Self {
        let file = file.to_owned();
        Self {
            file,
            ok: true,
            line: 0,
            reason: what,
        }
    }

    fn bad(file: &Path, line: u32, reason: String) -> Self {
        let file = file.to_owned();
        Self {
            file,
            ok: false,
            line,
            reason,
        }
    }

    fn fault(file: &Path, Fault { line, reason }: Fault) -> Self {
        Self::bad(file, line, reason.to_owned())
    }
}

pub(crate) fn check(output: Printer, files: &[PathBuf]) -> Result<ExitCode> {
    let findings = if files.is_empty() {
        this_machine()
    } else {
        named(files)
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

pub(crate) fn reload(output: Printer) -> Result<()> {
    let status = Status::default();
    status.reload()?;
    let config = status.config()?;
    output.print(&config, || {
        format!("taken: node {} of {}", config.me, config.nodes.len())
    })
}

/// What is wrong with what the modules of this machine would read.
pub(crate) fn faults() -> Vec<String> {
    let findings = this_machine().into_iter();
    let bad = findings.filter(|finding| !finding.ok);
    bad.map(|finding| finding.to_string()).collect()
}

/// Checks what the modules of this machine would read.
fn this_machine() -> Vec<Finding> {
    let sources = [ConfigFile::Cloud, ConfigFile::Client].map(|file| Source {
        file,
        path: file.path().into(),
        contents: read(file.path().as_ref(), FILE_LIMIT).map(|read| read.0),
        optional: true,
    });
    let (draft, mut findings) = check_together(&sources, is_local);
    let mut keys = Vec::new();
    let shared = draft.key_file().map(|path| (path, KEY_MISSING));
    let own = text_key_files(&sources).into_iter();
    let own = own.map(|path| (path, TEXT_KEY_MISSING));
    for (path, missing) in shared.into_iter().chain(own) {
        findings.push(check_key(path, missing, &mut keys));
    }
    findings
}

/// The files that the lines 'text_key' of good files name.
fn text_key_files(sources: &[Source]) -> Vec<&str> {
    let mut files = Vec::new();
    for contents in sources.iter().flat_map(|source| &source.contents) {
        // A fault was found before.
        let _ = parse(contents, |_, item| {
            if let Statement::TextKey { path, .. } = item {
                files.push(path);
            }
            Ok(())
        });
    }
    files
}

/// Checks files that may be meant for other machines. A client file is checked with the cloud file
/// before it.
fn named(paths: &[PathBuf]) -> Vec<Finding> {
    let source = |path: &PathBuf| Source {
        file: match path.file_name() == Path::new(ConfigFile::Client.path()).file_name() {
            true => ConfigFile::Client,
            false => ConfigFile::Cloud,
        },
        path: path.clone(),
        contents: read(path, FILE_LIMIT).map(|read| read.0),
        optional: false,
    };
    let sources: Vec<_> = paths.iter().map(source).collect();
    let together = |one: &Source, next: &Source| {
        (one.file, next.file) == (ConfigFile::Cloud, ConfigFile::Client)
    };
    let sets = sources.chunk_by(together);
    sets.flat_map(|set| check_together(set, |_| true).1)
        .collect()
}

/// A file to check.
struct Source {
    file: ConfigFile,
    path: PathBuf,
    contents: io::Result<Vec<u8>>,
    /// Whether it need not be there.
    optional: bool,
}

/// Checks files that make up one configuration. Returns what those say that are good, and a
/// finding for each file.
fn check_together(
    sources: &[Source],
    is_local: impl Fn(Ipv4Addr) -> bool,
) -> (SettingsDraft<'_>, Vec<Finding>) {
    let mut draft = SettingsDraft::default();
    let mut findings = Vec::new();
    for source in sources {
        findings.push(match &source.contents {
            Ok(contents) => {
                let mut more = draft;
                match more.add(source.file, contents) {
                    Ok(()) => {
                        draft = more;
                        let nodes = draft.nodes(source.file).len();
                        Finding::good(&source.path, format!("ok (nodes: {nodes})"))
                    }
                    Err(fault) => Finding::fault(&source.path, fault),
                }
            }
            Err(error) if source.optional && error.kind() == ErrorKind::NotFound => {
                Finding::good(&source.path, "not there, which is allowed".to_owned())
            }
            Err(error) => Finding::bad(&source.path, 0, error.to_string()),
        });
    }
    // Without a file that is bad it is not known what the others mean.
    if findings.iter().all(|finding| finding.ok) {
        if let Err((file, fault)) = draft.complete(is_local) {
            if let Some(at) = sources.iter().position(|source| source.file == file) {
                findings[at] = Finding::fault(&sources[at].path, fault);
            }
        }
    }
    (draft, findings)
}

/// Checks the key at `path`, which must be none of `keys`, and adds it. `missing` is what is wrong if
/// there is none.
fn check_key(path: &str, missing: &str, keys: &mut Vec<Vec<u8>>) -> Finding {
    let path = Path::new(path);
    let reason = match read(path, KEY_LIMIT) {
        Ok((contents, about)) => {
            let found = key(&contents, about.uid(), about.mode());
            let others = keys.iter().map(Vec::as_slice);
            match found.and_then(|key| check_text_key(key, others).map(|()| key)) {
                Ok(key) => {
                    keys.push(key.to_vec());
                    return Finding::good(path, "ok".to_owned());
                }
                Err(reason) => reason.to_owned(),
            }
        }
        Err(error) => match error.kind() {
            ErrorKind::NotFound => missing.to_owned(),
            ErrorKind::PermissionDenied => {
                let what = "not checked, since only root may read it";
                return Finding::good(path, what.to_owned());
            }
            _ => error.to_string(),
        },
    };
    Finding::bad(path, 0, reason)
}

/// Reads a file, up to one byte beyond its limit, which shows that it is too long.
fn read(path: &Path, limit: Limit) -> io::Result<(Vec<u8>, Metadata)> {
    let failed = |error: io::Error| {
        let what = format!("cannot be read: {error}");
        io::Error::new(error.kind(), what)
    };
    // Does not wait for somebody to write into a pipe.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(io::Error::other(NOT_REGULAR));
    }
    let mut contents = Vec::new();
    file.take(limit.bytes as u64 + 1)
        .read_to_end(&mut contents)
        .map_err(failed)?;
    Ok((contents, about))
}

/// Whether the kernel lets this machine send from an address, as it does with its own.
fn is_local(address: Ipv4Addr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    /// Puts the files into a folder, checks them by their names in it, and returns what is said
    /// of each without the folder.
    fn said(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let put = |(name, text): &(&str, &str)| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let paths: Vec<_> = files.iter().map(put).collect();
        let prefix = format!("{}/", folder.path().display());
        let findings = named(&paths).into_iter();
        findings
            .map(|finding| finding.to_string().replace(&prefix, ""))
            .collect()
    }

    #[test]
    fn good_files_are_good() {
        let both = said(&[
            (
                "virgo_cloud.conf",
                "nodes = 10.9.0.1, 10.9.0.2\nremote_text = yes\n",
            ),
            ("virgo_client.conf", "10.9.0.2\n"),
        ]);
        assert_eq!(
            both,
            [
                "virgo_cloud.conf: ok (nodes: 2)",
                "virgo_client.conf: ok (nodes: 1)"
            ]
        );
    }

    #[test]
    fn each_bad_file_is_found() {
        let both = said(&[
            ("virgo_cloud.conf", "10.9.0.1\nauth = perhaps\n"),
            ("virgo_client.conf", "10.9.0.2\n\nremote_text = yes\n"),
        ]);
        assert_eq!(
            both,
            [
                "virgo_cloud.conf:2: auth: expected 'key' or 'none'",
                "virgo_client.conf:3: this key belongs into /etc/virgo_cloud.conf",
            ]
        );
    }

    #[test]
    fn a_client_file_is_checked_with_the_cloud_file_before_it() {
        let all = said(&[
            ("virgo_client.conf", "10.9.0.2"),
            ("a/virgo_cloud.conf", "10.9.0.1"),
            ("b/virgo_cloud.conf", "10.9.0.2\nself = 10.9.0.3"),
            ("c/virgo_cloud.conf", "10.9.0.1"),
            ("c/virgo_client.conf", "# chosen\n10.9.0.2"),
        ]);
        assert_eq!(
            all,
            [
                "virgo_client.conf: ok (nodes: 1)",
                "a/virgo_cloud.conf: ok (nodes: 1)",
                "b/virgo_cloud.conf:2: self: not among the nodes; say one of them, or nothing",
                "c/virgo_cloud.conf: ok (nodes: 1)",
                "c/virgo_client.conf:2: a node that /etc/virgo_cloud.conf does not name; add it \
                 there",
            ]
        );
    }

    #[test]
    fn a_machine_that_is_no_node_is_told_so() {
        let source = Source {
            file: ConfigFile::Cloud,
            path: "/a".into(),
            contents: Ok(b"10.9.0.1".into()),
            optional: true,
        };
        let (_, findings) = check_together(&[source], |_| false);
        let said = findings[0].to_string();
        assert!(!findings[0].ok);
        assert!(said.starts_with("/a: no node has an address"), "{said}");
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        assert!(is_local(Ipv4Addr::LOCALHOST));
        // Of a net that is for documents only.
        assert!(!is_local(Ipv4Addr::new(192, 0, 2, 1)));
    }

    #[test]
    fn a_missing_file_is_a_fault_if_it_was_named() {
        let source = |optional| Source {
            file: ConfigFile::Client,
            path: "/nonexistent".into(),
            contents: read(Path::new("/nonexistent"), FILE_LIMIT).map(|read| read.0),
            optional,
        };
        assert!(check_together(&[source(true)], |_| true).1[0].ok);
        let finding = &check_together(&[source(false)], |_| true).1[0];
        assert!(!finding.ok);
        assert_eq!(
            finding.to_string(),
            "/nonexistent: cannot be read: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn what_is_no_file_or_too_long_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path(), FILE_LIMIT).unwrap_err();
        assert_eq!(error.to_string(), NOT_REGULAR);
        let long = "#".repeat(FILE_LIMIT.bytes + 1);
        assert_eq!(said(&[("long", &long)]), ["long: longer than 64 KiB"]);
    }

    #[test]
    fn a_bad_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("the.key");
        let text = path.to_str().unwrap();
        let said = || {
            let finding = check_key(text, KEY_MISSING, &mut Vec::new());
            finding.to_string().replace(text, "the.key")
        };
        assert_eq!(said(), format!("the.key: {KEY_MISSING}"));
        fs::write(&path, "a key that everybody may read").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(said().starts_with("the.key: must be root's"), "{}", said());
    }

    #[test]
    fn findings_are_written_as_compilers_write_them() {
        let finding = Finding::bad(Path::new("/a"), 3, "unknown key".to_owned());
        assert_eq!(finding.to_string(), "/a:3: unknown key");
    }
}
