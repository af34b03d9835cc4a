// SPDX-License-Identifier: GPL-2.0

//! This machine's place in the cluster.

use crate::config::Config;
use kernel::{
    debugfs::Dir,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SpinLock, //
    }, //
};
use virgo_proto::config::Fault;

/// All state that this machine has as a node. Everything else is reached from here.
#[pin_data]
pub struct Node {
    /// The root of what is shown under `/sys/kernel/debug/virgo`.
    debugfs: Dir,
    /// Swapped whole; the lock is held for copying the reference only.
    #[pin]
    config: SpinLock<Arc<Config>>,
    /// One reload at a time; what was wrong with the last one.
    #[pin]
    last: Mutex<Option<Rejected>>,
}

/// A configuration file that was not taken.
pub(crate) struct Rejected {
    /// Its path.
    pub(crate) file: &'static str,
    /// What was wrong.
    pub(crate) fault: Fault,
}

impl Node {
    /// Reads the configuration. May sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for a bad file, after saying in the log what is wrong; [`ENOMEM`].
    pub(crate) fn load() -> Result<Arc<Self>> {
        let config = Config::read().map_err(|rejected| rejected.log())?;
        let config = Arc::new(config, GFP_KERNEL)?;
        config.announce();
        Arc::pin_init(
            try_pin_init!(Self {
                debugfs: Dir::new(c"virgo"),
                config <- new_spinlock!(config, "virgo_config"),
                last <- new_mutex!(None, "virgo_config_reload"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Reads the configuration again. The running one stays if the files are bad. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::load`].
    pub(crate) fn reload(&self) -> Result {
        let mut last = self.last.lock();
        match Config::read() {
            Ok(config) => {
                let config = Arc::new(config, GFP_KERNEL)?;
                config.announce();
                *last = None;
                let old = core::mem::replace(&mut *self.config.lock(), config);
                // Freed outside of the spinlock.
                drop(old);
                Ok(())
            }
            Err(rejected) => {
                let errno = rejected.log();
                *last = Some(rejected);
                Err(errno)
            }
        }
    }

    /// Shows `f` what was wrong with the last reload, if anything was. May sleep.
    pub(crate) fn with_rejected<T>(&self, f: impl FnOnce(Option<&Rejected>) -> T) -> T {
        f(self.last.lock().as_ref())
    }

    /// The configuration in force. Any context but hard interrupts.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().clone()
    }

    /// Where modules show themselves: `/sys/kernel/debug/virgo`.
    pub fn debugfs(&self) -> &Dir {
        &self.debugfs
    }
}

impl Rejected {
    pub(crate) fn new(file: &'static str, line: u32, reason: &'static str) -> Self {
        let fault = Fault { line, reason };
        Rejected { file, fault }
    }

    fn log(&self) -> Error {
        let Fault { line, reason } = self.fault;
        pr_err!("{}:{}: {}; nothing is changed\n", self.file, line, reason);
        EINVAL
    }
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Published::new`, before `node` can be called: other modules load
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
pub(crate) struct Published(());

impl Published {
    /// Called once, in the module's initialisation.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        // SAFETY: Called once in the life of the module.
        unsafe { NODE.init() };
        *NODE.lock() = Some(node);
        Published(())
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let node = NODE.lock().take();
        drop(node);
    }
}
