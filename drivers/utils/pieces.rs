// SPDX-License-Identifier: GPL-2.0

//! What is too much for one request is done in several.

use crate::buffer::Buffer;
use core::convert::Infallible;
use kernel::{
    prelude::*,
    uaccess::UserPtr, //
};
use virgo_proto::pieces;

/// Does `step` for `len` bytes of something that begins at `offset`, at most `max` at a time, until
/// all is done or a step does less than it should. `step` is given where it is to begin, the bytes
/// done before, and how many it is to do; it returns how many it did. Returns the bytes done; an
/// error only if there were none.
///
/// # Errors
///
/// That of the first step; [`EINVAL`] if `offset` is too large for a number.
pub fn for_each(
    offset: u64,
    len: usize,
    max: usize,
    mut step: impl FnMut(u64, usize, usize) -> Result<usize>,
) -> Result<usize> {
    let begin = |_, _, _| None::<Infallible>;
    in_flight(
        offset,
        len,
        max,
        1,
        begin,
        |_, at, done, wanted| step(at, done, wanted),
        |nothing, _, _, _| match nothing {},
    )
}

/// As [`for_each`], with several pieces under way, see [`virgo_proto::pieces::in_flight`].
///
/// # Errors
///
/// As for [`for_each`].
pub fn in_flight<F>(
    offset: u64,
    len: usize,
    max: usize,
    window: usize,
    mut begin: impl FnMut(u64, usize, usize) -> Option<F>,
    mut step: impl FnMut(Option<F>, u64, usize, usize) -> Result<usize>,
    mut rest: impl FnMut(F, u64, usize, usize),
) -> Result<usize> {
    let at = |done| offset.checked_add(done as u64);
    pieces::in_flight(
        len,
        max,
        window,
        |done, wanted| begin(at(done)?, done, wanted),
        |begun, done, wanted| step(begun, at(done).ok_or(EINVAL)?, done, wanted),
        // It was begun, so it has a place.
        |begun, done, wanted| rest(begun, at(done).unwrap_or(0), done, wanted),
    )
}

/// As [`for_each`], for bytes that go from or to user memory at `data` by way of a buffer: `step`
/// is given where it is to begin, the user address, and the part of the buffer.
///
/// # Errors
///
/// As for [`for_each`], and [`ENOMEM`].
pub fn through_buffer(
    data: UserPtr,
    offset: u64,
    len: usize,
    max: usize,
    mut step: impl FnMut(u64, UserPtr, &mut [u8]) -> Result<usize>,
) -> Result<usize> {
    let mut buffer = Buffer::new(len.min(max))?;
    for_each(offset, len, max, |at, done, wanted| {
        let part = buffer.bytes().get_mut(..wanted).ok_or(EINVAL)?;
        step(at, data.wrapping_byte_add(done), part)
    })
}
