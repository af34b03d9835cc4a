// SPDX-License-Identifier: GPL-2.0

//! What this node's module has, and setting variables.

use crate::{
    file,
    history::History,
    limits::Limits,
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
use virgo_utils::variables::{
    Origin,
    Refused,
    Setter, //
};

/// All that the module has.
#[pin_data]
pub(crate) struct Analytics {
    pub(crate) setter: Arc<Setter>,
    pub(crate) history: Arc<History>,
    pub(crate) stream: Arc<StreamStatus>,
    limits: Limits,
    /// What was wrong with what was refused last, of the file and of root's own.
    #[pin]
    rejected: Mutex<Option<CString>>,
}

impl Analytics {
    pub(crate) fn new(
        setter: Arc<Setter>,
        history: Arc<History>,
        stream: Arc<StreamStatus>,
        limits: Limits,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                setter,
                history,
                stream,
                limits,
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
    /// Nothing changes if it is bad, which is said in the log. May sleep.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn reload(&self) -> Result<usize, Refused> {
        let result = file::load(&self.setter, self.limits.max_file_bytes);
        if let Err(Refused::Text { reason, .. }) = &result {
            pr_err!("{}; nothing is changed\n", **reason);
        }
        self.note(&result);
        result
    }

    /// Sets what root says through debugfs. May sleep.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn set(&self, text: &[u8], origin: Origin) -> Result<usize, Refused> {
        let result = self.setter.set(text, origin);
        self.note(&result);
        result
    }

    fn note(&self, result: &Result<usize, Refused>) {
        let why = match result {
            Err(Refused::Text { reason, .. }) => CString::try_from_fmt(fmt!("{}", **reason)).ok(),
            _ => None,
        };
        let old = core::mem::replace(&mut *self.rejected.lock(), why);
        drop(old);
    }

    /// Shows `f` why what was tried last was refused. May sleep.
    pub(crate) fn with_rejected<T>(&self, f: impl FnOnce(Option<&CStr>) -> T) -> T {
        f(self.rejected.lock().as_deref())
    }
}
