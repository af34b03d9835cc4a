// SPDX-License-Identifier: GPL-2.0
//! The two ends of a copy: files of this machine and of nodes, used alike.

use anyhow::{Context, Result, bail};
use std::{
    ffi::{OsStr, OsString},
    fmt::{self, Display, Formatter},
    fs,
    io::ErrorKind,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};
use virgo_proto::cloudfs::{At, BadName, Name};

/// Permission bits.
const PERMISSIONS: u32 = 0o777;

/// A file or directory, or where one is to be. Names are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Of this machine.
    Local(PathBuf),
    /// Of a node, by its name in the cluster.
    Cluster(OsString),
}

/// What is known of one.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) kind: Kind,
    pub(crate) len: u64,
    pub(crate) mode: u32,
    pub(crate) inode: Inode,
    /// Last change of its content: seconds and nanoseconds.
    pub(crate) modified: (i64, u32),
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Dir,
    /// Neither: a device, a pipe, a socket.
    Special(&'static str),
}

/// Tells files of one machine, or of one export of a node, apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    /// The node; 0 for this machine.
    pub(crate) node: u32,
    /// The file system, of this machine.
    dev: u64,
    number: u64,
}

impl Known {
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    fn of_cluster(found: &virgo::Metadata) -> Self {
        let stat = found.stat();
        Self {
            kind: match stat.mode & libc::S_IFMT {
                libc::S_IFREG => Kind::File,
                libc::S_IFDIR => Kind::Dir,
                libc::S_IFIFO => Kind::Special("a pipe"),
                libc::S_IFSOCK => Kind::Special("a socket"),
                _ => Kind::Special("a device"),
            },
            len: stat.size,
            mode: stat.mode & PERMISSIONS,
            inode: Inode {
                node: stat.node,
                dev: 0,
                number: stat.ino,
            },
            modified: (stat.mtime_s, stat.mtime_ns),
        }
    }

    fn of_local(found: &fs::Metadata) -> Self {
        let kind = found.file_type();
        Self {
            kind: match () {
                () if kind.is_file() => Kind::File,
                () if kind.is_dir() => Kind::Dir,
                () if kind.is_fifo() => Kind::Special("a pipe"),
                () if kind.is_socket() => Kind::Special("a socket"),
                () => Kind::Special("a device"),
            },
            len: found.len(),
            mode: found.mode() & PERMISSIONS,
            inode: Inode {
                node: 0,
                dev: found.dev(),
                number: found.ino(),
            },
            modified: (
                found.mtime(),
                u32::try_from(found.mtime_nsec()).unwrap_or(0),
            ),
        }
    }
}

impl End {
    /// Reads an argument: what says on which node is the cluster's, everything else is a path.
    ///
    /// # Errors
    ///
    /// A node and no path on it: most likely a slash was forgotten.
    pub(crate) fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        match Name::parse(bytes) {
            Ok(Name { at, .. }) if at != At::Here => return Ok(Self::Cluster(text.to_owned())),
            Err(BadName::Path) => (),
            _ => return Ok(Self::Local(text.into())),
        }
        if let Some(colon) = bytes.iter().position(|&byte| byte == b':') {
            let rooted = [&bytes[..=colon], b"/"].concat();
            if Name::parse(&rooted).is_ok() {
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
                let mut options = fs::OpenOptions::new();
                // Should it have become a pipe meanwhile, nobody is waited for.
                let options = options.read(true).custom_flags(libc::O_NONBLOCK);
                let file = options.open(path);
                Opened::Local(file.with_context(|| format!("cannot open {self}"))?)
            }
            Self::Cluster(name) => Opened::Cluster(virgo::File::open(name)?),
        })
    }

    /// Opens it for writing, and reading.
    pub(crate) fn open_again(&self) -> Result<Opened> {
        Ok(match self {
            Self::Local(path) => {
                let file = fs::OpenOptions::new().read(true).write(true).open(path);
                Opened::Local(file.with_context(|| format!("cannot open {self}"))?)
            }
            Self::Cluster(name) => Opened::Cluster(virgo::Open::new().read().write().open(name)?),
        })
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

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Local(path) => virgo::shown(path),
            Self::Cluster(name) => virgo::shown(name),
        })
    }
}

/// An open file.
pub(crate) enum Opened {
    Local(fs::File),
    Cluster(virgo::File),
}

impl Opened {
    /// What is known of it.
    pub(crate) fn known(&self) -> Result<Known> {
        match self {
            Self::Cluster(file) => Ok(Known::of_cluster(&file.metadata()?)),
            Self::Local(file) => Ok(Known::of_local(&file.metadata().context("cannot look at")?)),
        }
    }

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
