// SPDX-License-Identifier: GPL-2.0

//! Replies in JSON.

use super::{Suite, suite};
use crate::{
    node::{ECHO, MEMPOOL, Node},
    text::Text,
};
use serde_json::{Value, json};
use std::io;

pub(super) const SUITE: Suite = suite![
    every_kind_of_reply_is_an_object,
    any_text_survives,
    bytes_that_are_no_text_come_in_hex,
    json_is_of_one_session_and_ends,
];

fn ask(text: &mut Text, command: impl AsRef<[u8]>) -> io::Result<Value> {
    let reply = text.ask(command)?;
    serde_json::from_str(&reply).map_err(|e| io::Error::other(format!("'{reply}': {e}")))
}

/// Checks that `reply` is an error with this name and a reason, and nothing else.
fn assert_error(reply: &Value, errno: &str) {
    let reason = reply["reason"].as_str().unwrap_or_default();
    assert!(!reason.is_empty(), "no reason in {reply}");
    assert_eq!(
        *reply,
        json!({"ok": false, "errno": errno, "reason": reason})
    );
}

fn every_kind_of_reply_is_an_object(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    assert_eq!(text.ask("json on")?, "OK");
    let ok = |result: &str| json!({"ok": true, "result": result});
    assert_eq!(ask(&mut text, "auth again")?, ok("OK"));
    let malloc = ask(&mut text, "virgo_cloud_malloc(100)")?;
    let id = malloc["result"].as_str().expect("an id").to_string();
    assert_eq!(malloc, ok(&id));
    let set = format!("virgo_cloud_set({id},d\"a\\t\x01a)");
    assert_eq!(ask(&mut text, set)?, ok(&id));
    let get = format!("virgo_cloud_get({id})");
    assert_eq!(ask(&mut text, &get)?, ok("d\"a\\t\x01a"));
    let free = format!("virgo_cloud_free({id})");
    assert_eq!(ask(&mut text, free)?, ok("kernel memory freed"));
    assert_error(&ask(&mut text, &get)?, "ESTALE");
    assert_error(&ask(&mut text, "virgo_cloud_get(x)")?, "EINVAL");
    assert_error(&ask(&mut text, "nonsense")?, "ENOSYS");
    let stats = ask(&mut text, "stats")?;
    assert_eq!(stats["ok"], true);
    for field in ["calls", "errors", "used", "limit", "objects"] {
        assert!(stats[field].is_u64(), "{field} in {stats}");
    }
    let help = ask(&mut text, "help")?;
    assert!(
        help["result"]
            .as_str()
            .is_some_and(|h| h.contains("virgo_cloud_get")),
        "{help}"
    );
    let long = vec![b'x'; 1 << 20];
    assert_error(&ask(&mut text, long)?, "EMSGSIZE");
    Ok(())
}

fn any_text_survives(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    text.ask("json on")?;
    let controls: String = ('\0'..' ').filter(|&c| c != '\n').collect();
    for data in ["", "\"\\/\"", "\u{7f}\u{2028}\u{1f980}", "a\rb", &controls] {
        let reply = ask(&mut text, format!("echo({data})"))?;
        assert_eq!(reply, json!({"ok": true, "result": data}));
    }
    Ok(())
}

fn bytes_that_are_no_text_come_in_hex(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    text.ask("json on")?;
    let reply = ask(&mut text, b"echo(a\xff\x00\x80)")?;
    assert_eq!(reply, json!({"ok": true, "hex": "61ff0080"}));
    Ok(())
}

fn json_is_of_one_session_and_ends(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, ECHO)?;
    text.ask("json on")?;
    assert_eq!(Text::open(node, ECHO)?.ask("echo(a)")?, "a");
    text.ask("json off")?;
    assert_eq!(text.ask("echo(a)")?, "a");
    Ok(())
}
