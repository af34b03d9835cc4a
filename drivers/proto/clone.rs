// SPDX-License-Identifier: GPL-2.0

//! What the processor pools of two nodes say to each other, and what the program that runs
//! programs tells the kernel.
//!
//! | op     | request body                                  | reply body                                   | repeated |
//! |--------|-----------------------------------------------|----------------------------------------------|----------|
//! | Run    | [`RunArgs`], then calls: [`CallHeader`], argv | [`Load`], then [`OutcomeHeader`]s and output | stored reply |
//! | Done   | results: [`OutcomeHeader`], output            | empty                                        | done again |
//! | Cancel | keys, 64 bits each                            | empty                                        | done again |
//! | Tell   | [`Load`]                                      | empty                                        | done again |
//! | Pick   | [`PickArgs`]                                  | node numbers, a byte each                    | done again |
//! | Probe  | keys, 64 bits each                            | a byte each: 1 if known                      | done again |
//!
//! The client names each call by a key of its own. Run answers for each call, in order: with its
//! result, if it was short, or [`state::RUNNING`]; the result then comes by Done, a request in the
//! other direction. So a long call holds no slot of the connection, and a lost connection loses
//! no result. A result whose output is too long for one Done comes in two: the first is flagged
//! [`PART`] and has the standard error only.
//!
//! Probe asks whether the node still has calls: they run or wait there, or their results are kept
//! for the client. A call that it does not have will never have a result.

use crate::frame::MAX_BODY;
use core::mem::size_of;
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Operation numbers in [`crate::frame::FrameHeader::op`].
pub mod op {
    /// Run calls.
    pub const RUN: u16 = 1;
    /// Calls have ended.
    pub const DONE: u16 = 2;
    /// End calls.
    pub const CANCEL: u16 = 3;
    /// Say how loaded this node is.
    pub const TELL: u16 = 4;
    /// Ask the registry where to run calls.
    pub const PICK: u16 = 5;
    /// Ask whether the node still has calls.
    pub const PROBE: u16 = 6;
}

/// What came of a call, as in `struct virgo_call`.
pub mod state {
    /// Not known yet.
    pub const RUNNING: u32 = 0;
    /// A function returned the value.
    pub const RETURNED: u32 = 1;
    /// A program ended with this status.
    pub const EXITED: u32 = 2;
    /// This signal killed it.
    pub const KILLED: u32 = 3;
    /// It did not run, or nobody knows: the value is an error number.
    pub const FAILED: u32 = 4;
}

/// TCP port of the service.
pub const PORT: u16 = 10_000;

/// Most bytes of name and arguments of a call.
pub const MAX_ARGV: usize = 32 * 1024;

/// Most bytes of a call's standard output, and of its standard error.
pub const MAX_OUTPUT: usize = 64 * 1024;

/// Most bytes of output in one Done.
pub const MAX_DONE_OUTPUT: usize = MAX_BODY - size_of::<OutcomeHeader>();

/// Most keys in one Cancel or Probe.
pub const MAX_KEYS: usize = 4096;

/// Most bytes of output that come with the reply of Run.
pub const MAX_SHORT: usize = 256;

/// Most calls in one Run: their short results fit a frame.
pub const MAX_CALLS: usize =
    (MAX_BODY - size_of::<Load>()) / (size_of::<OutcomeHeader>() + MAX_SHORT);

/// Flag of [`OutcomeHeader`]: there was more output.
pub const TRUNCATED: u32 = 1 << 0;

/// Flag of [`OutcomeHeader`]: this is the standard error of a call, and the rest of the result follows in
/// another Done. Repeated, it replaces what came before.
pub const PART: u32 = 1 << 1;

/// Arguments of Run.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct RunArgs {
    /// Who calls.
    pub uid: U32,
    /// Time for each call, in milliseconds.
    pub timeout_ms: U32,
    /// Calls that follow.
    pub count: U32,
    /// Must be 0.
    pub reserved: U32,
}

/// One call of a Run; `len` bytes of name and arguments follow, each ended by a NUL.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct CallHeader {
    /// The client's name for it.
    pub key: U64,
    /// Bytes of name and arguments.
    pub len: U32,
    /// Must be 0.
    pub reserved: U32,
}

/// What came of a call; `out_len` bytes of standard output and `err_len` of standard error
/// follow.
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq,
)]
#[repr(C)]
pub struct OutcomeHeader {
    /// The client's name for the call.
    pub key: U64,
    /// Return value, exit status, signal, or error number.
    pub value: I64,
    /// One of [`state`].
    pub state: U32,
    /// Bytes of standard output.
    pub out_len: U32,
    /// Bytes of standard error.
    pub err_len: U32,
    /// [`TRUNCATED`], [`PART`].
    pub flags: U32,
}

/// Arguments of Pick.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PickArgs {
    /// Nodes that will do: bit `n - 1` for node `n`.
    pub nodes: U64,
    /// How many calls there are: that many nodes are answered, perhaps the same ones again.
    pub count: U32,
    /// How to choose: [`crate::balance::Policy::to_wire`].
    pub policy: U32,
}

/// How loaded a node is.
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq,
)]
#[repr(C)]
pub struct Load {
    /// Calls that run or wait.
    pub calls: U32,
    /// Tasks that run or want to.
    pub runnable: U32,
    /// Processors that are online.
    pub processors: U16,
    /// Share of the last second in which they were busy, in percent.
    pub busy: U16,
    /// Free memory, in MiB.
    pub free_mib: U32,
}

impl Load {
    /// One number to compare nodes by, smaller is better: how many tasks want a processor, in
    /// hundredths per processor. Calls that run or wait count as tasks, beside those that were
    /// seen running.
    pub fn weight(&self) -> u32 {
        let wanted = self.calls.get().saturating_add(self.runnable.get());
        wanted
            .saturating_mul(100)
            .checked_div(u32::from(self.processors.get()))
            .unwrap_or(u32::MAX)
    }
}

/// Takes the next call off `calls`; `None` at the end, and for what is none, which stays there.
pub fn next_call<'a>(calls: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    use zerocopy::FromBytes as _;
    let (call, rest) = CallHeader::read_from_prefix(calls).ok()?;
    let (argv, rest) = rest.split_at_checked(usize::try_from(call.len.get()).ok()?)?;
    if argv.len() > MAX_ARGV || call.reserved.get() != 0 {
        return None;
    }
    *calls = rest;
    Some((call.key.get(), argv))
}

/// Takes the next result off `results`: its output is standard output, then standard error. `None` at
/// the end and for what is none, with a state or flag that nobody knows, too; that stays there.
pub fn next_outcome<'a>(results: &mut &'a [u8]) -> Option<(OutcomeHeader, &'a [u8])> {
    use zerocopy::FromBytes as _;
    let (outcome, rest) = OutcomeHeader::read_from_prefix(results).ok()?;
    let (out_len, err_len) = (outcome.out_len.get(), outcome.err_len.get());
    let len = out_len.checked_add(err_len)?;
    let (output, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let longest = usize::try_from(out_len.max(err_len)).ok()?;
    let known =
        outcome.state.get() <= state::FAILED && outcome.flags.get() & !(TRUNCATED | PART) == 0;
    if longest > MAX_OUTPUT || !known {
        return None;
    }
    *results = rest;
    Some((outcome, output))
}

/// The keys of a Cancel or Probe; `None` if the request is none.
pub fn keys(request: &[u8]) -> Option<impl Iterator<Item = u64> + '_> {
    let keys = request.chunks_exact(size_of::<u64>());
    let whole = keys.remainder().is_empty() && keys.len() <= MAX_KEYS;
    whole.then(|| keys.map(|key| u64::from_le_bytes(key.try_into().unwrap_or_default())))
}

/// How many bytes of standard output and of standard error are shown where there is room for `room`
/// bytes of both. If they do not fit, standard error gets a quarter at least: it says what went
/// wrong.
pub fn share_room(room: usize, out_len: usize, err_len: usize) -> (usize, usize) {
    let kept = err_len.min(room / 4);
    let out = out_len.min(room.saturating_sub(kept));
    (out, err_len.min(room.saturating_sub(out)))
}

/// The name and the arguments in `argv`: a NUL ends each. `None` if there is no name, or if the
/// last one is not ended.
pub fn words(argv: &[u8]) -> Option<impl Iterator<Item = &[u8]> + Clone> {
    let words = argv.strip_suffix(b"\0")?.split(|&byte| byte == 0);
    words
        .clone()
        .next()
        .is_some_and(|name| !name.is_empty())
        .then_some(words)
}

/// Name and arguments as people type them, separated by blanks; double quotes keep blanks in a
/// word. Hands the bytes of the same as a node has it (a NUL ends each) to `put`.
///
/// # Errors
///
/// Those of `put`.
pub fn text_to_argv<E>(text: &[u8], mut put: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix(b"\"") {
            Some(quoted) => cut(quoted, |byte| byte == b'"'),
            None => cut(rest, |byte| byte.is_ascii_whitespace()),
        };
        put(word)?;
        put(b"\0")?;
        rest = behind.trim_ascii_start();
    }
    Ok(())
}

/// What is before and behind the first byte that is an end.
fn cut(text: &[u8], is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |&byte| is_end(byte));
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A function that a kernel module has registered.
    Function(&'a str),
    /// A program.
    Executable(&'a str),
    /// A function of a library.
    Symbol {
        /// Path of the library.
        library: &'a str,
        /// The function.
        symbol: &'a str,
    },
}

impl<'a> Target<'a> {
    /// What `name` stands for; `None` if it is nothing.
    pub fn parse(name: &'a [u8]) -> Option<Self> {
        let name = core::str::from_utf8(name).ok()?;
        if !name.starts_with('/') {
            return (!name.is_empty()).then_some(Target::Function(name));
        }
        match name.rsplit_once(':') {
            None => Some(Target::Executable(name)),
            Some((library, symbol)) => {
                let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                let good = !symbol.is_empty() && symbol.bytes().all(good);
                good.then_some(Target::Symbol { library, symbol })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;
    use zerocopy::IntoBytes as _;

    fn call(key: u64, argv: &[u8]) -> Vec<u8> {
        let call = CallHeader {
            key: key.into(),
            len: (argv.len() as u32).into(),
            reserved: 0.into(),
        };
        [call.as_bytes(), argv].concat()
    }

    #[test]
    fn names_say_what_they_stand_for() {
        assert_eq!(Target::parse(b"noop"), Some(Target::Function("noop")));
        assert_eq!(
            Target::parse(b"/bin/true"),
            Some(Target::Executable("/bin/true"))
        );
        assert_eq!(
            Target::parse(b"/lib/x.so:_Z3fooPv"),
            Some(Target::Symbol {
                library: "/lib/x.so",
                symbol: "_Z3fooPv"
            })
        );
        for bad in [&b""[..], b"/lib/x.so:", b"/lib/x.so:a-b", b"\xff"] {
            assert_eq!(Target::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn people_type_words_and_quotes() {
        let argv = |text: &[u8]| {
            let mut argv = Vec::new();
            let put = |bytes: &[u8]| -> Result<(), ()> {
                argv.extend_from_slice(bytes);
                Ok(())
            };
            text_to_argv(text, put).map(|()| argv)
        };
        assert_eq!(
            argv(b" echo  \"a  b\" c\"d "),
            Ok(b"echo\0a  b\0c\"d\0".to_vec())
        );
        assert_eq!(argv(b"\"open"), Ok(b"open\0".to_vec()));
        assert_eq!(argv(b"x \"\" y"), Ok(b"x\0\0y\0".to_vec()));
        assert_eq!(argv(b"  "), Ok(Vec::new()));
    }

    #[test]
    fn words_end_with_nul() {
        let all = |argv: &'static [u8]| words(argv).map(|words| words.collect::<Vec<_>>());
        assert_eq!(all(b"a\0b c\0\0"), Some([&b"a"[..], b"b c", b""].to_vec()));
        for bad in [&b""[..], b"\0", b"a", b"a\0b", b"\0a\0"] {
            assert_eq!(all(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn each_stream_has_a_limit_of_its_own() {
        let outcome = |out_len: usize, err_len: usize| {
            let outcome = OutcomeHeader {
                key: 7.into(),
                value: 0.into(),
                state: state::EXITED.into(),
                out_len: (out_len as u32).into(),
                err_len: (err_len as u32).into(),
                flags: 0.into(),
            };
            let bytes = [outcome.as_bytes(), &std::vec![b'x'; out_len + err_len]].concat();
            next_outcome(&mut &bytes[..]).map(|(_, output)| output.len())
        };
        assert_eq!(outcome(MAX_OUTPUT, MAX_OUTPUT), Some(2 * MAX_OUTPUT));
        assert_eq!(outcome(MAX_OUTPUT + 1, 0), None);
        assert_eq!(outcome(0, MAX_OUTPUT + 1), None);
    }

    #[test]
    fn a_result_has_a_known_state_and_known_flags() {
        let taken = |state: u32, flags: u32| {
            let outcome = OutcomeHeader {
                key: 7.into(),
                value: 0.into(),
                state: state.into(),
                out_len: 0.into(),
                err_len: 0.into(),
                flags: flags.into(),
            };
            next_outcome(&mut outcome.as_bytes()).is_some()
        };
        for state in state::RUNNING..=state::FAILED {
            assert!(taken(state, TRUNCATED | PART), "{state}");
        }
        for (state, flags) in [(state::FAILED + 1, 0), (u32::MAX, 0), (state::EXITED, 4)] {
            assert!(!taken(state, flags), "{state} {flags}");
        }
    }

    #[test]
    fn keys_are_whole_and_not_too_many() {
        let all = |bytes: &[u8]| keys(bytes).map(Iterator::collect::<Vec<_>>);
        assert_eq!(all(b""), Some(Vec::new()));
        let two = [1u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
        assert_eq!(all(&two), Some([1, u64::MAX].to_vec()));
        assert_eq!(all(&two[1..]), None);
        assert_eq!(
            all(&std::vec![0; 8 * MAX_KEYS]).map(|all| all.len()),
            Some(MAX_KEYS)
        );
        assert_eq!(all(&std::vec![0; 8 * MAX_KEYS + 8]), None);
    }

    #[test]
    fn a_small_room_has_both_streams() {
        assert_eq!(share_room(100, 40, 60), (40, 60));
        assert_eq!(share_room(100, 1000, 0), (100, 0));
        assert_eq!(share_room(100, 1000, 10), (90, 10));
        assert_eq!(share_room(100, 1000, 1000), (75, 25));
        assert_eq!(share_room(100, 10, 1000), (10, 90));
        assert_eq!(share_room(0, 10, 10), (0, 0));
    }

    proptest! {
        #[test]
        fn calls_survive_the_wire(argvs in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let bytes: Vec<u8> = (0..).zip(&argvs).flat_map(|(key, argv)| call(key, argv)).collect();
            let mut rest = &bytes[..];
            for (key, argv) in (0..).zip(&argvs) {
                prop_assert_eq!(next_call(&mut rest), Some((key, &argv[..])));
            }
            prop_assert_eq!(next_call(&mut rest), None);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            while next_call(&mut rest).is_some() {}
            let mut rest = &bytes[..];
            while next_outcome(&mut rest).is_some() {}
            if let Some(words) = words(&bytes) {
                for word in words {
                    let _ = Target::parse(word);
                }
            }
        }
    }
}
