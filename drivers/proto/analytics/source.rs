// SPDX-License-Identifier: GPL-2.0

//! Where the value of a variable comes from.

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The module's own default.
    Default,
    /// `/etc/virgo_kernel_analytics.conf`.
    File,
    /// The host of the stream.
    Stream,
    /// A text session.
    Text,
    /// The command line tool, through debugfs.
    Cli,
    /// A roll-out to all nodes.
    Rollout,
}

impl ValueSource {
    /// Its name in replies and lists.
    pub const fn name(self) -> &'static str {
        match self {
            ValueSource::Default => "default",
            ValueSource::File => "file",
            ValueSource::Stream => "stream",
            ValueSource::Text => "text",
            ValueSource::Cli => "cli",
            ValueSource::Rollout => "rollout",
        }
    }
}
