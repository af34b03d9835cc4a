// SPDX-License-Identifier: GPL-2.0

//! Subscribing to queues, topics and patterns.

use crate::{
    channel::{
        Channel,
        ChannelRef, //
    },
    history::History,
    queues::Queues, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::atomic::Relaxed, //
};
use virgo_proto::queue::{
    access::Right,
    options::{
        ChannelKind,
        Options, //
    },
    subscribe::SubscribeArgs, //
};

impl Queues {
    /// The queue of that name, or a subscription of `uid`, which has one more user now. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Self::subscribe`]; [`EACCES`] for a queue or topic that `uid` may not take from.
    pub(crate) fn channel_for(&self, args: &SubscribeArgs<'_>, uid: u32) -> Result<ChannelRef> {
        if let Ok(named) = self.find(args.pattern) {
            named.check(uid, Right::Take)?;
            if named.kind == ChannelKind::Queue {
                if let Some(from) = args.from {
                    Channel::replay(&named, from);
                }
                return Ok(named);
            }
        }
        self.subscribe(uid, args.pattern, args.group, &args.options, args.from)
    }

    /// A subscription of `uid` to `pattern`. With `from` it begins with what topics have kept from
    /// that number on. It has a user already. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::create`].
    fn subscribe(
        &self,
        uid: u32,
        pattern: &[u8],
        group: &[u8],
        options: &Options<'_>,
        from: Option<u64>,
    ) -> Result<ChannelRef> {
        loop {
            let name = self.subscription_name(uid, pattern, group)?;
            if let (Ok(channel), false) = (self.find(&name), group.is_empty()) {
                // Two patterns may have one name, as what stands for a wildcard may be meant.
                if channel.bound.as_slice() != pattern || channel.kind != ChannelKind::Subscription
                {
                    return Err(EEXIST);
                }
                channel.users.fetch_add(1, Relaxed);
                return Ok(channel);
            }
            let options = Options {
                kind: ChannelKind::Subscription,
                bind: pattern,
                owner: Some(uid),
                ..*options
            };
            let history = from.map(|from| History::new(pattern, from));
            let created = self.create_with(&name, &options, None, false, history);
            // Another one of the group was faster, or somebody has made a queue of this name.
            if !matches!(created, Err(EEXIST)) {
                return created;
            }
        }
    }

    /// A group is one of the user's: those of others have other names.
    fn subscription_name(&self, uid: u32, pattern: &[u8], group: &[u8]) -> Result<KVec<u8>> {
        let mut name = KVec::new();
        if group.is_empty() {
            let number = CString::try_from_fmt(fmt!("_sub.{}", self.next_number()))?;
            name.extend_from_slice(number.to_bytes(), GFP_KERNEL)?;
            return Ok(name);
        }
        // With its length, so that it is clear where the group's name ends.
        let length = CString::try_from_fmt(fmt!("_group.{uid}.{}.", group.len()))?;
        for part in [length.to_bytes(), group, b"."] {
            name.extend_from_slice(part, GFP_KERNEL)?;
        }
        // A pattern is no name.
        for &byte in pattern {
            let byte = match byte {
                b'*' => b'+',
                b'>' => b'#',
                byte => byte,
            };
            name.push(byte, GFP_KERNEL)?;
        }
        Ok(name)
    }

    /// A user of a subscription is gone; the last one takes it along. May sleep.
    pub(crate) fn leave(&self, channel: &ChannelRef) {
        if channel.kind == ChannelKind::Subscription && channel.users.fetch_sub(1, Relaxed) == 1 {
            // Whoever has found it meanwhile finds it deleted.
            let _ = self.take_out(channel);
        }
    }
}
