// SPDX-License-Identifier: GPL-2.0

//! virgo_config: who the nodes are, what they share as a secret, and what they may do.
//!
//! The module holds one [`Node`], this machine's place in the cluster. Other modules get it from
//! [`node()`] and ask it for the [`Config`] in force, a snapshot that does not change under them.

#![deny(missing_docs)]

mod admission;
mod config;
mod control;
mod export;
mod failure;
mod key;
mod node;

pub use admission::{
    Identity,
    Party, //
};
pub use config::Config;
pub use export::Export;
pub use key::{
    Key,
    KeyId, //
};
pub use node::{
    node,
    Node,
    Reloaded,
    Subscription, //
};

use control::ConfigControl;
use kernel::prelude::*;
use linux::debugfs::DebugFile;
use virgo_abi::device::CallDevice;

module! {
    type: ConfigModule,
    name: "virgo_config",
    authors: ["The VIRGO developers"],
    description: "VIRGO: nodes, keys and policy of the cluster",
    license: "GPL",
}

/// Fields are dropped in order: first nobody can ask for a reload or for the right to use VIRGO, then
/// the node goes.
#[pin_data]
struct ConfigModule {
    #[pin]
    _control: DebugFile<ConfigControl>,
    _device: CallDevice,
    _published: node::PublishedNode,
}

impl kernel::InPlaceModule for ConfigModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let node = Node::load()?;
            let published = node::PublishedNode::new(node.clone());
            Ok(try_pin_init!(Self {
                _published: published,
                _control <- DebugFile::new(module, node.debugfs(), c"config", ConfigControl(node.clone())),
                // Last: programs find it, and nothing fails any more that would take it from them.
                _device: CallDevice::register()?,
            }? Error))
        })
    }
}
