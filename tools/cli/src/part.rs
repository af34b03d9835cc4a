// SPDX-License-Identifier: GPL-2.0
//! A file while it is copied: it has a name of its own, and gets that of the target when it is whole.

use crate::{
    ends::End,
    known::{Inode, Known},
    opened::Opened,
};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsString,
    hash::{BuildHasher, RandomState},
    os::unix::ffi::OsStrExt,
    thread::sleep,
    time::{Duration, Instant},
};

/// How long somebody else may take to give a copy the name of the target, which needs a few requests.
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
    /// A new one, for a copy of what `source` is to `target`. As with cp(1) it has the permissions of
    /// what it replaces, so that nobody reads it who could not read that.
    pub(crate) fn create(source: &Known, target: &End) -> Result<Self> {
        Self::with_name(name(source, target)?, source.mode, target)
    }

    /// A new one, for a copy of what can be read only once: nobody can go on with it.
    pub(crate) fn create_once(mode: u32, target: &End) -> Result<Self> {
        let name = target.beside(&format!(".virgo-part-{:08x}", random()))?;
        Self::with_name(name, mode, target)
    }

    fn with_name(name: End, mode: u32, target: &End) -> Result<Self> {
        let replaced = target.look()?;
        let mode = replaced.as_ref().map_or(mode, |replaced| replaced.mode);
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
    /// still writes it cannot finish it. What others may have put there instead of one, a link to
    /// another file, is removed.
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
            match name.open_own() {
                Ok(file) => {
                    return Ok(Some(Self {
                        file,
                        name,
                        target: target.clone(),
                        replaced: target.look()?,
                    }));
                }
                // Of a source that must not be written to, or no part at all.
                Err(_) => name.remove()?,
            }
        }
        Ok(None)
    }

    /// Gives it the name of the target, unless another copy has got that since this one began: so of
    /// several who copy to one name at a time one is told that it is done.
    ///
    /// Who replaces something has a name of its own for the copy meanwhile, the claim, which says what
    /// is replaced, and which only one can have. If whoever has it does not go on, who waits for it
    /// does so in its place: the copy is whole. So nothing that somebody is about to finish is removed.
    pub(crate) fn finish(&self) -> Result<()> {
        let claim = self.target.beside(&self.claim()?)?;
        let own = self.file.known()?.inode;
        let mut seen: Option<(Inode, Instant)> = None;
        while !self.name.rename_new(&claim)? {
            self.check_target()?;
            let Some(found) = claim.look()? else {
                continue;
            };
            match seen {
                Some((inode, since)) if inode == found.inode => {
                    if since.elapsed() > PATIENCE {
                        // Fails if it is gone by now.
                        let _ = claim.rename(&self.target);
                    }
                }
                _ => seen = Some((found.inode, Instant::now())),
            }
            sleep(Duration::from_millis(50));
        }
        let done = self
            .check_target()
            .and_then(|()| claim.rename(&self.target));
        let Err(error) = done else {
            return Ok(());
        };
        // Somebody may have done it in our place.
        if let Ok(Some(now)) = self.target.look() {
            if now.inode == own {
                return Ok(());
            }
        }
        // The caller knows it by its own name.
        let _ = claim.rename_new(&self.name);
        Err(error)
    }

    fn check_target(&self) -> Result<()> {
        let inode = |known: &Known| known.inode;
        let now = self.target.look()?;
        if now.as_ref().map(inode) != self.replaced.as_ref().map(inode) {
            bail!("{} was replaced by another copy meanwhile", self.target);
        }
        Ok(())
    }

    /// The name that a copy has while it gets that of the target in place of `replaced`.
    fn claim(&self) -> Result<String> {
        let replaced = self.replaced.as_ref().map(|known| known.inode);
        let name = file_name(&self.target)?;
        let digest = digest(&[name.as_bytes(), format!("{replaced:?}").as_bytes()]);
        Ok(format!(".virgo-claim-{digest}"))
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
    // The number changes when less of a part can be trusted than an earlier program wrote.
    let about = format!("2 {:?} {} {:?} ", source.inode, source.len, source.modified);
    // Numbers of inodes are those of the machine that is asked.
    let machine: &[u8] = if source.inode.node == 0 {
        &machine
    } else {
        b""
    };
    let digest = digest(&[machine, about.as_bytes(), file_name(target)?.as_bytes()]);
    Ok(format!(".virgo-part-{digest}-"))
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
