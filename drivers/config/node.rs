// SPDX-License-Identifier: GPL-2.0

//! This machine's place in the cluster.

use crate::{
    config::Config,
    failure::ReloadFailure, //
};
use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex,
        SpinLock, //
    }, //
};
use linux::debugfs::Dir;

/// All state that this machine has as a node. Everything else is reached from here.
#[pin_data]
pub struct Node {
    /// The root of what is shown under `/sys/kernel/debug/virgo`.
    debugfs: Dir,
    /// Swapped whole; the lock is held for copying the reference only.
    #[pin]
    config: SpinLock<Arc<Config>>,
    /// Who is told of each reload. Locked after `last`.
    #[pin]
    subscribers: Mutex<Subscribers>,
    /// One reload at a time; what was wrong with the last file that was not taken.
    #[pin]
    last: Mutex<Option<CString>>,
}

/// Who wants to know of reloads.
pub trait Reloaded: Send + Sync {
    /// Another configuration is in force. Runs in process context, may sleep; must neither subscribe
    /// nor end a subscription.
    fn reloaded(&self, config: &Config);
}

struct Subscribers {
    all: KVec<(u64, Arc<dyn Reloaded>)>,
    /// Subscriptions made.
    made: u64,
}

/// Has somebody told of reloads; when it has been dropped, they are not told any more.
pub struct Subscription {
    node: Arc<Node>,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = self.node.subscribers.lock();
        let all = &mut subscribers.all;
        let at = all.iter().position(|(number, _)| *number == self.number);
        let gone = at.and_then(|at| all.remove(at).ok());
        drop(subscribers);
        drop(gone);
    }
}

impl Node {
    /// Reads the configuration. May sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for a bad file, after saying in the log what is wrong; [`ENOMEM`].
    pub(crate) fn load() -> Result<Arc<Self>> {
        let config = Config::read(None).map_err(|failure| failure.log())?;
        let config = Arc::new(config, GFP_KERNEL)?;
        config.announce();
        Arc::pin_init(
            try_pin_init!(Self {
                debugfs: Dir::new(c"virgo")?,
                config <- new_spinlock!(config, "virgo_config"),
                subscribers <- new_mutex!(
                    Subscribers { all: KVec::new(), made: 0 },
                    "virgo_config_subscribers"
                ),
                last <- new_mutex!(None, "virgo_config_reload"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Reads the configuration again. The running one stays if the files are bad. When this returns
    /// the subscribers have acted on the new one. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::load`].
    pub(crate) fn reload(&self) -> Result {
        let mut last = self.last.lock();
        match Config::read(Some(&self.config())) {
            Ok(config) => {
                let config = Arc::new(config, GFP_KERNEL)?;
                config.announce();
                *last = None;
                let old = core::mem::replace(&mut *self.config.lock(), config.clone());
                // Freed outside of the spinlock.
                drop(old);
                for (_, subscriber) in &self.subscribers.lock().all {
                    subscriber.reloaded(&config);
                }
                Ok(())
            }
            Err(failure) => {
                let errno = failure.log();
                if let ReloadFailure::Rejected(why) = failure {
                    *last = Some(why);
                }
                Err(errno)
            }
        }
    }

    /// Shows `f` which file the last reload did not take, where and why. May sleep.
    pub(crate) fn with_rejected<T>(&self, f: impl FnOnce(Option<&CStr>) -> T) -> T {
        f(self.last.lock().as_deref())
    }

    /// The configuration in force. Task context.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().clone()
    }

    /// Has `subscriber` told of each reload from now on. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn subscribe(self: &Arc<Self>, subscriber: Arc<dyn Reloaded>) -> Result<Subscription> {
        let mut subscribers = self.subscribers.lock();
        let number = subscribers.made;
        subscribers.all.push((number, subscriber), GFP_KERNEL)?;
        subscribers.made = number.wrapping_add(1);
        Ok(Subscription {
            node: self.clone(),
            number,
        })
    }

    /// Where modules show themselves: `/sys/kernel/debug/virgo`.
    pub fn debugfs(&self) -> &Dir {
        &self.debugfs
    }
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `PublishedNode::new`, before `node` can be called: other modules load
    // after this one.
    unsafe(uninit) static NODE: Mutex<Option<Arc<Node>>> = None;
}

/// The node of this machine. May sleep.
///
/// # Errors
///
/// [`ENODEV`] while the module comes or goes.
pub fn node() -> Result<Arc<Node>> {
    NODE.lock().clone().ok_or(ENODEV)
}

/// Keeps the node published for [`node`].
pub(crate) struct PublishedNode(());

impl PublishedNode {
    /// Called once, in the module's initialisation.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        // SAFETY: Called once in the life of the module.
        unsafe { NODE.init() };
        *NODE.lock() = Some(node);
        PublishedNode(())
    }
}

impl Drop for PublishedNode {
    fn drop(&mut self) {
        let node = NODE.lock().take();
        drop(node);
    }
}
