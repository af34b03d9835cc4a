// SPDX-License-Identifier: GPL-2.0

//! The configuration in force: what the files say, checked and completed.

use crate::{
    export::Export,
    node::Failure, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};
use linux::{
    crypto,
    file,
    net,
    vfs::Directories, //
};
use virgo_proto::{
    config::{
        self,
        Draft,
        Fault,
        File,
        Item,
        Limit,
        Settings, //
    },
    vuid::CheckKey, //
};

/// A configuration: [`Settings`] and secrets. Never changes; a reload makes another one.
pub struct Config {
    settings: Settings,
    /// The shared key; `None` in a laboratory (`auth none`).
    pub key: Option<KVec<u8>>,
    /// Key of the check value in VUIDs.
    pub check: CheckKey,
    /// Directories for other nodes.
    exports: KVec<Export>,
    /// The cloud file, which is free of faults.
    cloud: KVVec<u8>,
}

impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Config {
    /// Reads the files. What they mean is [`Draft`]'s affair. May sleep.
    ///
    /// # Errors
    ///
    /// Which file was bad, where and why; or [`ENOMEM`].
    pub(crate) fn read() -> Result<Self, Failure> {
        let rejected = |(file, fault): (File, _)| Failure::rejected(file.path(), fault);
        // They outlive the draft, which refers to them.
        let cloud = read_file(File::Cloud.path(), config::FILE_LIMIT)?;
        let client = read_file(File::Client.path(), config::FILE_LIMIT)?;
        let mut draft = Draft::default();
        for (file, contents) in [(File::Cloud, &cloud), (File::Client, &client)] {
            if let Some(contents) = contents {
                let added = draft.add(file, &contents.bytes);
                added.map_err(|fault| rejected((file, fault)))?;
            }
        }
        let settings = draft.complete(net::is_local).map_err(rejected)?;
        let key = draft.key_file().map(read_key).transpose()?;
        let mac = crypto::hmac_sha256(key.as_deref().unwrap_or(b"auth none"), b"virgo 1 vuid");
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = mac;
        let mut config = Config {
            settings,
            key,
            exports: KVec::new(),
            cloud: cloud.map(|contents| contents.bytes).unwrap_or_default(),
            check: CheckKey([
                u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                u64::from_le_bytes([i, j, k, l, m, n, o, p]),
            ]),
        };
        config.exports = config.read_exports()?;
        Ok(config)
    }

    fn read_exports(&self) -> Result<KVec<Export>> {
        let (mut dirs, mut found) = (Directories::default(), KVec::new());
        let mut result = Ok(());
        self.for_each(|item| {
            if let (
                Item::Export {
                    path,
                    writable,
                    owner,
                },
                Ok(()),
            ) = (item, &result)
            {
                let path = CString::try_from_fmt(fmt!("{path}"));
                let index = path.and_then(|path| dirs.add(path));
                result =
                    index.and_then(|index| Ok(found.push((index, writable, owner), GFP_KERNEL)?));
            }
        });
        result?;
        let dirs = Arc::new(dirs, GFP_KERNEL)?;
        let mut exports = KVec::with_capacity(found.len(), GFP_KERNEL)?;
        for (index, writable, owner) in found {
            let export = Export::new(dirs.clone(), index, writable, owner)?;
            exports.push(export, GFP_KERNEL)?;
        }
        Ok(exports)
    }

    /// The export that `path` is in, the innermost if there are several, and what is left of the
    /// path there.
    pub fn export<'a>(&self, path: &'a [u8]) -> Option<(&Export, &'a [u8])> {
        let found = self
            .exports
            .iter()
            .filter_map(|export| Some((export, export.below(path)?)));
        found.min_by_key(|(_, rest)| rest.len())
    }

    /// Shows `see` each statement of `/etc/virgo_cloud.conf`: what services share is there.
    pub fn for_each(&self, mut see: impl FnMut(Item<'_>)) {
        // It was parsed before, so there is no fault.
        let _ = config::parse(&self.cloud, |_, item| {
            see(item);
            Ok(())
        });
    }

    /// Says in the log what holds from now on.
    pub(crate) fn announce(&self) {
        pr_info!("node {} of {}\n", self.me, self.nodes.len());
        if self.key.is_none() {
            pr_warn!("auth none: everybody who reaches the ports may do everything\n");
        }
    }
}

/// `None` for a file that does not exist.
fn read_file(path: &str, limit: Limit) -> Result<Option<file::Contents>, Failure> {
    let name = CString::try_from_fmt(fmt!("{path}"))?;
    let reason = match file::read(&name, limit.bytes) {
        Ok(contents) => return Ok(Some(contents)),
        Err(ENOENT) => return Ok(None),
        Err(ENOMEM) => return Err(ENOMEM.into()),
        Err(EFBIG) => limit.exceeded,
        Err(EINVAL) => config::NOT_REGULAR,
        Err(_) => "cannot be read",
    };
    Err(Failure::rejected(path, Fault::of_file(reason)))
}

fn read_key(path: &str) -> Result<KVec<u8>, Failure> {
    let rejected = |reason| Failure::rejected(path, Fault::of_file(reason));
    let contents = read_file(path, config::KEY_LIMIT)?;
    let contents = contents.ok_or_else(|| rejected(config::KEY_MISSING))?;
    let found = config::key(&contents.bytes, contents.uid, contents.mode.into());
    let mut key = KVec::new();
    key.extend_from_slice(found.map_err(rejected)?, GFP_KERNEL)
        .map_err(Error::from)?;
    Ok(key)
}
