// SPDX-License-Identifier: GPL-2.0

//! The configuration in force: what the files say, checked and completed.

use crate::{
    export::Export,
    failure::ReloadFailure,
    key::{
        read_file,
        Key,
        TextKey, //
    }, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};
use linux::{
    net,
    vfs::{
        Directories,
        File, //
    }, //
};
use virgo_proto::config::{
    self,
    ConfigFile,
    Fault,
    Settings,
    SettingsDraft,
    Statement, //
};

/// A configuration: [`Settings`] and secrets. Never changes; a reload makes another one.
pub struct Config {
    settings: Settings,
    /// The shared key; `None` in a laboratory (`auth none`).
    pub key: Option<Key>,
    /// Keys that open text sessions.
    pub(crate) text_keys: KVVec<TextKey>,
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
    /// Reads the files. What they mean is [`SettingsDraft`]'s affair. `former` is the configuration in force, if
    /// there is one. May sleep.
    ///
    /// # Errors
    ///
    /// Which file was bad, where and why; or [`ENOMEM`].
    pub(crate) fn read(former: Option<&Config>) -> Result<Self, ReloadFailure> {
        let rejected = |(file, fault): (ConfigFile, _)| ReloadFailure::rejected(file.path(), fault);
        // They outlive the draft, which refers to them.
        let cloud = read_file(ConfigFile::Cloud.path(), config::FILE_LIMIT)?;
        let client = read_file(ConfigFile::Client.path(), config::FILE_LIMIT)?;
        let mut draft = SettingsDraft::default();
        for (file, contents) in [(ConfigFile::Cloud, &cloud), (ConfigFile::Client, &client)] {
            if let Some(contents) = contents {
                let added = draft.add(file, &contents.bytes);
                added.map_err(|fault| rejected((file, fault)))?;
            }
        }
        let settings = draft.complete(net::is_local).map_err(rejected)?;
        let key = draft.key_file().map(|path| {
            let former = former.and_then(|former| former.key.as_ref());
            Key::read(path, config::KEY_MISSING, former.into_iter())
        });
        let key = key.transpose()?;
        let mut config = Config {
            settings,
            key,
            text_keys: KVVec::new(),
            exports: KVec::new(),
            cloud: cloud.map(|contents| contents.bytes).unwrap_or_default(),
        };
        config.exports = config.read_exports()?;
        config.text_keys = config.read_text_keys(former)?;
        Ok(config)
    }

    fn read_text_keys(&self, former: Option<&Config>) -> Result<KVVec<TextKey>, ReloadFailure> {
        let mut keys: KVVec<TextKey> = KVVec::new();
        let mut result = Ok(());
        self.for_each(|item| {
            if let (Statement::TextKey { uid, path }, Ok(())) = (item, &result) {
                result = self.add_text_key(&mut keys, uid, path, former);
            }
        });
        result?;
        Ok(keys)
    }

    fn add_text_key(
        &self,
        keys: &mut KVVec<TextKey>,
        uid: u32,
        path: &str,
        former: Option<&Config>,
    ) -> Result<(), ReloadFailure> {
        let former = former.iter().flat_map(|former| &former.text_keys);
        let former = former.map(|former| &former.key);
        let key = Key::read(path, config::TEXT_KEY_MISSING, former)?;
        let others = Iterator::chain(self.key.iter(), keys.iter().map(|other| &other.key));
        config::check_text_key(&key, others.map(|other| &**other))
            .map_err(|reason| ReloadFailure::rejected(path, Fault::of_file(reason)))?;
        let key = TextKey { uid, key };
        Ok(keys.push(key, GFP_KERNEL).map_err(Error::from)?)
    }

    /// Looks the directories up, once: who can change a name or a link on the way to one must not be
    /// able to have another exported later. One that is not there is told in the log; the others are
    /// served.
    fn read_exports(&self) -> Result<KVec<Export>> {
        let mut found = KVec::new();
        let mut result = Ok(());
        self.for_each(|item| {
            if let (
                Statement::Export {
                    path,
                    writable,
                    owner,
                },
                Ok(()),
            ) = (item, &result)
            {
                let path = CString::try_from_fmt(fmt!("{path}"));
                result = path.and_then(|path| Ok(found.push((path, writable, owner), GFP_KERNEL)?));
            }
        });
        result?;
        let mut dirs = Directories::new(found.len())?;
        for (index, (path, ..)) in found.iter().enumerate() {
            if let Err(e) = dirs.open(index, path) {
                pr_warn!(
                    "export {}: {e:?}; reload the configuration when it is there\n",
                    &**path
                );
            }
        }
        let dirs = Arc::new(dirs, GFP_KERNEL)?;
        let mut exports = KVec::with_capacity(found.len(), GFP_KERNEL)?;
        for (index, (path, writable, owner)) in found.into_iter().enumerate() {
            let export = Export::new(dirs.clone(), index, path, writable, owner)?;
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

    /// Whether `file` is in an export: in one that may be changed, if it can be written to by this. May sleep.
    pub fn is_exported(&self, file: &File) -> bool {
        let mut exports = self.exports.iter();
        exports.any(|export| (export.writable || !file.is_writable()) && export.has(file))
    }

    /// Shows `see` each statement of `/etc/virgo_cloud.conf`: what services share is there.
    pub fn for_each(&self, mut see: impl FnMut(Statement<'_>)) {
        // It was parsed before, so there is no fault.
        let _ = config::parse(&self.cloud, |_, item| {
            see(item);
            Ok(())
        });
    }

    /// Whether `uid` may call `target`, a function or the path of a program or library, which may be
    /// called as such: not if there are `callers` lines for it and none has the uid. Root may.
    pub fn may_call(&self, target: &str, uid: u32) -> bool {
        if uid == 0 || !self.callers {
            return true;
        }
        let (mut named, mut listed) = (false, false);
        self.for_each(|item| {
            if let Statement::Callers { target: of, uids } = item {
                if of == target {
                    named = true;
                    listed |= config::lists_uid(uids, uid);
                }
            }
        });
        listed || !named
    }

    /// Says in the log what holds from now on.
    pub(crate) fn announce(&self) {
        pr_info!("node {} of {}\n", self.me, self.nodes.len());
        if self.key.is_none() {
            pr_warn!("auth none: everybody who reaches the ports may do everything\n");
        }
    }
}
