// SPDX-License-Identifier: GPL-2.0

//! What the file services of two nodes say to each other, and how files are named.
//!
//! | op       | request body                     | reply body                                                          | repeated |
//! |----------|----------------------------------|---------------------------------------------------------------------|----------|
//! | Open     | [`OpenFileArgs`], the path       | [`OpenReply`]                                                       | stored reply |
//! | FencedOpen | [`FenceToken`], the body of Open | [`OpenReply`]                                                       | stored reply |
//! | Close    | [`FileHandle`]s                  | empty                                                               | done again |
//! | Read     | [`ReadArgs`]                     | the bytes, shorter at the end                                       | done again |
//! | Write    | [`WriteArgs`], the bytes         | [`WriteReply`]                                                      | stored reply |
//! | Sync     | [`HandleArgs`]                   | [`SyncReply`]                                                       | done again |
//! | Stat     | [`HandleArgs`], or with the path | [`StatReply`]                                                       | done again |
//! | Truncate | [`TruncateFileArgs`]             | empty                                                               | stored reply |
//! | Unlink   | [`PathArgs`], the path           | empty                                                               | stored reply |
//! | Rename   | [`PathArgs`], both paths         | empty                                                               | stored reply |
//! | Mkdir    | [`PathArgs`], the path           | empty                                                               | stored reply |
//! | ReadDir  | [`ReadDirArgs`], the path        | [`ReadDirReply`], [`NameEntry`]s or [`StatEntry`]s with their names | done again |
//!
//! Paths are absolute, as the serving node knows them, and without a NUL.
//!
//! FencedOpen is for a client that has a lock, and wants to write. The serving node compares its token at once, and
//! with every Write and Truncate by the handle ([`crate::fence`]).
//!
//! [`FenceToken`]: crate::fence::FenceToken

mod entries;
mod name;
mod sync;
mod wire;

pub use entries::{are_entries, is_entry_name, NameEntry, StatEntry, MIN_ENTRIES};
pub use name::{below, At, BadName, FileName, MAX_PATH};
pub use sync::SyncReply;
pub use wire::{
    flag, op, open, FileHandle, HandleArgs, OpenFileArgs, OpenReply, PathArgs, ReadArgs,
    ReadDirArgs, ReadDirReply, StatReply, TruncateFileArgs, WriteArgs, WriteReply, MAX_CLOSE,
    MAX_DATA,
};
