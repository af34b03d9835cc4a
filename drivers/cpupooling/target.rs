// SPDX-License-Identifier: GPL-2.0

//! What a call names, and who may call it.

use crate::{
    args::Args,
    outcome::Outcome, //
};
use kernel::prelude::*;
use virgo_config::Config;
use virgo_proto::{
    clone,
    config::{
        args_match,
        Statement, //
    }, //
};
use virgo_utils::functions::{
    self,
    PinnedFunction, //
};

/// Something that may be called, as its caller has named it, with its arguments.
pub(crate) struct OpenedTarget<'a> {
    /// `None` for a program.
    pub(crate) function: Option<PinnedFunction>,
    argv: &'a [u8],
    pub(crate) args: &'a [&'a [u8]],
}

/// The same, for later.
pub(crate) struct CallTarget {
    /// `None` for a program.
    pub(crate) function: Option<PinnedFunction>,
    argv: KVVec<u8>,
}

impl<'a> OpenedTarget<'a> {
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
        let args = args.slice();
        let target = parse(name)?;
        let function = match target {
            clone::Target::Function(_) => {
                let found = functions::find(name)
                    .ok_or_else(|| Outcome::refused(ENOENT, "no such function on this node"))?;
                let checked = found.check(args);
                checked.map_err(|reason| Outcome::refused(EINVAL, reason))?;
                Some(found)
            }
            _ => None,
        };
        permit(config, uid, target, args)?;
        Ok(OpenedTarget {
            function,
            argv,
            args,
        })
    }

    /// The function, if it is one that is to be run at once.
    pub(crate) fn quick(&self) -> Option<&PinnedFunction> {
        self.function
            .as_ref()
            .filter(|function| function.is_quick())
    }

    /// Keeps it for later.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn keep(self) -> Result<CallTarget> {
        let mut argv = KVVec::new();
        argv.extend_from_slice(self.argv, GFP_KERNEL_ACCOUNT)?;
        Ok(CallTarget {
            function: self.function,
            argv,
        })
    }
}

impl CallTarget {
    /// Takes name and arguments apart, and looks again whether `uid` may call this: the configuration
    /// may have changed while the call has waited. Returns what the name stands for. May sleep.
    ///
    /// # Errors
    ///
    /// The outcome of a call that is refused.
    pub(crate) fn open<'a>(
        &'a self,
        config: &Config,
        uid: u32,
        args: &mut Args<'a>,
    ) -> Result<clone::Target<'a>, Outcome> {
        let target = parse(args.split(&self.argv)?)?;
        permit(config, uid, target, args.slice())?;
        Ok(target)
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

fn parse(name: &[u8]) -> Result<clone::Target<'_>, Outcome> {
    clone::Target::parse(name).ok_or_else(|| Outcome::refused(EINVAL, "not a name"))
}

/// Whether the configuration has `uid` call `target` with these arguments.
fn permit(
    config: &Config,
    uid: u32,
    target: clone::Target<'_>,
    args: &[&[u8]],
) -> Result<(), Outcome> {
    let called = match target {
        clone::Target::Function(name) => name,
        clone::Target::Executable(path) => {
            let listed = is_listed(config, |item| {
                matches!(item, Statement::Executable { path: listed, patterns }
                    if listed == path && args_match(patterns, args.iter().copied()))
            });
            if !listed {
                let reason = "not allowed: /etc/virgo_cloud.conf of this node has no \
                    'executable' line for this path and these arguments";
                return Err(Outcome::refused(EACCES, reason));
            }
            path
        }
        clone::Target::Symbol { library, .. } => {
            if !is_listed(config, |item| item == Statement::Library(library)) {
                let reason = "not allowed: /etc/virgo_cloud.conf of this node has no \
                    'library' line for this path";
                return Err(Outcome::refused(EACCES, reason));
            }
            library
        }
    };
    match config.may_call(called, uid) {
        true => Ok(()),
        false => Err(Outcome::refused(
            EACCES,
            "not allowed: /etc/virgo_cloud.conf of this node has 'callers' lines for this, and none \
             names this uid",
        )),
    }
}

fn is_listed(config: &Config, wanted: impl Fn(Statement<'_>) -> bool) -> bool {
    let mut listed = false;
    config.for_each(|item| listed |= wanted(item));
    listed
}
