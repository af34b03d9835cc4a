// SPDX-License-Identifier: GPL-2.0

//! The memory pool's text commands.

use super::{Suite, suite};
use crate::{
    memory::{OTHER, allocated, used},
    node::{MEMPOOL, Node, PATIENCE},
    peer::Peer,
    text::Text,
};
use std::{
    io, thread,
    time::{Duration, Instant},
};
use virgo_proto::mempool::{PIECE, SHARED, op};

pub(super) const SUITE: Suite = suite![
    both_spellings_do_the_same,
    an_allocation_begins_empty,
    ids_are_read_as_people_type_them,
    wrong_arguments_are_refused,
    sizes_that_are_none_are_refused,
    sizes_beyond_the_pool_leave_nothing_behind,
    data_comes_back_as_it_went,
    sixty_kilobytes_come_back_as_they_went,
    the_longest_string_comes_back_as_it_went,
    split_allocations_are_used_as_one,
    data_ends_at_a_nul,
    data_that_does_not_fit_changes_nothing,
    freed_ids_are_stale,
    ids_that_nobody_issued_are_refused,
    ids_of_another_user_are_refused,
    line_ends_in_data_are_refused_without_json,
    stats_count_calls_errors_and_bytes,
    help_names_every_command,
    every_command_gets_one_line,
];

fn both_spellings_do_the_same(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    for prefix in ["virgo_cloud_", "virgo_"] {
        let id = text.ask(format!("{prefix}malloc(20)"))?;
        assert_eq!(text.ask(format!("{prefix}set({id},{prefix})"))?, id);
        assert_eq!(text.ask(format!("{prefix}get({id})"))?, prefix);
        assert_eq!(
            text.ask(format!("{prefix}free({id})"))?,
            "kernel memory freed"
        );
    }
    Ok(())
}

fn an_allocation_begins_empty(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    // Also where other data was.
    for size in [1, 100, 65536] {
        for _ in 0..3 {
            let allocation = text.malloc(size)?;
            let id = &allocation.0;
            assert_eq!(
                text.ask(format!("virgo_cloud_get({id})"))?,
                "",
                "{size} bytes"
            );
            text.ask(format!("virgo_cloud_set({id},s)"))?;
            text.free(allocation)?;
        }
    }
    Ok(())
}

fn ids_are_read_as_people_type_them(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let allocation = text.malloc(100)?;
    let id = allocation.0.clone();
    let upper = id.to_uppercase();
    for typed in [
        format!("\"{id}\""),
        format!(" {id} "),
        format!("0x{id}"),
        format!("\"0x{id}\""),
        upper,
    ] {
        assert_eq!(
            text.ask(format!("virgo_cloud_set({typed},x{typed}y)"))?,
            id,
            "set {typed}"
        );
        assert_eq!(
            text.ask(format!("virgo_cloud_get({typed})"))?,
            format!("x{typed}y")
        );
        text.ask(format!("virgo_cloud_get {typed}"))?;
    }
    text.free(allocation)
}

fn wrong_arguments_are_refused(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let allocation = text.malloc(10)?;
    let id = &allocation.0;
    for command in [
        "virgo_cloud_malloc".into(),
        "virgo_cloud_malloc()".into(),
        "virgo_cloud_malloc(1,2)".into(),
        "virgo_cloud_malloc(ten)".into(),
        "virgo_cloud_malloc(0x10)".into(),
        "virgo_cloud_set".into(),
        "virgo_cloud_set()".into(),
        format!("virgo_cloud_set({id})"),
        "virgo_cloud_set(,data)".into(),
        "virgo_cloud_set(nonsense,data)".into(),
        "virgo_cloud_get".into(),
        "virgo_cloud_get()".into(),
        format!("virgo_cloud_get({id},{id})"),
        "virgo_cloud_get(nonsense)".into(),
        "virgo_cloud_free".into(),
        "virgo_cloud_free()".into(),
        format!("virgo_cloud_free({id},1)"),
        format!("virgo_cloud_free({id}0)"),
        format!("virgo_cloud_free({})", &id[..15]),
    ] {
        text.ask_in_vain(command, "EINVAL")?;
    }
    text.free(allocation)
}

fn sizes_that_are_none_are_refused(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    for size in [
        "0",
        "00",
        "-1",
        "-9223372036854775808",
        "+1",
        "1e3",
        "18446744073709551616",
    ] {
        text.ask_in_vain(format!("virgo_cloud_malloc({size})"), "EINVAL")?;
    }
    Ok(())
}

fn sizes_beyond_the_pool_leave_nothing_behind(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let before = used(node)?;
    // The first one fills the pools of all nodes before it fails.
    for size in [3u64 << 30, 1 << 40, 1 << 63, u64::MAX] {
        text.ask_in_vain(format!("virgo_cloud_malloc({size})"), "ENOMEM")?;
    }
    // The pieces of the first one are freed by and by.
    let start = Instant::now();
    while used(node)? != before && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}

fn data_comes_back_as_it_went(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let allocation = text.malloc(1000)?;
    let id = &allocation.0;
    for data in [
        "plain",
        "with ) in it",
        ")",
        "))))",
        "(a) (b)",
        ",",
        "a,b,,c",
        " leading and trailing blanks ",
        "\"quoted\"",
        "'",
        "back\\slash \\n",
        "tab\tbell\x07escape\x1b[31m",
        "Gr\u{fc}\u{df}e \u{2713} \u{1f980}",
        "",
        "ERR EINVAL not an error",
        "quit",
    ] {
        assert_eq!(
            text.ask(format!("virgo_cloud_set({id},{data})"))?,
            *id,
            "set '{data}'"
        );
        assert_eq!(text.ask(format!("virgo_cloud_get({id})"))?, data);
    }
    // Not UTF-8.
    let bytes: Vec<u8> = (128..=255).collect();
    let command = [format!("virgo_cloud_set({id},").as_bytes(), &bytes, b")"].concat();
    assert_eq!(text.ask(command)?, *id);
    assert_eq!(text.ask_bytes(format!("virgo_cloud_get({id})"))?, bytes);
    text.free(allocation)
}

/// Sets `len` bytes of text in `size` bytes of memory and gets them.
fn round_trip(node: &Node, size: u64, len: usize) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let allocation = text.malloc(size)?;
    let id = &allocation.0;
    let data: String = ('!'..='~').cycle().take(len).collect();
    assert_eq!(text.ask(format!("virgo_cloud_set({id},{data})"))?, *id);
    let got = text.ask(format!("virgo_cloud_get({id})"))?;
    assert_eq!(got.len(), len, "bytes that came back");
    assert!(got == data, "{len} bytes came back, but not the same");
    text.free(allocation)
}

fn sixty_kilobytes_come_back_as_they_went(node: &Node) -> io::Result<()> {
    round_trip(node, 60 * 1024, 60 * 1024)
}

fn the_longest_string_comes_back_as_it_went(node: &Node) -> io::Result<()> {
    round_trip(node, 65536, 65535)
}

fn split_allocations_are_used_as_one(node: &Node) -> io::Result<()> {
    round_trip(node, 200_000, 60_000)?;
    round_trip(node, 1 << 20, 65535)
}

fn data_ends_at_a_nul(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let allocation = text.malloc(10)?;
    let id = &allocation.0;
    for (data, expected) in [
        ("123456789", "123456789"),
        ("ab\0cd", "ab"),
        ("\0", ""),
        ("xyz", "xyz"),
    ] {
        text.ask(format!("virgo_cloud_set({id},{data})"))?;
        assert_eq!(text.ask(format!("virgo_cloud_get({id})"))?, expected);
    }
    text.free(allocation)
}

fn data_that_does_not_fit_changes_nothing(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let allocation = text.malloc(10)?;
    let id = &allocation.0;
    text.ask(format!("virgo_cloud_set({id},0123456789)"))?;
    text.ask_in_vain(format!("virgo_cloud_set({id},abcdefghijk)"), "EFBIG")?;
    assert_eq!(text.ask(format!("virgo_cloud_get({id})"))?, "0123456789");
    text.free(allocation)
}

fn freed_ids_are_stale(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    for size in [10, 200_000] {
        let allocation = text.malloc(size)?;
        let id = allocation.0.clone();
        text.free(allocation)?;
        // Also when the memory is somebody else's now.
        let next = text.malloc(size)?;
        text.ask_in_vain(format!("virgo_cloud_free({id})"), "ESTALE")?;
        text.ask_in_vain(format!("virgo_cloud_get({id})"), "ESTALE")?;
        text.ask_in_vain(format!("virgo_cloud_set({id},x)"), "ESTALE")?;
        text.free(next)?;
    }
    Ok(())
}

fn ids_that_nobody_issued_are_refused(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let allocation = text.malloc(10)?;
    let id = allocation.number();
    for forged in [0, 1, id ^ 1, id ^ 0x8000, id ^ 0xffff] {
        for command in ["get(ID)", "set(ID,x)", "free(ID)"] {
            let command = command.replace("ID", &format!("{forged:x}"));
            text.ask_in_vain(format!("virgo_cloud_{command}"), "EINVAL")?;
        }
    }
    text.free(allocation)
}

fn ids_of_another_user_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let mut text = Text::open(node, MEMPOOL)?;
    for (flags, refused) in [(0, true), (SHARED, false)] {
        // A piece: it goes with our next life, if nobody may free it.
        let id = allocated(peer.ask(op::ALLOC, &OTHER.alloc(10, PIECE | flags))?);
        for command in [
            format!("get({id:x})"),
            format!("set({id:x},a)"),
            format!("free({id:x})"),
        ] {
            let command = format!("virgo_cloud_{command}");
            match refused {
                true => text.ask_in_vain(command, "EPERM")?,
                false => assert!(!text.ask(command)?.starts_with("ERR")),
            }
        }
    }
    Ok(())
}

fn line_ends_in_data_are_refused_without_json(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let mut text = Text::open(node, MEMPOOL)?;
    for data in ["one\ntwo", "\n", "one\r\ntwo", "\r"] {
        let id = peer.alloc(20, 0)?;
        peer.set(id, 0, data.as_bytes())?.expect("set by frame");
        text.ask_in_vain(format!("virgo_cloud_get({id:x})"), "EILSEQ")?;
        text.ask("json on")?;
        let reply = text.ask(format!("virgo_cloud_get({id:x})"))?;
        let reply: serde_json::Value = serde_json::from_str(&reply)?;
        assert_eq!(reply["result"], data);
        text.ask("json off")?;
        peer.free(id)?.expect("free by frame");
    }
    Ok(())
}

fn stats_count_calls_errors_and_bytes(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let before = text.stats()?;
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(5000, 0)?;
    text.ask_in_vain("virgo_cloud_get(1)", "EINVAL")?;
    let after = text.stats()?;
    let grown = |name| after[name] - before[name];
    assert!(grown("calls") >= 2, "{before:?} {after:?}");
    assert!(grown("errors") >= 1, "{before:?} {after:?}");
    assert!(
        (8192..9000).contains(&grown("used")),
        "{before:?} {after:?}"
    );
    assert_eq!(grown("objects"), 1, "{before:?} {after:?}");
    assert!(after["used"] <= after["limit"], "{after:?}");
    peer.free(id)?.expect("free by frame");
    let end = text.stats()?;
    assert_eq!(end["used"], before["used"], "bytes used after free");
    assert_eq!(end["objects"], before["objects"], "objects after free");
    Ok(())
}

fn help_names_every_command(node: &Node) -> io::Result<()> {
    let help = Text::open(node, MEMPOOL)?.ask("help")?;
    for command in [
        "virgo_cloud_malloc(bytes)",
        "virgo_cloud_set(id,data)",
        "virgo_cloud_get(id)",
        "virgo_cloud_free(id)",
        "virgo_cloud_list(uid or all,from)",
        "stats",
        "help",
        "json",
        "quit",
    ] {
        assert!(help.contains(command), "no {command} in '{help}'");
    }
    Ok(())
}

fn every_command_gets_one_line(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let allocation = text.malloc(100)?;
    let id = allocation.0.clone();
    let commands = [
        "stats".into(),
        "help".into(),
        format!("virgo_cloud_set({id},data)"),
        format!("virgo_cloud_get({id})"),
        "nonsense".into(),
        "virgo_cloud_get(1)".into(),
        "json on".into(),
        "stats".into(),
        "help".into(),
        format!("virgo_cloud_get({id})"),
        "nonsense".into(),
        "json off".into(),
        format!("virgo_cloud_free({id})"),
    ];
    text.wire
        .send(format!("{}\nquit\n", commands.join("\n")).as_bytes())?;
    let replies = text.wire.rest()?;
    let shown = replies.escape_ascii();
    let lines = replies.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(lines, commands.len(), "lines in '{shown}'");
    assert!(replies.ends_with(b"\n"), "'{shown}'");
    assert!(
        !replies.contains(&0) && !replies.contains(&b'\r'),
        "'{shown}'"
    );
    Ok(())
}
