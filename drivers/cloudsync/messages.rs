// SPDX-License-Identifier: GPL-2.0

//! What nodes say to each other of a name, as its master and as one that uses it.

use crate::names::Names;
use kernel::prelude::*;
use virgo_proto::{
    cloudsync::resource::{
        Answer,
        Claim,
        Notice, //
    },
    vuid::NodeId, //
};

impl Names {
    /// Takes a claim of another node, for user `uid`.
    ///
    /// # Errors
    ///
    /// As for [`Self::check_view`]; [`EINVAL`] if this node is not the master.
    pub(crate) fn claimed(
        &mut self,
        node: NodeId,
        view: u64,
        uid: u32,
        bytes: &[u8],
        claim: &Claim,
    ) -> Result<Answer> {
        self.check_view(view)?;
        // Who gives something back needs nothing, and who keeps something has been here before.
        let uid = match (claim.keep, claim.want) {
            (None, Some(_)) => uid,
            _ => 0,
        };
        let at = match self.find_or_make(bytes, uid) {
            Ok(at) => at,
            Err(e) if e == EDQUOT => return Ok(Answer::Quota),
            Err(_) => return Ok(Answer::NoMemory),
        };
        let Some(resource) = self.resource(at) else {
            self.remove_if_unused(at);
            return Err(EINVAL);
        };
        let answer = resource.claim(node, claim, view);
        self.settle(at, false);
        Ok(answer)
    }

    /// What `node` is to be told of the name at `at` as its master.
    pub(crate) fn notice_for(&self, node: NodeId, at: usize) -> Option<(Notice, &[u8])> {
        let name = self.get(at).filter(|name| name.master == self.me)?;
        let notice = name.resource.as_ref()?.notice(node)?;
        Some((notice, &name.bytes))
    }

    /// `node` was told this.
    pub(crate) fn notified(&mut self, node: NodeId, at: usize, notice: &Notice) {
        if let Some(resource) = self.get_mut(at).and_then(|name| name.resource.as_mut()) {
            resource.told(node, notice);
        }
        self.settle(at, false);
    }

    /// The master of a name has said something.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn noticed(&mut self, bytes: &[u8], notice: &Notice) -> Result {
        let at = self.find_or_learn(bytes)?;
        if let Some(name) = self.get_mut(at) {
            name.holder.notice(notice);
        }
        self.settle(at, false);
        Ok(())
    }
}
