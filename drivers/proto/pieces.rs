// SPDX-License-Identifier: GPL-2.0

//! What is too much for one request is done in several, a few of them at a time.

/// Pieces that are under way at a time, unless somebody wants something else.
pub const WINDOW: usize = 4;

/// Most pieces that are under way at a time.
pub const MAX_WINDOW: usize = 16;

/// Does `step` for `len` bytes, at most `max` at a time, until all is done or a step does less than
/// it should. It is given the bytes before, and how many it is to do; it returns how many it did.
/// Returns the bytes done; an error only if there were none.
///
/// Before a step, `begin` may begin pieces that come later, up to `window` (1 to [`MAX_WINDOW`]) with that of the step,
/// which is given what `begin` has returned for it. So pieces behind one of which less was done than
/// should be may be done, too. Before this returns they go to `rest`, with the same numbers.
///
/// # Errors
///
/// That of the first step.
pub fn in_flight<F, E>(
    len: usize,
    max: usize,
    window: usize,
    mut begin: impl FnMut(usize, usize) -> Option<F>,
    mut step: impl FnMut(Option<F>, usize, usize) -> Result<usize, E>,
    mut rest: impl FnMut(F, usize, usize),
) -> Result<usize, E> {
    if len <= max {
        return step(None, 0, len).map(|n| n.min(len));
    }
    let max = max.max(1);
    // The oldest first.
    let mut flights = [const { None }; MAX_WINDOW];
    let window = window.clamp(1, MAX_WINDOW);
    let flights = flights.get_mut(..window).unwrap_or_default();
    // Where the next piece begins to be under way, and where the next step is.
    let (mut begun, mut at) = (0, 0);
    let result = loop {
        while let (1.., Some(place)) = (
            len.saturating_sub(begun),
            flights.iter_mut().find(|flight| flight.is_none()),
        ) {
            let wanted = len.saturating_sub(begun).min(max);
            *place = begin(begun, wanted);
            if place.is_none() {
                break;
            }
            begun = begun.saturating_add(wanted);
        }
        let flight = flights.first_mut().and_then(Option::take);
        flights.rotate_left(1);
        let wanted = len.saturating_sub(at).min(max);
        let (before, stepped) = (at, step(flight, at, wanted));
        at = at.saturating_add(wanted);
        begun = begun.max(at);
        match stepped {
            Ok(n) if n >= wanted && at < len => (),
            Ok(n) => break Ok(before.saturating_add(n.min(wanted))),
            Err(e) if before == 0 => break Err(e),
            Err(_) => break Ok(before),
        }
    };
    for flight in flights.iter_mut().filter_map(Option::take) {
        let wanted = len.saturating_sub(at).min(max);
        rest(flight, at, wanted);
        at = at.saturating_add(wanted);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{cell::Cell, vec::Vec};

    /// A piece under way; counted.
    struct Flight<'a> {
        at: usize,
        len: usize,
        alive: &'a Cell<usize>,
    }

    impl Drop for Flight<'_> {
        fn drop(&mut self) {
            self.alive.set(self.alive.get() - 1);
        }
    }

    #[test]
    fn one_piece_is_not_begun_before() {
        let result = in_flight::<(), ()>(
            5,
            5,
            WINDOW,
            |_, _| panic!("begun"),
            |flight, at, len| {
                assert!(flight.is_none());
                assert_eq!((at, len), (0, 5));
                Ok(5)
            },
            |_, _, _| panic!("left"),
        );
        assert_eq!(result, Ok(5));
    }

    #[test]
    fn the_window_is_filled_before_the_first_step() {
        let begun = Cell::new(0);
        let result = in_flight(
            100,
            10,
            WINDOW,
            |_, _| {
                begun.set(begun.get() + 1);
                Some(())
            },
            |_, at, _| {
                assert_eq!(begun.get(), (at / 10 + WINDOW).min(10));
                Ok::<_, ()>(10)
            },
            |(), _, _| panic!("left"),
        );
        assert_eq!(result, Ok(100));
    }

    proptest! {
        /// Whatever can be begun and however the steps end: each piece is done once, in order, by
        /// what was begun for it; not too many are under way; none is left, and nothing is begun
        /// after the last one that counts.
        #[test]
        fn pieces_are_done_in_order(
            len in 0..200usize,
            max in 1..40usize,
            window in 0..20usize,
            may_begin in prop::collection::vec(any::<bool>(), 1..40),
            short in prop::option::of((0..20usize, prop::option::of(0..40usize))),
        ) {
            let alive = Cell::new(0);
            let mut asked = 0;
            let begun = Cell::new(0);
            let mut steps = Vec::new();
            let mut left = Vec::new();
            let result = in_flight(
                len,
                max,
                window,
                |at, len| {
                    asked += 1;
                    may_begin[asked % may_begin.len()].then(|| {
                        begun.set(at + len);
                        alive.set(alive.get() + 1);
                        Flight { at, len, alive: &alive }
                    })
                },
                |flight, at, len| {
                    assert!(alive.get() <= window.clamp(1, MAX_WINDOW));
                    if let Some(flight) = flight {
                        assert_eq!((flight.at, flight.len), (at, len));
                    }
                    let number = steps.len();
                    steps.push((at, len));
                    match short {
                        Some((n, None)) if n == number => Err(number),
                        Some((n, Some(did))) if n == number => Ok(did),
                        _ => Ok(len),
                    }
                },
                |flight, at, len| {
                    assert_eq!((flight.at, flight.len), (at, len));
                    left.push((at, len));
                },
            );
            prop_assert_eq!(alive.get(), 0);
            // As a loop without anything under way does it.
            let (mut expected, mut done) = (Vec::new(), 0);
            let expected_result = loop {
                let wanted = (len - done).min(max);
                let number = expected.len();
                expected.push((done, wanted));
                let n = match short {
                    Some((n, None)) if n == number => {
                        break if done == 0 { Err(number) } else { Ok(done) };
                    }
                    Some((n, Some(did))) if n == number => did.min(wanted),
                    _ => wanted,
                };
                done += n;
                if n < wanted || done == len {
                    break Ok(done);
                }
            };
            // What was begun behind the end of that is left.
            let mut next = expected.last().map_or(0, |(at, wanted)| at + wanted);
            let mut expected_left = Vec::new();
            while next < begun.get() {
                let wanted = (len - next).min(max);
                expected_left.push((next, wanted));
                next += wanted;
            }
            prop_assert_eq!(steps, expected);
            prop_assert_eq!(left, expected_left);
            prop_assert_eq!(result, expected_result);
        }
    }
}
