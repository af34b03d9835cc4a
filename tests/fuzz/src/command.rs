// SPDX-License-Identifier: GPL-2.0

//! Text commands, their numbers and ids.

use virgo_proto::{
    command::{CommandLine, parse_u64},
    vuid::{Hex, parse_hex},
};

/// The bytes are a line.
pub(crate) fn check(line: &[u8]) {
    let command = CommandLine::parse(line);
    let delimiter = |byte: &u8| b"( \t".contains(byte);
    assert!(!command.name.iter().any(delimiter), "{command:?}");
    check_args::<1>(&command);
    check_args::<2>(&command);
    check_args::<3>(&command);
    if let Some(number) = parse_u64(line) {
        let text = String::from_utf8_lossy(line.trim_ascii());
        let digits = text.trim_start_matches('0');
        let shown = number.to_string();
        assert_eq!(digits, shown.trim_start_matches('0'));
    }
    if let Some(id) = parse_hex(line) {
        assert_eq!(parse_hex(&Hex(id).digits()), Some(id));
        assert_eq!(Hex(id).to_string().as_bytes(), Hex(id).digits());
    }
}

/// `N` arguments are the whole body, cut at commas of which only the last argument has any.
fn check_args<const N: usize>(command: &CommandLine<'_>) {
    let commas = command.body.iter().filter(|&&byte| byte == b',').count();
    let expected = !command.body.is_empty() && commas + 1 >= N;
    let args = command.args::<N>();
    assert_eq!(args.is_some(), expected, "{command:?}");
    if let Some(args) = args {
        assert_eq!(args.join(&b','), command.body);
        assert!(args[..N - 1].iter().all(|arg| !arg.contains(&b',')));
    }
}
