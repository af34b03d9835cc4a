// SPDX-License-Identifier: GPL-2.0

//! Fences: an object remembers the largest fencing token that it has seen of the lock which guards it,
//! and refuses a smaller one.
//!
//! A holder that slept past its lease does not know that somebody else has the lock since. Its token is
//! smaller than that of the later grant ([`crate::cloudsync::token`]), so what has seen the later token
//! refuses it. That takes no message: the object's node compares two numbers.
//!
//! Invariants:
//!
//! 1. *The token of a fence never becomes smaller, and its lock never another one.* Tokens of two locks
//!    cannot be compared.
//! 2. *Who comes without the lock is refused as soon as somebody has come with it.* Otherwise a guarded
//!    object would be open to whoever forgets to say a token.
//!
//! Whoever changes an object asks [`Fence::admit`] under the lock under which it changes it, so that
//! nothing with a larger token comes in between.
//!
//! Objects of the memory pool have a fence each (`drivers/mempool/object.rs`), and so have queues and topics
//! (`drivers/queue/core/channel/fencing.rs`); that of a durable queue is in its log. Files have theirs in an
//! extended attribute (`drivers/cloudfs/fences.rs`).

use crate::{
    cloudsync::{placement, MAX_NAME},
    errno::Errno,
};
use core::num::NonZeroU64;
use zerocopy::{little_endian::U64, FromBytes as _};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What somebody says who has a lock, in a request to another node.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct FenceToken {
    /// The hash of the lock's name.
    pub lock: U64,
    /// The token of the grant, not 0.
    pub token: U64,
}

/// Arguments of a request of somebody who has a lock: those of the same request without one follow the
/// lock.
#[derive(IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Fenced<T> {
    /// The lock.
    pub fence: FenceToken,
    /// The arguments.
    pub args: T,
}

/// A lock that somebody had at some time: which one, and with which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FenceClaim {
    lock: u64,
    token: NonZeroU64,
}

impl FenceClaim {
    /// The lock `name`, granted with `token`. `None` for a name or a token that no lock has.
    pub fn new(name: &[u8], token: u64) -> Option<Self> {
        let (lock, token) = (placement::hash(name), NonZeroU64::new(token)?);
        matches!(name.len(), 1..=MAX_NAME).then_some(FenceClaim { lock, token })
    }

    /// As another node has said it.
    pub fn from_wire(args: &FenceToken) -> Option<Self> {
        let (lock, token) = (args.lock.get(), NonZeroU64::new(args.token.get())?);
        Some(FenceClaim { lock, token })
    }

    /// Takes a request apart that begins with a [`FenceToken`]; `None` if it does not.
    pub fn split(request: &[u8]) -> Option<(Self, &[u8])> {
        let (token, rest) = FenceToken::read_from_prefix(request).ok()?;
        Some((Self::from_wire(&token)?, rest))
    }

    /// For another node.
    pub fn to_wire(self) -> FenceToken {
        FenceToken {
            lock: self.lock.into(),
            token: self.token.get().into(),
        }
    }
}

/// What an object has seen: nothing at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fence(Option<FenceClaim>);

impl Fence {
    /// Of an object that no lock guards yet.
    pub const OPEN: Self = Fence(None);

    /// The lock and the largest token that it has seen, if any.
    pub fn seen(self) -> Option<FenceClaim> {
        self.0
    }

    /// The fence of an object that has kept [what it has seen](Self::seen) as a [`FenceToken`]; `None` if these
    /// bytes are none.
    pub fn stored(bytes: &[u8]) -> Option<Self> {
        match FenceClaim::split(bytes)? {
            (claim, []) => Some(Fence(Some(claim))),
            _ => None,
        }
    }

    /// Whether what somebody wants to do may be done who claims this lock, or none; notes the token.
    ///
    /// # Errors
    ///
    /// [`Errno::ESTALE`] if the lock was granted to somebody else since; [`Errno::ENOLCK`] if another lock
    /// guards the object than the one claimed.
    pub fn admit(&mut self, claim: Option<FenceClaim>) -> Result<(), Errno> {
        let (Some(seen), Some(claimed)) = (self.0, claim) else {
            // Nobody has come with the lock yet, or this is the first who does.
            return match self.0 {
                Some(_) => Err(Errno::ENOLCK),
                None => {
                    self.0 = claim;
                    Ok(())
                }
            };
        };
        if claimed.lock != seen.lock {
            return Err(Errno::ENOLCK);
        }
        if claimed.token < seen.token {
            return Err(Errno::ESTALE);
        }
        self.0 = claim;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::IntoBytes as _;

    #[test]
    fn who_had_the_lock_before_is_refused() {
        let claim = |name: &[u8], token| FenceClaim::new(name, token);
        let mut fence = Fence::OPEN;
        assert_eq!(fence.admit(None), Ok(()));
        assert_eq!(fence.seen(), None);
        assert_eq!(fence.admit(claim(b"a", 7)), Ok(()));
        assert_eq!(fence.admit(claim(b"a", 7)), Ok(()), "the same holder");
        assert_eq!(fence.admit(claim(b"a", 6)), Err(Errno::ESTALE));
        assert_eq!(fence.admit(None), Err(Errno::ENOLCK));
        assert_eq!(fence.admit(claim(b"b", 9)), Err(Errno::ENOLCK));
        assert_eq!(fence.admit(claim(b"a", 8)), Ok(()));
        assert_eq!(fence.admit(claim(b"a", 7)), Err(Errno::ESTALE));
        assert_eq!(fence.seen(), claim(b"a", 8), "the refused change nothing");
        assert_eq!(FenceClaim::new(b"a", 0), None);
        assert_eq!(FenceClaim::new(b"", 1), None);
        assert_eq!(FenceClaim::new(&[b'a'; MAX_NAME + 1], 1), None);
        let wire = FenceClaim::new(b"a", 8).unwrap().to_wire();
        assert_eq!(FenceClaim::from_wire(&wire), FenceClaim::new(b"a", 8));
    }

    #[test]
    fn a_request_is_taken_apart() {
        let claim = FenceClaim::new(b"a", 8).unwrap();
        let fence = claim.to_wire();
        let whole = Fenced {
            fence,
            args: *b"args",
        };
        let (bytes, rest) = (whole.as_bytes(), &b"args"[..]);
        assert_eq!(FenceClaim::split(bytes), Some((claim, rest)));
        assert_eq!(FenceClaim::split(&bytes[..16]), Some((claim, &b""[..])));
        assert_eq!(FenceClaim::split(&bytes[..15]), None);
        assert_eq!(FenceClaim::split(&[0; 20]), None, "0 is no token");
    }

    #[test]
    fn what_is_kept_is_what_was_seen() {
        let claim = FenceClaim::new(b"a", 8);
        let token = claim.unwrap().to_wire();
        let bytes = token.as_bytes();
        assert_eq!(Fence::stored(bytes).map(Fence::seen), Some(claim));
        assert_eq!(Fence::stored(&bytes[..15]), None);
        assert_eq!(
            Fence::stored(&[bytes, b"x"].concat()),
            None,
            "a later version's"
        );
        assert_eq!(Fence::stored(&[0; 16]), None);
        assert_eq!(Fence::stored(b""), None);
    }

    proptest! {
        /// Of all who are admitted nobody has a smaller token than one before, nor another lock.
        #[test]
        fn tokens_of_the_admitted_never_shrink(
            claims in prop::collection::vec((0u8..2, 0u64..6), 1..40)
        ) {
            let mut fence = Fence::default();
            let mut last: Option<FenceClaim> = None;
            for (lock, token) in claims {
                let claim = FenceClaim::new(&[lock], token);
                let expected = match (last, claim) {
                    (None, _) => Ok(()),
                    (Some(last), Some(claim)) if last.lock == claim.lock => match claim.token >= last.token {
                        true => Ok(()),
                        false => Err(Errno::ESTALE),
                    },
                    _ => Err(Errno::ENOLCK),
                };
                prop_assert_eq!(fence.admit(claim), expected);
                if expected.is_ok() {
                    last = claim.or(last);
                }
                prop_assert_eq!(fence.seen(), last);
            }
        }
    }
}
