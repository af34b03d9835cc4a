// SPDX-License-Identifier: GPL-2.0

//! What nodes say to each other about roll-outs: integers in little-endian order, without padding.
//!
//! | op       | request body | reply body | repeated |
//! |----------|--------------|------------|----------|
//! | Prepare  | id, nodes (8 bytes), lease in ms (4), uid (4), then the values in the grammar of [`pairs`] | an answer | done again |
//! | Say      | id, what (1): 1 Keep, 2 Try, 3 Commit, 4 Abort, 5 Outcome; lease in ms (4), 0 where it means nothing | an answer | done again |
//!
//! An id is a number (8 bytes) and the coordinator's node (1). An answer is a byte: 1 Held, 2 Committed,
//! 3 Aborted, 4 Undecided, 5 Doubt; or 0 for a refusal, an error number (4) and the reason. Whatever may be
//! said twice changes nothing the second time.
//!
//! [`pairs`]: crate::analytics::pairs

use super::{RolloutAnswer, RolloutAsk, RolloutId, RolloutPlan};
use crate::errno::Errno;

/// Operation numbers in [`crate::frame::FrameHeader::op`].
pub mod op {
    /// Be ready.
    pub const PREPARE: u16 = 1;
    /// All else.
    pub const SAY: u16 = 2;
}

/// Bytes of the values of a roll-out.
pub const MAX_ROLLOUT_TEXT: usize = 32 * 1024;

/// Values of a roll-out.
pub const MAX_ROLLOUT_PAIRS: usize = 256;

/// Bytes before the values.
pub const PREPARE_HEAD: usize = 9 + 8 + 4 + 4;

/// Bytes of [`op::SAY`].
pub const SAY_LEN: usize = 9 + 1 + 4;

/// Bytes of a reason, which is cut.
pub const MAX_REASON: usize = 200;

/// Bytes of an answer.
pub const MAX_ANSWER_LEN: usize = 5 + MAX_REASON;

/// A request to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutRequest<'a> {
    /// For which roll-out.
    pub id: RolloutId,
    /// Who takes part.
    pub plan: RolloutPlan,
    /// Who rolls out, and pays.
    pub uid: u32,
    /// The values.
    pub text: &'a [u8],
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutReply<'a> {
    /// This.
    Answer(RolloutAnswer),
    /// The values are refused: why, as a number, and for people.
    Refused(Errno, &'a [u8]),
}

/// Takes `L` bytes from the front of `bytes`.
fn take<'a, const L: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; L]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(taken)
}

fn read_id(bytes: &mut &[u8]) -> Option<RolloutId> {
    let number = u64::from_le_bytes(*take(bytes)?);
    let [coordinator] = *take(bytes)?;
    Some(RolloutId {
        number,
        coordinator,
    })
}

fn read_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(|bytes| u32::from_le_bytes(*bytes))
}

/// Puts `parts` behind each other into an array of just their size.
fn joined<const L: usize>(parts: &[&[u8]]) -> [u8; L] {
    let mut all = [0; L];
    let from = parts.iter().copied().flatten();
    for (to, byte) in all.iter_mut().zip(from) {
        *to = *byte;
    }
    all
}

impl<'a> RolloutRequest<'a> {
    /// What is before the values.
    pub fn head(&self) -> [u8; PREPARE_HEAD] {
        joined(&[
            &self.id.number.to_le_bytes(),
            &[self.id.coordinator],
            &self.plan.nodes.to_le_bytes(),
            &self.plan.lease_ms.to_le_bytes(),
            &self.uid.to_le_bytes(),
        ])
    }

    /// Reads a request; `None` for what means nothing, or has too many values.
    pub fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let request = RolloutRequest {
            id: read_id(&mut bytes)?,
            plan: RolloutPlan {
                nodes: u64::from_le_bytes(*take(&mut bytes)?),
                lease_ms: read_u32(&mut bytes)?,
            },
            uid: read_u32(&mut bytes)?,
            text: bytes,
        };
        (request.text.len() <= MAX_ROLLOUT_TEXT).then_some(request)
    }
}

/// Anything to be said but [`RolloutAsk::Prepare`], as bytes; `None` for that.
pub fn say(id: RolloutId, ask: &RolloutAsk) -> Option<[u8; SAY_LEN]> {
    let (what, lease_ms) = match *ask {
        RolloutAsk::Prepare(_) => return None,
        RolloutAsk::Keep { lease_ms } => (1, lease_ms),
        RolloutAsk::Try { lease_ms } => (2, lease_ms),
        RolloutAsk::Commit => (3, 0),
        RolloutAsk::Abort => (4, 0),
        RolloutAsk::Outcome => (5, 0),
    };
    Some(joined(&[
        &id.number.to_le_bytes(),
        &[id.coordinator, what],
        &lease_ms.to_le_bytes(),
    ]))
}

/// Reads what [`say`] makes; `None` for what means nothing.
pub fn read_say(mut bytes: &[u8]) -> Option<(RolloutId, RolloutAsk)> {
    let id = read_id(&mut bytes)?;
    let [what] = *take(&mut bytes)?;
    let lease_ms = read_u32(&mut bytes)?;
    let ask = match (what, lease_ms) {
        (1, _) => RolloutAsk::Keep { lease_ms },
        (2, _) => RolloutAsk::Try { lease_ms },
        (3, 0) => RolloutAsk::Commit,
        (4, 0) => RolloutAsk::Abort,
        (5, 0) => RolloutAsk::Outcome,
        _ => return None,
    };
    bytes.is_empty().then_some((id, ask))
}

impl<'a> RolloutReply<'a> {
    /// Puts it into `to`. How many bytes it has; of a reason as many as there is room for.
    pub fn write(&self, to: &mut [u8; MAX_ANSWER_LEN]) -> usize {
        let (first, errno, reason): (u8, [u8; 4], &[u8]) = match *self {
            RolloutReply::Answer(answer) => {
                let [to, ..] = to;
                *to = match answer {
                    RolloutAnswer::Held => 1,
                    RolloutAnswer::Committed => 2,
                    RolloutAnswer::Aborted => 3,
                    RolloutAnswer::Undecided => 4,
                    RolloutAnswer::Doubt => 5,
                };
                return 1;
            }
            RolloutReply::Refused(errno, reason) => (0, errno.to_wire().to_le_bytes(), reason),
        };
        let reason = reason.get(..MAX_REASON).unwrap_or(reason);
        *to = joined(&[&[first], &errno, reason]);
        reason.len().saturating_add(5)
    }

    /// Reads an answer; `None` for what means nothing.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (first, mut rest) = bytes.split_first()?;
        let answer = match first {
            0 => {
                let errno = Errno::from_wire(read_u32(&mut rest)?);
                return Some(RolloutReply::Refused(errno, rest));
            }
            1 => RolloutAnswer::Held,
            2 => RolloutAnswer::Committed,
            3 => RolloutAnswer::Aborted,
            4 => RolloutAnswer::Undecided,
            5 => RolloutAnswer::Doubt,
            _ => return None,
        };
        rest.is_empty().then_some(RolloutReply::Answer(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = RolloutId> {
        (any::<u64>(), any::<u8>()).prop_map(|(number, coordinator)| RolloutId {
            number,
            coordinator,
        })
    }

    fn ask() -> impl Strategy<Value = RolloutAsk> {
        prop_oneof![
            any::<u32>().prop_map(|lease_ms| RolloutAsk::Keep { lease_ms }),
            any::<u32>().prop_map(|lease_ms| RolloutAsk::Try { lease_ms }),
            Just(RolloutAsk::Commit),
            Just(RolloutAsk::Abort),
            Just(RolloutAsk::Outcome),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood(id in id(), ask in ask()) {
            prop_assert_eq!(read_say(&say(id, &ask).unwrap()), Some((id, ask)));
        }

        #[test]
        fn requests_are_read_back(
            id in id(),
            nodes in any::<u64>(),
            lease_ms in any::<u32>(),
            uid in any::<u32>(),
            text in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let plan = RolloutPlan { nodes, lease_ms };
            let request = RolloutRequest { id, plan, uid, text: &text };
            let bytes = [&request.head()[..], &text].concat();
            prop_assert_eq!(RolloutRequest::read(&bytes), Some(request));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = RolloutRequest::read(&bytes);
            if let Some((id, ask)) = read_say(&bytes) {
                prop_assert_eq!(&say(id, &ask).unwrap()[..], &bytes[..]);
            }
            let mut again = [0; MAX_ANSWER_LEN];
            if let Some(reply @ RolloutReply::Answer(_)) = RolloutReply::read(&bytes) {
                let len = reply.write(&mut again);
                prop_assert_eq!(&again[..len], &bytes[..]);
            }
        }
    }

    #[test]
    fn a_reason_is_cut() {
        let mut bytes = [0; MAX_ANSWER_LEN];
        let len = RolloutReply::Refused(Errno::ERANGE, &[b'x'; 300]).write(&mut bytes);
        let read = RolloutReply::read(&bytes[..len]);
        assert_eq!(
            read,
            Some(RolloutReply::Refused(Errno::ERANGE, &[b'x'; MAX_REASON]))
        );
        assert_eq!(RolloutRequest::read(&[0; PREPARE_HEAD - 1]), None);
        let long = [0; PREPARE_HEAD + MAX_ROLLOUT_TEXT + 1];
        assert_eq!(RolloutRequest::read(&long), None);
    }
}
