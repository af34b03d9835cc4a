// SPDX-License-Identifier: GPL-2.0
//! What is read from a pipe or a terminal, in blocks.

use anyhow::{Context, Result};
use std::io::Read;

/// Bytes read or written at a time.
pub(crate) const BLOCK: usize = 1 << 20;

/// Hands all that is in `from` to `take`, a block at a time, each with the number of bytes before it. If there is
/// nothing it is called once, without bytes: what it writes to may be wrong all the same. Returns how many bytes
/// there were.
pub(crate) fn each(
    mut from: impl Read,
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<u64> {
    let mut block = Vec::new();
    let mut done = 0;
    loop {
        block.clear();
        from.by_ref()
            .take(BLOCK as u64)
            .read_to_end(&mut block)
            .context("cannot read standard input")?;
        if block.is_empty() && done > 0 {
            return Ok(done);
        }
        take(done, &block)?;
        done += block.len() as u64;
        if block.len() < BLOCK {
            return Ok(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_comes_in_order_and_nothing_once() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            let all: Vec<_> = (0..len).map(|at| (at % 251) as u8).collect();
            let (mut taken, mut calls) = (Vec::new(), 0);
            let bytes = each(&all[..], |before, block| {
                assert_eq!(before, taken.len() as u64);
                taken.extend_from_slice(block);
                calls += 1;
                Ok(())
            });
            assert_eq!(bytes.unwrap(), len as u64);
            assert!(taken == all && calls == len.div_ceil(BLOCK).max(1), "{len}");
        }
    }
}
