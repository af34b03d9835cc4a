// SPDX-License-Identifier: GPL-2.0

//! Bounds of the configuration, and what is wrong with files in general.

/// Most nodes of a cluster.
pub const MAX_NODES: usize = 64;

/// How long a file may be.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// In bytes.
    pub bytes: usize,
    /// What is wrong with a longer one.
    pub exceeded: &'static str,
}

/// Of a configuration file.
pub const FILE_LIMIT: Limit = Limit {
    bytes: 64 * 1024,
    exceeded: "longer than 64 KiB",
};

/// Of a key file.
pub const KEY_LIMIT: Limit = Limit {
    bytes: 4096,
    exceeded: "longer than 4096 bytes",
};

/// Most keys of text sessions.
pub const MAX_TEXT_KEYS: usize = 256;

/// What is wrong with a directory, a device or a pipe in a file's place.
pub const NOT_REGULAR: &str = "not a regular file";

/// What is wrong with a key file that is not there. Configuration files need not be.
pub const KEY_MISSING: &str =
    "does not exist; put the cluster's key there, or say 'auth = none' for a laboratory";

/// What is wrong with the file of a text session's key that is not there.
pub const TEXT_KEY_MISSING: &str = "does not exist; a text_key line names it";

/// Longest deadline that can be configured or asked for, in milliseconds.
pub const MAX_DEADLINE_MS: u32 = 300_000;
