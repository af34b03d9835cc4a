// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/virgo/config`: shows the configuration, and takes `reload`.

use crate::node::Node;
use kernel::{
    fmt,
    prelude::*,
    sync::Arc,
    uaccess::UserSliceReader, //
};
use linux::debugfs::Content;

/// What the file shows and takes.
pub(crate) struct ConfigControl(pub(crate) Arc<Node>);

impl Content for ConfigControl {
    const WRITABLE: bool = true;

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }

    fn write(&self, text: &mut UserSliceReader) -> Result {
        write(&self.0, text)
    }
}

/// `key value` lines; one `node NUMBER ADDRESS` line a node.
fn show(node: &Arc<Node>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let config = node.config();
    writeln!(f, "self {}", config.me)?;
    for (id, address) in config.nodes.iter() {
        writeln!(f, "node {id} {}", address)?;
    }
    let auth = if config.key.is_some() { "key" } else { "none" };
    writeln!(f, "auth {auth}")?;
    let remote_text = if config.remote_text { "yes" } else { "no" };
    writeln!(f, "remote_text {remote_text}")?;
    let datagrams = if config.datagrams { "yes" } else { "no" };
    writeln!(f, "datagrams {datagrams}")?;
    writeln!(f, "text_uid {}", config.text_uid)?;
    for own in &config.text_keys {
        writeln!(f, "text_key {}", own.uid)?;
    }
    writeln!(f, "deadline_ms {}", config.deadline_ms)?;
    writeln!(f, "place {}", config.place.name())?;
    writeln!(f, "balance {}", config.balance.name())?;
    if let Some(registry) = config.registry {
        writeln!(f, "registry {registry}")?;
    }
    writeln!(f, "run_as {}", config.run_as)?;
    let divert = if config.use_as_kingcobra_service {
        "yes"
    } else {
        "no"
    };
    writeln!(f, "use_as_kingcobra_service {divert}")?;
    node.with_rejected(|rejected| match rejected {
        Some(why) => f.write_fmt(fmt!("rejected {why}\n")),
        None => Ok(()),
    })
}

fn write(node: &Arc<Node>, reader: &mut UserSliceReader) -> Result {
    let mut word = [0; 16];
    let len = reader.len();
    let word = word.get_mut(..len).ok_or(EINVAL)?;
    reader.read_slice(word)?;
    match word.trim_ascii() {
        b"reload" => node.reload(),
        _ => Err(EINVAL),
    }
}
