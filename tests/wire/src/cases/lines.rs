// SPDX-License-Identifier: GPL-2.0

//! Lines out of a byte stream, however it is cut; told by the sample service, which repeats them.

use super::{Suite, suite};
use crate::{
    node::{ECHO, Node},
    text::Text,
};
use std::{io, time::Duration};

pub(super) const SUITE: Suite = suite![
    half_a_command_then_the_rest,
    commands_in_one_byte_segments,
    a_hundred_commands_in_one_segment,
    both_line_ends_count,
    blank_lines_get_no_reply,
    nuls_are_bytes_like_others,
    any_byte_but_line_ends_is_repeated,
    a_carriage_return_within_a_reply_is_refused,
    a_mebibyte_without_line_end_is_passed_over,
    quit_ends_without_reply,
    half_close_gets_all_answers,
    a_line_without_end_is_not_carried_out,
    unknown_commands_are_refused,
    help_names_every_command,
];

fn half_a_command_then_the_rest(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    for piece in ["ec", "ho(one ", "two)"] {
        text.wire.send(piece.as_bytes())?;
        text.wire.is_silent_for(Duration::from_millis(100))?;
    }
    assert_eq!(text.ask("")?, "one two");
    Ok(())
}

fn commands_in_one_byte_segments(node: &Node) -> io::Result<()> {
    let mut text = Text::stranger(node, ECHO)?;
    let auth = [b"auth ", &node.text_key[..], b"\r\n"].concat();
    text.wire.send_in_single_bytes(&auth)?;
    text.wire
        .send_in_single_bytes(b"echo(one)\necho(two)\r\n\nstats\n")?;
    assert_eq!(text.line()?, b"OK");
    assert_eq!(text.line()?, b"one");
    assert_eq!(text.line()?, b"two");
    assert!(text.line()?.starts_with(b"calls="));
    Ok(())
}

fn a_hundred_commands_in_one_segment(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    let commands: String = (0..100).map(|i| format!("echo(number {i})\n")).collect();
    text.wire.send(commands.as_bytes())?;
    for i in 0..100 {
        assert_eq!(text.line()?, format!("number {i}").as_bytes());
    }
    text.wire.is_silent_for(Duration::from_millis(100))
}

fn both_line_ends_count(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    text.wire.send(b"echo(lf)\necho(crlf)\r\necho open\r\n")?;
    for expected in ["lf", "crlf", "open"] {
        assert_eq!(text.line()?, expected.as_bytes());
    }
    Ok(())
}

fn blank_lines_get_no_reply(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    text.wire.send(b"\n\r\n   \n\t\r\necho(first)\n\n")?;
    assert_eq!(text.line()?, b"first");
    text.wire.is_silent_for(Duration::from_millis(100))
}

fn nuls_are_bytes_like_others(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    assert_eq!(text.ask_bytes(b"echo(a\0b\0)")?, b"a\0b\0");
    text.ask_in_vain(b"\0", "ENOSYS")?;
    text.ask_in_vain(b"ec\0ho(a)", "ENOSYS")?;
    assert_eq!(text.ask("echo(still here)")?, "still here");
    Ok(())
}

fn any_byte_but_line_ends_is_repeated(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    let bytes: Vec<u8> = (0..=255).filter(|byte| !b"\n\r".contains(byte)).collect();
    let command = [b"echo(", &bytes[..], b")"].concat();
    assert_eq!(text.ask_bytes(command)?, bytes);
    Ok(())
}

/// A terminal would show half of such a line as another one.
fn a_carriage_return_within_a_reply_is_refused(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    text.ask_in_vain("echo(a\rb)", "EILSEQ")?;
    assert_eq!(text.ask("echo(c)")?, "c");
    Ok(())
}

fn a_mebibyte_without_line_end_is_passed_over(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    let mut bytes = b"echo(".to_vec();
    bytes.resize(1 << 20, b'x');
    for _ in 0..2 {
        text.wire.send(&bytes)?;
        text.wire.send(b"echo(this is still the long line)\n")?;
        let reply = String::from_utf8_lossy(&text.line()?).into_owned();
        assert!(reply.starts_with("ERR EMSGSIZE "), "reply '{reply}'");
        assert_eq!(text.ask("echo(next line)")?, "next line");
    }
    text.wire.is_silent_for(Duration::from_millis(100))
}

fn quit_ends_without_reply(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    text.wire.send(b"echo(a)\nquit\necho(b)\n")?;
    assert_eq!(text.wire.rest()?, b"a\n");
    // Also before auth.
    let mut text = Text::stranger(node, ECHO)?;
    text.wire.send(b"quit\r\n")?;
    assert_eq!(text.wire.rest()?, b"");
    Ok(())
}

fn half_close_gets_all_answers(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    // More than one look of the node's at the connection takes in.
    let answers: String = (0..2000).map(|i| format!("{i:0100}\n")).collect();
    let commands: String = answers.lines().map(|a| format!("echo({a})\n")).collect();
    text.wire.send(commands.as_bytes())?;
    text.wire.finish()?;
    let got = text.wire.rest()?;
    assert_eq!(got.len(), answers.len(), "bytes of 2000 answers");
    assert_eq!(got, answers.as_bytes());
    Ok(())
}

fn a_line_without_end_is_not_carried_out(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    text.wire.send(b"echo(whole)\necho(cut o")?;
    text.wire.finish()?;
    assert_eq!(text.wire.rest()?, b"whole\n");
    Ok(())
}

fn unknown_commands_are_refused(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    for command in [
        "echoes(a)",
        "ECHO(a)",
        "(a)",
        "()",
        "virgo_cloud_get(1)",
        "\u{fc}",
    ] {
        text.ask_in_vain(command, "ENOSYS")?;
    }
    text.ask_in_vain("json maybe", "EINVAL")?;
    text.ask_in_vain("json", "EINVAL")?;
    Ok(())
}

fn help_names_every_command(node: &Node) -> io::Result<()> {
    let help = Text::open(node, ECHO)?.ask("help")?;
    for command in ["echo(text)", "stats", "help", "json", "quit"] {
        assert!(help.contains(command), "no {command} in '{help}'");
    }
    Ok(())
}
