// SPDX-License-Identifier: GPL-2.0
//! The two ends of a copy: files of this machine and of nodes, used alike.

use anyhow::{Context, Result};
use std::{
    fmt::{self, Display, Formatter},
    fs,
    io::ErrorKind,
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use virgo_proto::cloudfs::{At, Name};

/// Permission bits.
const PERMISSIONS: u32 = 0o777;

/// A file or directory, or where one is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Of this machine.
    Local(PathBuf),
    /// Of a node, by its name in the cluster.
    Cluster(String),
}

/// What is known of one.
pub(crate) struct Known {
    pub(crate) is_dir: bool,
    pub(crate) len: u64,
    pub(crate) mode: u32,
}

impl End {
    /// Reads an argument: what says on which node is the cluster's, everything else is a path.
    pub(crate) fn parse(text: &str) -> Self {
        match Name::parse(text.as_bytes()) {
            Ok(Name { at, .. }) if at != At::Here => Self::Cluster(text.to_owned()),
            _ => Self::Local(text.into()),
        }
    }

    /// The last name of the path, if it has one.
    pub(crate) fn file_name(&self) -> Option<String> {
        match self {
            Self::Local(path) => Some(path.file_name()?.to_str()?.to_owned()),
            Self::Cluster(name) => {
                let path = name.split_once(':')?.1.trim_end_matches('/');
                path.rsplit('/')
                    .next()
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
            }
        }
    }

    /// What is called `name` in this directory.
    pub(crate) fn join(&self, name: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Cluster(dir) => Self::Cluster(format!("{}/{name}", dir.trim_end_matches('/'))),
        }
    }

    /// The name of a part of it while it is copied.
    pub(crate) fn part(&self) -> Self {
        match self {
            Self::Local(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".virgo-part");
                Self::Local(name.into())
            }
            Self::Cluster(name) => Self::Cluster(format!("{name}.virgo-part")),
        }
    }

    /// What is known of it; `None` if it is not there.
    pub(crate) fn look(&self) -> Result<Option<Known>> {
        match self {
            Self::Local(path) => match fs::metadata(path) {
                Ok(found) => Ok(Some(Known {
                    is_dir: found.is_dir(),
                    len: found.len(),
                    mode: found.permissions().mode() & PERMISSIONS,
                })),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(|| format!("cannot look at {self}")),
            },
            Self::Cluster(name) => match virgo::metadata(name) {
                Ok(found) => Ok(Some(Known {
                    is_dir: found.is_dir(),
                    len: found.len(),
                    mode: found.stat().mode & PERMISSIONS,
                })),
                Err(error) if error.errno() == libc::ENOENT => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Returns when the names in the directory that it is in are on the disk.
    pub(crate) fn sync_parent(&self) -> Result<()> {
        match self {
            Self::Local(path) => {
                let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
                let dir = parent.unwrap_or(Path::new("."));
                let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
                synced.with_context(|| format!("cannot bring {} to the disk", dir.display()))
            }
            Self::Cluster(name) => {
                let parent = name.rsplit_once('/').map_or(&**name, |(dir, _)| dir);
                Ok(virgo::File::open(parent)?.sync()?)
            }
        }
    }

    /// Names in this directory.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let names: Vec<_> = match self {
            Self::Local(path) => fs::read_dir(path)
                .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
                .with_context(|| format!("cannot list {self}"))?,
            Self::Cluster(name) => {
                let entries = virgo::read_dir(name)?;
                entries.into_iter().map(|entry| entry.name).collect()
            }
        };
        names
            .into_iter()
            .map(|name| {
                name.into_string()
                    .ok()
                    .with_context(|| format!("{self} has a name that is not UTF-8"))
            })
            .collect()
    }

    /// Makes this directory, if it is not there.
    pub(crate) fn make_dir(&self) -> Result<()> {
        match self {
            Self::Local(path) => fs::create_dir_all(path),
            Self::Cluster(name) => match virgo::create_dir(name) {
                Err(error) if error.errno() == libc::EEXIST => Ok(()),
                made => return Ok(made?),
            },
        }
        .with_context(|| format!("cannot make {self}"))
    }

    /// Opens it for reading.
    pub(crate) fn open(&self) -> Result<Opened> {
        Ok(match self {
            Self::Local(path) => {
                let file = fs::File::open(path);
                Opened::Local(file.with_context(|| format!("cannot open {self}"))?)
            }
            Self::Cluster(name) => Opened::Cluster(virgo::File::open(name)?),
        })
    }

    /// Opens it for writing, and reading; it is made, with permissions `mode`, if it is not there.
    pub(crate) fn create(&self, mode: u32) -> Result<Opened> {
        Ok(match self {
            Self::Local(path) => {
                let mut options = fs::OpenOptions::new();
                let options = options.read(true).write(true).create(true).truncate(false);
                let file = options.mode(mode).open(path);
                Opened::Local(file.with_context(|| format!("cannot create {self}"))?)
            }
            Self::Cluster(name) => {
                let options = virgo::Open::new().read().write().create().mode(mode);
                Opened::Cluster(options.open(name)?)
            }
        })
    }

    /// Gives it the name of `to`.
    pub(crate) fn rename(&self, to: &Self) -> Result<()> {
        match (self, to) {
            (Self::Local(from), Self::Local(to)) => fs::rename(from, to)
                .with_context(|| format!("cannot rename {self} to {}", to.display())),
            (Self::Cluster(from), Self::Cluster(to)) => Ok(virgo::rename(from, to)?),
            _ => unreachable!("a part is where the whole will be"),
        }
    }
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Cluster(name) => name.fmt(f),
        }
    }
}

/// An open file.
pub(crate) enum Opened {
    Local(fs::File),
    Cluster(virgo::File),
}

impl Opened {
    /// Reads at byte `offset`. Fewer bytes than there is room for are the last ones.
    pub(crate) fn read_at(&self, offset: u64, data: &mut [u8]) -> Result<usize> {
        match self {
            Self::Cluster(file) => Ok(file.read_at(offset, data)?),
            Self::Local(file) => {
                let mut done = 0;
                while done < data.len() {
                    match file.read_at(&mut data[done..], offset + done as u64) {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(error) if error.kind() == ErrorKind::Interrupted => (),
                        Err(error) => return Err(error).context("cannot read"),
                    }
                }
                Ok(done)
            }
        }
    }

    pub(crate) fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        match self {
            Self::Cluster(file) => Ok(file.write_at(offset, data)?),
            Self::Local(file) => file.write_all_at(data, offset).context("cannot write"),
        }
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        match self {
            Self::Cluster(file) => Ok(file.set_len(len)?),
            Self::Local(file) => file.set_len(len).context("cannot truncate"),
        }
    }

    pub(crate) fn sync(&self) -> Result<()> {
        match self {
            Self::Cluster(file) => Ok(file.sync()?),
            Self::Local(file) => file.sync_all().context("cannot bring to the disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_are_told_from_paths() {
        let cluster = |name: &str| End::Cluster(name.to_owned());
        for name in ["2:/a", "node3:/a/b", "1,2:/a", "random:/a"] {
            assert_eq!(End::parse(name), cluster(name));
        }
        for path in ["/a", "a", "./2:/a", "x:/a", "2:a", "."] {
            assert_eq!(End::parse(path), End::Local(path.into()), "{path}");
        }
    }

    #[test]
    fn names_are_put_together() {
        let dir = End::parse("2:/a/");
        assert_eq!(dir.file_name().as_deref(), Some("a"));
        assert_eq!(dir.join("b"), End::parse("2:/a/b"));
        assert_eq!(End::parse("2:/").file_name(), None);
        assert_eq!(End::parse("2:/b").part(), End::parse("2:/b.virgo-part"));
        assert_eq!(End::parse("b").part(), End::parse("b.virgo-part"));
    }
}
