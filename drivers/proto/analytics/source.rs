// SPDX-License-Identifier: GPL-2.0

//! Where the value of a variable comes from.

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
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
}

impl Source {
    /// Its name in replies and lists.
    pub const fn name(self) -> &'static str {
        match self {
            Source::Default => "default",
            Source::File => "file",
            Source::Stream => "stream",
            Source::Text => "text",
            Source::Cli => "cli",
        }
    }
}
