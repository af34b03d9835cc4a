// SPDX-License-Identifier: GPL-2.0

//! Whether a datagram may be sent that overtakes what goes by the connection.
//!
//! A task waits for its request before it makes the next one, so no datagram of its own overtakes it; but
//! one that it has given up may still be on the way to the server. That must have arrived before a datagram
//! goes, since the server begins the requests of a connection in their order, and those that come after it
//! are to see what it has done.
//!
//! A server answers a request before it looks at the next one, or answers it later, or never. So of the
//! replies that come before a request has arrived none is to what was sent behind it: once as many
//! have come as requests were sent up to it, it has arrived.

/// What was sent on a connection, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOrder {
    requests: u64,
    replies: u64,
    /// With so many replies all has arrived that was given up.
    until: u64,
}

impl StreamOrder {
    /// Of a new connection.
    pub const fn new() -> Self {
        StreamOrder {
            requests: 0,
            replies: 0,
            until: 0,
        }
    }

    /// A request was sent, or will be before any that is counted later. Whoever is sending one while
    /// others are counted counts it when it is done.
    pub fn sent(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// A reply has come.
    pub fn answered(&mut self) {
        self.replies = self.replies.saturating_add(1);
    }

    /// A request that was counted is given up, and not answered. If a task `is_sending`, it may go behind
    /// the request of that one, which is not counted yet.
    pub fn given_up(&mut self, is_sending: bool) {
        self.until = self.requests.saturating_add(u64::from(is_sending));
    }

    /// Whether nothing that was given up may be on its way.
    pub fn may_be_overtaken(&self) -> bool {
        self.replies >= self.until
    }

    /// How many more replies have come than requests were counted.
    pub fn replies_too_many(&self) -> u64 {
        self.replies.saturating_sub(self.requests)
    }
}

impl Default for StreamOrder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec::Vec};

    #[test]
    fn what_is_always_under_way_does_not_keep_datagrams_away() {
        let mut order = StreamOrder::new();
        order.sent();
        order.given_up(false);
        assert!(!order.may_be_overtaken());
        for _ in 0..10 {
            // There is always one more than was answered.
            order.sent();
            order.answered();
        }
        assert!(order.may_be_overtaken());
    }

    #[test]
    fn one_that_is_being_sent_is_in_front() {
        let mut order = StreamOrder::new();
        // A long request is being sent; a short one waits until that is done, and is given up.
        order.sent();
        order.given_up(true);
        order.sent();
        order.answered();
        assert!(!order.may_be_overtaken());
        order.answered();
        assert!(order.may_be_overtaken());
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A task begins to send, if none does; its request is in front of those that are left then.
        Begin,
        /// It is done, and counts its request, which may have been answered already.
        End,
        /// A task leaves a request with the one that sends, or sends it if none does.
        Leave,
        /// The server takes the next request, and answers it now, later or never.
        Arrive(u8),
        /// The server answers one of those that it has put off.
        Late(usize),
        /// A request that is counted, and not answered, is given up.
        GiveUp(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Begin),
            Just(Step::End),
            Just(Step::Leave),
            prop_oneof![4 => Just(0u8), 1 => Just(1u8), 1 => Just(2u8)].prop_map(Step::Arrive),
            (0..50usize).prop_map(Step::Late),
            (0..50usize).prop_map(Step::GiveUp),
        ];
        prop::collection::vec(step, 1..300)
    }

    proptest! {
        /// Whatever happens: no datagram goes while something that was given up has not arrived.
        #[test]
        fn nothing_given_up_is_overtaken(steps in steps()) {
            let mut order = StreamOrder::new();
            // What is on the way, in order, and what of it must have arrived.
            let (mut wire, mut late) = (VecDeque::new(), Vec::new());
            let (mut next, mut sending) = (0u32, false);
            let (mut counted, mut given_up) = (Vec::new(), Vec::new());
            let mut uncounted = None;
            for step in steps {
                match step {
                    Step::Begin if !sending => {
                        sending = true;
                        wire.push_back(next);
                        uncounted = Some(next);
                        next += 1;
                    }
                    Step::End if sending => {
                        sending = false;
                        counted.extend(uncounted.take());
                        order.sent();
                    }
                    Step::Leave => {
                        wire.push_back(next);
                        counted.push(next);
                        next += 1;
                        order.sent();
                    }
                    Step::Arrive(how) if !wire.is_empty() => {
                        let at = wire.pop_front().unwrap();
                        if uncounted == Some(at) && how != 1 {
                            uncounted = None;
                        }
                        counted.retain(|n| *n != at || how == 1);
                        given_up.retain(|n| *n != at);
                        match how {
                            0 => order.answered(),
                            1 => late.push(at),
                            _ => (),
                        }
                    }
                    Step::Late(n) if !late.is_empty() => {
                        let at = late.swap_remove(n % late.len());
                        counted.retain(|n| *n != at);
                        order.answered();
                    }
                    Step::GiveUp(n) if !counted.is_empty() => {
                        let at = counted.swap_remove(n % counted.len());
                        if wire.contains(&at) {
                            given_up.push(at);
                        }
                        order.given_up(sending);
                    }
                    _ => (),
                }
                prop_assert!(given_up.is_empty() || !order.may_be_overtaken());
            }
        }
    }
}
