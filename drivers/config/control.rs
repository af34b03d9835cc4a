// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/virgo/config`: shows the configuration, and takes `reload`.

use crate::node::Node;
use kernel::{
    debugfs,
    fmt,
    prelude::*,
    sync::Arc,
    uaccess::UserSliceReader, //
};

/// The file; it disappears with the value.
pub(crate) fn file(node: &Arc<Node>) -> impl PinInit<debugfs::File<Arc<Node>>> + '_ {
    node.debugfs()
        .read_write_callback_file(c"config", node.clone(), &show, &write)
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
    writeln!(f, "text_uid {}", config.text_uid)?;
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
