// SPDX-License-Identifier: GPL-2.0

//! What this node's module has, and setting variables.

use crate::{
    audit::AuditTrail,
    file,
    history::ChangeHistory,
    limits::AnalyticsLimits,
    rollouts::Rollouts,
    stream_status::StreamStatus, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use virgo_proto::{
    analytics::pairs,
    errno::Errno, //
};
use virgo_utils::variables::{
    Refused,
    Setter,
    ValueOrigin, //
};

/// All that the module has.
#[pin_data]
pub(crate) struct Analytics {
    pub(crate) setter: Arc<Setter>,
    pub(crate) history: Arc<ChangeHistory>,
    pub(crate) stream: Arc<StreamStatus>,
    pub(crate) audit: Arc<AuditTrail>,
    pub(crate) rollouts: Arc<Rollouts>,
    limits: AnalyticsLimits,
    /// Held while the file is read and its values are set, so that of two readings the one that has begun
    /// later is in force.
    #[pin]
    reloading: Mutex<()>,
    /// What was wrong with what was tried last, of the file and of root's own, if that was refused.
    #[pin]
    rejected: Mutex<Option<CString>>,
}

impl Analytics {
    pub(crate) fn new(
        setter: Arc<Setter>,
        history: Arc<ChangeHistory>,
        stream: Arc<StreamStatus>,
        audit: Arc<AuditTrail>,
        rollouts: Arc<Rollouts>,
        limits: AnalyticsLimits,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                setter,
                history,
                stream,
                audit,
                rollouts,
                limits,
                reloading <- kernel::new_mutex!((), "virgo_analytics_reloading"),
                rejected <- kernel::new_mutex!(None, "virgo_analytics_rejected"),
            }),
            GFP_KERNEL,
        )
    }

    /// Reads the file when the module is loaded: a bad one is said in the log, and all variables have
    /// their defaults.
    pub(crate) fn load(&self) {
        if let Err(Refused::Error(error)) = self.reload() {
            pr_err!("{}: {error:?}\n", virgo_proto::analytics::FILE);
        }
    }

    /// Sets what the file says; what it said before and does not say any more gets its default back.
    /// Nothing changes if it is bad, which is said in the log. Sleeps until the disk has given the file,
    /// in the work of the text session if that has asked for it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn reload(&self) -> Result<usize, Refused> {
        let reloading = self.reloading.lock();
        let result = file::load(&self.setter, self.limits.max_file_bytes);
        drop(reloading);
        if let Err(Refused::Text { reason, .. }) = &result {
            // Others than root may ask for it, too.
            if self.stream.log.pass() {
                pr_err!("{}; nothing is changed\n", **reason);
            }
        }
        self.note(&result);
        result
    }

    /// Sets what root says through debugfs. May sleep.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn set(&self, text: &[u8], origin: ValueOrigin) -> Result<usize, Refused> {
        let result = match self.setter.set(text, origin) {
            Ok(0) => Err(Refused::Text {
                line: 1,
                errno: Errno::EINVAL,
                reason: CString::try_from_fmt(fmt!(
                    "no key=value; what begins with '#' is a comment"
                ))?,
            }),
            result => result,
        };
        self.note(&result);
        result
    }

    /// Gives a variable its default back, as root says through debugfs. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if nobody has set it; [`EINVAL`] if it is no key.
    pub(crate) fn reset(&self, key: &[u8], by: ValueOrigin) -> Result {
        let key = core::str::from_utf8(key).map_err(|_| EINVAL)?;
        // What is no key is not to be shown.
        pairs::check_key(key).map_err(|_| EINVAL)?;
        if self.setter.reset(key, by) {
            return Ok(());
        }
        self.reject(CString::try_from_fmt(fmt!("{key}: nobody has set it")).ok());
        Err(ENOENT)
    }

    /// Nothing of what was tried before is refused any more.
    pub(crate) fn forget_rejected(&self) {
        self.reject(None);
    }

    fn note(&self, result: &Result<usize, Refused>) {
        self.reject(match result {
            Err(Refused::Text { reason, .. }) => CString::try_from_fmt(fmt!("{}", **reason)).ok(),
            _ => None,
        });
    }

    fn reject(&self, why: Option<CString>) {
        let old = core::mem::replace(&mut *self.rejected.lock(), why);
        drop(old);
    }

    /// Shows `f` why what was tried last was refused. May sleep.
    pub(crate) fn with_rejected<T>(&self, f: impl FnOnce(Option<&CStr>) -> T) -> T {
        f(self.rejected.lock().as_deref())
    }
}
