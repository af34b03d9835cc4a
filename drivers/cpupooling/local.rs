// SPDX-License-Identifier: GPL-2.0

//! Taking calls to be run on this node.

use crate::{
    args::Args,
    function,
    invocation::{
        CallOrigin,
        NewInvocation, //
    },
    outcome::Outcome,
    pool::PoolContext,
    target::OpenedTarget, //
};
use kernel::sync::atomic::Atomic;
use virgo_proto::clone::MAX_SHORT;
use virgo_utils::User;

impl PoolContext {
    /// Runs a call here: at once if it is quick, then the outcome is returned; otherwise soon, and
    /// whoever `origin` means is told. May sleep.
    pub(crate) fn accept(
        &self,
        user: &User<'_>,
        origin: CallOrigin,
        key: u64,
        argv: &[u8],
    ) -> Option<Outcome> {
        let mut args = Args::new();
        let opened = match OpenedTarget::new(user.config, user.uid, argv, &mut args) {
            Ok(opened) => opened,
            Err(refused) => return Some(refused),
        };
        if let Some(function) = opened.quick() {
            let how = function::FunctionCall {
                args: opened.args,
                uid: user.uid,
                deadline: user.deadline,
                cancelled: &Atomic::new(false),
                max_output: MAX_SHORT,
            };
            return Some(function::call(function, &how));
        }
        let start = || {
            let new = NewInvocation {
                origin,
                name: key,
                uid: user.uid,
                deadline: user.deadline,
                target: opened.keep()?,
            };
            self.executor.start(new, self.budgets.of_runs(user.uid)?)
        };
        start().err().map(Outcome::failed)
    }
}
