// SPDX-License-Identifier: GPL-2.0
//! The two ends of a copy: files of this machine and of nodes, used alike.

use crate::{
    known::{Kind, Known},
    opened::Opened,
};
use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
    process::geteuid,
};
use std::{
    ffi::{OsStr, OsString},
    fmt::{self, Display, Formatter},
    fs,
    io::ErrorKind,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};
use virgo_proto::cloudfs::{At, BadName, FileName};

/// A file or directory, or where one is to be. Names are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Of this machine.
    Local(PathBuf),
    /// Of a node, by its name in the cluster.
    Cluster(OsString),
}

impl End {
    /// Reads an argument: what says on which node is the cluster's, everything else is a path.
    ///
    /// # Errors
    ///
    /// A node and no path on it: most likely a slash was forgotten.
    pub(crate) fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        match FileName::parse(bytes) {
            Ok(FileName { at, .. }) if at != At::Here => return Ok(Self::Cluster(text.to_owned())),
            Err(BadName::Path) => (),
            _ => return Ok(Self::Local(text.into())),
        }
        if let Some(colon) = bytes.iter().position(|&byte| byte == b':') {
            let rooted = [&bytes[..=colon], b"/"].concat();
            if FileName::parse(&rooted).is_ok() {
                bail!(
                    "{0}: a path on a node begins with a slash; a file of this machine that is \
                     called so is ./{0}",
                    virgo::shown(text)
                );
            }
        }
        Ok(Self::Local(text.into()))
    }

    /// The path of one on a node.
    fn path_of(name: &OsStr) -> &[u8] {
        let bytes = name.as_bytes();
        let colon = bytes.iter().position(|&byte| byte == b':');
        colon.map_or(bytes, |colon| &bytes[colon + 1..])
    }

    /// The last name of the path, if it has one.
    pub(crate) fn file_name(&self) -> Option<OsString> {
        match self {
            Self::Local(path) => Some(path.file_name()?.to_owned()),
            Self::Cluster(name) => {
                let path = Path::new(OsStr::from_bytes(Self::path_of(name)));
                Some(path.file_name()?.to_owned())
            }
        }
    }

    /// What is called `name` in this directory.
    pub(crate) fn join(&self, name: &OsStr) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Cluster(dir) => {
                let mut bytes = dir.as_bytes().to_vec();
                while bytes.ends_with(b"/") {
                    bytes.pop();
                }
                bytes.push(b'/');
                bytes.extend(name.as_bytes());
                Self::Cluster(OsString::from_vec(bytes))
            }
        }
    }

    /// The directory that it is in, as its name says; `None` for a root.
    pub(crate) fn parent(&self) -> Option<Self> {
        match self {
            Self::Local(path) if path == Path::new(".") => None,
            Self::Local(path) => {
                let parent = path.parent()?;
                Some(Self::Local(match parent.as_os_str().is_empty() {
                    true => ".".into(),
                    false => parent.to_owned(),
                }))
            }
            Self::Cluster(name) => {
                let path = Path::new(OsStr::from_bytes(Self::path_of(name)));
                let parent = path.parent()?.as_os_str().as_bytes();
                let node = name.len() - path.as_os_str().len();
                let name = [&name.as_bytes()[..node], parent].concat();
                Some(Self::Cluster(OsString::from_vec(name)))
            }
        }
    }

    /// What is called `name` in the directory that it is in.
    pub(crate) fn beside(&self, name: &str) -> Result<Self> {
        let dir = self.parent();
        let dir = dir.with_context(|| format!("{self} is a directory"))?;
        Ok(dir.join(OsStr::new(name)))
    }

    /// What is known of it, or of what a symbolic link leads to; `None` if it is not there.
    pub(crate) fn look(&self) -> Result<Option<Known>> {
        match self {
            Self::Local(path) => match fs::metadata(path) {
                Ok(found) => Ok(Some(Known::of_local(&found))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(|| format!("cannot look at {self}")),
            },
            Self::Cluster(name) => match virgo::metadata(name) {
                Ok(found) => Ok(Some(Known::of_cluster(&found))),
                Err(error) if error.errno() == libc::ENOENT => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// The same on this machine, if that is the node that it is on: `found` is what is known of it.
    pub(crate) fn here(&self, found: &Known) -> Option<PathBuf> {
        match self {
            Self::Local(path) => Some(path.clone()),
            Self::Cluster(name) => {
                // What names no node is this one's, if it is exported.
                let path = OsStr::from_bytes(Self::path_of(name));
                let here = virgo::metadata(path).ok()?;
                (here.stat().node == found.inode.node).then(|| path.into())
            }
        }
    }

    /// Returns when the names in the directory that it is in are on the disk.
    pub(crate) fn sync_parent(&self) -> Result<()> {
        match self.parent() {
            Some(Self::Local(dir)) => {
                let synced = fs::File::open(&dir).and_then(|dir| dir.sync_all());
                synced.with_context(|| format!("cannot bring {} to the disk", virgo::shown(dir)))
            }
            Some(Self::Cluster(dir)) => Ok(virgo::File::open(dir)?.sync()?),
            None => Ok(()),
        }
    }

    /// Names in this directory.
    pub(crate) fn list(&self) -> Result<Vec<OsString>> {
        match self {
            Self::Local(path) => fs::read_dir(path)
                .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
                .with_context(|| format!("cannot list {self}")),
            Self::Cluster(name) => {
                let entries = virgo::read_dir(name)?;
                Ok(entries.into_iter().map(|entry| entry.name).collect())
            }
        }
    }

    /// Makes this directory with permissions `mode`, if it is not there; with those on the way to it, on
    /// this machine. Returns whether it was made.
    pub(crate) fn make_dir(&self, mode: u32) -> Result<bool> {
        let made = match self {
            Self::Local(path) => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).with_context(|| format!("cannot make {self}"))?;
                }
                match fs::DirBuilder::new().mode(mode).create(path) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {
                        return Ok(false);
                    }
                    made => made,
                }
            }
            Self::Cluster(name) => match virgo::create_dir_with_mode(name, mode) {
                Err(error) if error.errno() == libc::EEXIST => return Ok(false),
                Err(error) => return Err(error.into()),
                Ok(()) => Ok(()),
            },
        };
        made.with_context(|| format!("cannot make {self}"))?;
        Ok(true)
    }

    /// Opens it for reading.
    pub(crate) fn open(&self) -> Result<Opened> {
        Ok(match self {
            Self::Local(path) => {
                let mut options = fs::OpenOptions::new();
                // Should it have become a pipe meanwhile, nobody is waited for.
                let options = options.read(true).custom_flags(libc::O_NONBLOCK);
                let file = options.open(path);
                Opened::Local(file.with_context(|| format!("cannot open {self}"))?)
            }
            Self::Cluster(name) => Opened::Cluster(virgo::File::open(name)?),
        })
    }

    /// Opens for writing, and reading, what this program has made before.
    ///
    /// # Errors
    ///
    /// Also if it is a link, or has other names, or is somebody else's: who may write to its directory
    /// could have any file written to by that.
    pub(crate) fn open_own(&self) -> Result<Opened> {
        let file = match self {
            Self::Local(path) => {
                let mut options = fs::OpenOptions::new();
                let options = options.read(true).write(true);
                let options = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
                let file = options.open(path);
                Opened::Local(file.with_context(|| format!("cannot open {self}"))?)
            }
            Self::Cluster(name) => {
                let options = virgo::Open::new().read().write().no_follow();
                Opened::Cluster(options.open(name)?)
            }
        };
        let known = file.known()?;
        ensure!(
            known.kind == Kind::File && known.links == 1,
            "{self} is not a file with one name"
        );
        if let Opened::Local(_) = file {
            // On a node all files are those of the user that the export names.
            ensure!(known.uid == geteuid().as_raw(), "{self} is somebody else's");
        }
        Ok(file)
    }

    /// Makes it, with permissions `mode`, and opens it for writing, and reading.
    ///
    /// # Errors
    ///
    /// Also if it is there already.
    pub(crate) fn create(&self, mode: u32) -> Result<Opened> {
        Ok(match self {
            Self::Local(path) => {
                let mut options = fs::OpenOptions::new();
                let options = options.read(true).write(true).create_new(true);
                let file = options.mode(mode).open(path);
                Opened::Local(file.with_context(|| format!("cannot create {self}"))?)
            }
            Self::Cluster(name) => {
                let options = virgo::Open::new().read().write().create_new().mode(mode);
                Opened::Cluster(options.open(name)?)
            }
        })
    }

    /// Gives it the name of `to`; what has that goes.
    pub(crate) fn rename(&self, to: &Self) -> Result<()> {
        match (self, to) {
            (Self::Local(from), Self::Local(new)) => {
                fs::rename(from, new).with_context(|| format!("cannot rename {self} to {to}"))
            }
            (Self::Cluster(from), Self::Cluster(to)) => Ok(virgo::rename(from, to)?),
            _ => bail!("{self} and {to} are at different ends"),
        }
    }

    /// As [`Self::rename`], unless something has that name already: `false` then.
    pub(crate) fn rename_new(&self, to: &Self) -> Result<bool> {
        match (self, to) {
            (Self::Local(from), Self::Local(new)) => match local_rename_new(from, new) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                renamed => {
                    renamed.with_context(|| format!("cannot rename {self} to {to}"))?;
                    Ok(true)
                }
            },
            (Self::Cluster(from), Self::Cluster(to)) => match virgo::rename_new(from, to) {
                Err(error) if error.errno() == libc::EEXIST => Ok(false),
                renamed => {
                    renamed?;
                    Ok(true)
                }
            },
            _ => bail!("{self} and {to} are at different ends"),
        }
    }

    /// Removes this file.
    pub(crate) fn remove(&self) -> Result<()> {
        match self {
            Self::Local(path) => {
                fs::remove_file(path).with_context(|| format!("cannot remove {self}"))
            }
            Self::Cluster(name) => Ok(virgo::remove_file(name)?),
        }
    }
}

/// Gives a file of this machine another name that nothing has.
fn local_rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not all file systems can do that in one step.
        Err(Errno::INVAL | Errno::NOSYS) => match fs::symlink_metadata(to) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Local(path) => virgo::shown(path),
            Self::Cluster(name) => virgo::shown(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(name: &str) -> End {
        End::parse(OsStr::new(name)).unwrap()
    }

    #[test]
    fn names_of_nodes_are_told_from_paths() {
        for name in ["2:/a", "node3:/a/b", "1,2:/a", "random:/a"] {
            assert_eq!(end(name), End::Cluster(name.into()));
        }
        for path in ["/a", "a", "./2:/a", "x:/a", ".", "65:a"] {
            assert_eq!(end(path), End::Local(path.into()), "{path}");
        }
        let odd = OsStr::from_bytes(b"2:/\xff");
        assert_eq!(End::parse(odd).unwrap(), End::Cluster(odd.to_owned()));
    }

    #[test]
    fn a_forgotten_slash_is_told() {
        for name in ["2:hosts", "node2:a/b", "1,2:a", "random:a", "2:"] {
            let said = End::parse(OsStr::new(name)).unwrap_err().to_string();
            assert!(said.contains("begins with a slash"), "{said}");
        }
    }

    #[test]
    fn names_are_put_together() {
        let dir = end("2:/a/");
        assert_eq!(dir.file_name(), Some("a".into()));
        assert_eq!(dir.join(OsStr::new("b")), end("2:/a/b"));
        assert_eq!(end("2:/").file_name(), None);
        assert_eq!(end("2:/a/b").beside("c").unwrap(), end("2:/a/c"));
        assert_eq!(end("2:/b").beside("c").unwrap(), end("2:/c"));
        assert_eq!(end("b").beside("c").unwrap(), end("./c"));
        assert_eq!(end("2:/").parent(), None);
    }
}
