// SPDX-License-Identifier: GPL-2.0

//! Lines out of a stream that is cut anywhere.

use virgo_proto::line::Splitter;

/// The bytes are a stream; each is also the size of a piece that arrives.
pub(crate) fn check(stream: &[u8]) {
    let mut splitter = Splitter::new();
    let mut buffer = Vec::new();
    let mut lines = Vec::new();
    let mut rest = stream;
    let mut sizes = stream.iter().rev();
    while !rest.is_empty() {
        let size = usize::from(*sizes.next().unwrap_or(&1) % 8) + 1;
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = behind;
        while let Some(line) = splitter.next(&buffer) {
            assert!(line.text < line.whole && line.whole <= buffer.len());
            lines.push(buffer[..line.text].to_vec());
            buffer.drain(..line.whole);
        }
    }
    let mut expected: Vec<_> = stream.split(|&byte| byte == b'\n').collect();
    assert_eq!(expected.pop(), Some(&buffer[..]), "what has no end yet");
    let expected = expected
        .iter()
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    assert!(lines.iter().map(Vec::as_slice).eq(expected), "{lines:?}");
}
