// SPDX-License-Identifier: GPL-2.0

//! What a call names, and running it.

use crate::{
    executor::Run,
    outcome::Outcome,
    program, //
};
use kernel::{
    prelude::*,
    sync::atomic::Atomic, //
};
use linux::deadline::Deadline;
use virgo_config::Config;
use virgo_proto::{
    clone::{
        self,
        state,
        MAX_OUTPUT,
        MAX_SHORT, //
    },
    config::{
        args_match,
        Item, //
    }, //
};
use virgo_utils::functions::{
    self,
    Call,
    Found,
    Output,
    MAX_ARGS, //
};

/// Something that may be called, as its caller has named it, with its arguments.
pub(crate) struct Opened<'a> {
    /// `None` for a program.
    function: Option<Found>,
    argv: &'a [u8],
    args: &'a [&'a [u8]],
}

/// The same, for later.
pub(crate) struct Target {
    function: Option<Found>,
    argv: KVVec<u8>,
}

impl<'a> Opened<'a> {
    /// Finds what `argv` names, and whether `uid` may call it with these arguments, for which there is
    /// room in `args`. May sleep.
    ///
    /// # Errors
    ///
    /// The outcome of a call that is refused.
    pub(crate) fn new(
        config: &Config,
        uid: u32,
        argv: &'a [u8],
        args: &'a mut Args<'a>,
    ) -> Result<Self, Outcome> {
        let name = args.split(argv)?;
        let (function, called) = match clone::Target::parse(name) {
            None => return Err(Outcome::refused(EINVAL, "not a name")),
            Some(clone::Target::Function(called)) => {
                let found = functions::find(name)
                    .ok_or_else(|| Outcome::refused(ENOENT, "no such function on this node"))?;
                let checked = found.check(args.slice());
                checked.map_err(|reason| Outcome::refused(EINVAL, reason))?;
                (Some(found), called)
            }
            Some(clone::Target::Executable(path)) => {
                let listed = is_listed(config, |item| {
                    matches!(item, Item::Executable { path: listed, patterns }
                        if listed == path && args_match(patterns, args.slice().iter().copied()))
                });
                if !listed {
                    let reason = "not allowed: /etc/virgo_cloud.conf of this node has no \
                        'executable' line for this path and these arguments";
                    return Err(Outcome::refused(EACCES, reason));
                }
                (None, path)
            }
            Some(clone::Target::Symbol { library, .. }) => {
                if !is_listed(config, |item| item == Item::Library(library)) {
                    let reason = "not allowed: /etc/virgo_cloud.conf of this node has no \
                        'library' line for this path";
                    return Err(Outcome::refused(EACCES, reason));
                }
                (None, library)
            }
        };
        if !config.may_call(called, uid) {
            let reason = "not allowed: /etc/virgo_cloud.conf of this node has 'callers' lines for \
                this, and none names this uid";
            return Err(Outcome::refused(EACCES, reason));
        }
        Ok(Opened {
            function,
            argv,
            args: args.slice(),
        })
    }

    /// Whether it is to be run at once.
    pub(crate) fn is_quick(&self) -> bool {
        self.function.as_ref().is_some_and(Found::is_quick)
    }

    /// Runs a quick one.
    pub(crate) fn run(&self, uid: u32, deadline: Deadline) -> Outcome {
        let cancelled = Atomic::new(false);
        match &self.function {
            Some(function) => call(function, self.args, uid, deadline, &cancelled, MAX_SHORT),
            None => Outcome::failed(EINVAL),
        }
    }

    /// Keeps it for later.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn keep(self) -> Result<Target> {
        let mut argv = KVVec::new();
        argv.extend_from_slice(self.argv, GFP_KERNEL_ACCOUNT)?;
        Ok(Target {
            function: self.function,
            argv,
        })
    }
}

impl Target {
    /// Runs it. Sleeps until it ends, or shortly after the deadline of `run`.
    pub(crate) fn run(&self, run: &Run, config: &Config) -> Outcome {
        match &self.function {
            Some(function) => {
                let mut args = Args::new();
                if let Err(refused) = args.split(&self.argv) {
                    return refused;
                }
                let (args, cancelled) = (args.slice(), &run.cancelled);
                call(function, args, run.uid, run.deadline, cancelled, MAX_OUTPUT)
            }
            None => program::run(&self.argv, run, config).unwrap_or_else(Outcome::failed),
        }
    }

    /// Bytes of name and arguments.
    pub(crate) fn size(&self) -> usize {
        self.argv.len()
    }

    /// The name, for people.
    pub(crate) fn name(&self) -> &[u8] {
        let end = self.argv.iter().position(|&byte| byte == 0);
        self.argv.get(..end.unwrap_or(0)).unwrap_or_default()
    }
}

/// Arguments of a call.
pub(crate) struct Args<'a> {
    args: [&'a [u8]; MAX_ARGS],
    count: usize,
}

impl<'a> Args<'a> {
    pub(crate) const fn new() -> Self {
        Args {
            args: [b""; MAX_ARGS],
            count: 0,
        }
    }

    /// Takes the arguments of `argv`. Returns the name.
    pub(crate) fn split(&mut self, argv: &'a [u8]) -> Result<&'a [u8], Outcome> {
        let bad = |reason| Outcome::refused(EINVAL, reason);
        let mut words = clone::words(argv).ok_or_else(|| bad("a name, and a NUL at the end"))?;
        let name = words.next().unwrap_or_default();
        for word in words {
            let place = self.args.get_mut(self.count);
            *place.ok_or_else(|| bad("more than 16 arguments"))? = word;
            self.count += 1;
        }
        Ok(name)
    }

    pub(crate) fn slice(&self) -> &[&'a [u8]] {
        self.args.get(..self.count).unwrap_or_default()
    }
}

fn is_listed(config: &Config, wanted: impl Fn(Item<'_>) -> bool) -> bool {
    let mut listed = false;
    config.for_each(|item| listed |= wanted(item));
    listed
}

fn call(
    function: &Found,
    args: &[&[u8]],
    uid: u32,
    deadline: Deadline,
    cancelled: &Atomic<bool>,
    max_output: usize,
) -> Outcome {
    let mut output = Output::new(max_output);
    let result = function.run(&mut Call {
        state: None,
        uid,
        deadline,
        cancelled,
        args,
        output: &mut output,
    });
    let (state, value) = match result {
        Ok(value) => (state::RETURNED, value),
        Err(e) => (state::FAILED, e.to_errno().unsigned_abs().into()),
    };
    let mut outcome = Outcome::new(state, value, output.bytes);
    outcome.truncated = output.truncated;
    outcome
}
