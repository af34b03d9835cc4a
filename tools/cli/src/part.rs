// SPDX-License-Identifier: GPL-2.0
//! A file while it is copied: it has a name of its own, and gets that of the target when it is whole.

use crate::ends::{End, Known, Opened};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsString,
    hash::{BuildHasher, RandomState},
    os::unix::ffi::OsStrExt,
    thread::sleep,
    time::{Duration, Instant},
};

/// How long somebody else may take to give a copy the name of the target. He needs a few requests.
const PATIENCE: Duration = Duration::from_secs(15);

/// A copy that is being written.
pub(crate) struct Part {
    pub(crate) name: End,
    pub(crate) file: Opened,
    target: End,
    /// What has the name of the target when the copy begins.
    replaced: Option<Known>,
}

impl Part {
    /// A new one, for a copy of what `source` is to `target`.
    pub(crate) fn create(source: &Known, target: &End) -> Result<Self> {
        let replaced = target.look()?;
        let name = name(source, target)?;
        Ok(Self {
            file: name.create(source.mode)?,
            name,
            target: target.clone(),
            replaced,
        })
    }

    /// A new one, for a copy of what can be read only once: nobody can go on with it.
    pub(crate) fn create_once(mode: u32, target: &End) -> Result<Self> {
        let replaced = target.look()?;
        let name = target.beside(&format!(".virgo-part-{:08x}", random()))?;
        Ok(Self {
            file: name.create(mode)?,
            name,
            target: target.clone(),
            replaced,
        })
    }

    /// One that an earlier copy of the same source to the same target has left, if there is one.
    ///
    /// Taking it over gives it another name: of several who want to go on with it one does, and who
    /// still writes it cannot finish it.
    pub(crate) fn resume(source: &Known, target: &End) -> Result<Option<Self>> {
        let dir = target.parent();
        let dir = dir.with_context(|| format!("{target} is a directory"))?;
        let start = prefix(source, target)?;
        for found in dir.list()? {
            if !found.as_bytes().starts_with(start.as_bytes()) {
                continue;
            }
            let (found, name) = (dir.join(&found), name(source, target)?);
            if found.rename(&name).is_err() {
                continue;
            }
            match name.open_again() {
                Ok(file) => {
                    return Ok(Some(Self {
                        file,
                        name,
                        target: target.clone(),
                        replaced: target.look()?,
                    }));
                }
                // Of a source that must not be written to.
                Err(_) => name.remove()?,
            }
        }
        Ok(None)
    }

    /// Gives it the name of the target, unless another copy has got that since this one began: so of
    /// several who copy to one name at a time one is told that it is done.
    pub(crate) fn finish(&self) -> Result<()> {
        let (End::Cluster(part), End::Cluster(target)) = (&self.name, &self.target) else {
            return self.name.rename(&self.target);
        };
        // Only one at a time has this name, and may look and act.
        let claim = self.target.beside(&claim(&self.target)?)?;
        let End::Cluster(claimed) = &claim else {
            bail!("{claim} is not where its target is");
        };
        let start = Instant::now();
        while let Err(error) = virgo::rename_new(part, claimed) {
            if error.errno() != libc::EEXIST {
                return Err(error.into());
            }
            if start.elapsed() > PATIENCE {
                // Who had it has died, and nobody was told that the copy is done.
                claim.remove()?;
            } else {
                sleep(Duration::from_millis(50));
            }
        }
        let done = self
            .check_target()
            .and_then(|()| Ok(virgo::rename(claimed, target)?));
        if done.is_err() {
            // The caller knows it by its own name.
            let _ = virgo::rename_new(claimed, part);
        }
        done
    }

    fn check_target(&self) -> Result<()> {
        let inode = |known: &Known| known.inode;
        let now = self.target.look()?;
        if now.as_ref().map(inode) != self.replaced.as_ref().map(inode) {
            bail!("{} was replaced by another copy meanwhile", self.target);
        }
        Ok(())
    }
}

/// A name that nobody else uses.
fn name(source: &Known, target: &End) -> Result<End> {
    target.beside(&format!("{}{:08x}", prefix(source, target)?, random()))
}

fn random() -> u32 {
    RandomState::new().hash_one(std::process::id()) as u32
}

/// How names of copies of this source to this target begin: sources that differ have different ones.
fn prefix(source: &Known, target: &End) -> Result<String> {
    let machine = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let about = format!("{:?} {} {:?} ", source.inode, source.len, source.modified);
    // Numbers of inodes are those of the machine that is asked.
    let machine: &[u8] = if source.inode.node == 0 {
        &machine
    } else {
        b""
    };
    let digest = digest(&[machine, about.as_bytes(), file_name(target)?.as_bytes()]);
    Ok(format!(".virgo-part-{digest}-"))
}

/// The name that a copy has while it gets that of the target.
fn claim(target: &End) -> Result<String> {
    Ok(format!(
        ".virgo-claim-{}",
        digest(&[file_name(target)?.as_bytes()])
    ))
}

fn file_name(target: &End) -> Result<OsString> {
    let name = target.file_name();
    name.with_context(|| format!("{target} has no name"))
}

/// Short enough for a name, whatever the length of that of the target.
fn digest(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let digest = format!("{:x}", digest.finalize());
    digest.chars().take(16).collect()
}
