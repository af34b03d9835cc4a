// SPDX-License-Identifier: GPL-2.0

//! The grammar of `/etc/virgo_cloud.conf` and `/etc/virgo_client.conf`.
//!
//! Either the original's single line of comma-separated IPv4 addresses, or lines of
//! `key = value` with `#` comments:
//!
//! | key          | value                                        | default |
//! |--------------|----------------------------------------------|---------|
//! | `nodes`      | addresses, comma-separated; the place in the list, from 1, is the node's number | none |
//! | `self`       | which of them is this machine                | found by its interfaces |
//! | `auth`       | `key`, or `none` for a laboratory            | `key` |
//! | `key_file`   | path of the shared key                       | `/etc/virgo.key` |
//! | `remote_text`| `yes`: text commands from other machines too | `no` |
//! | `datagrams`  | `no`: nodes use connections only             | `yes` |
//! | `text_uid`   | uid that text sessions act as which know the shared key | 65534 |
//! | `text_key`   | uid, then path of a key that opens text sessions as that uid (repeatable) | none |
//! | `deadline_ms`| longest wait for another node                | 5000 |
//! | `place`      | where memory goes: `random`, `least-used`, `two-choices` | `random` |
//! | `balance`    | where calls run, likewise                    | `least-used` |
//! | `quorum`     | nodes that must agree to grant cluster locks: for a node alone or a laboratory of two | more than half |
//! | `registry`   | number of the node that chooses where calls run; each for itself without | none |
//! | `run_as`     | uid that programs and libraries run as, not 0 | 65534 |
//! | `executable` | program that may be run; then, if its arguments are limited, a pattern for each, in which `*` is any text (repeatable) | none |
//! | `library`    | library whose functions may be called (repeatable) | none |
//! | `callers`    | function, program or library, then the uids that may call it, comma-separated, beside root (repeatable) | all |
//! | `use_as_kingcobra_service` | `yes`: text that arrives for the processor pool goes to the queue, and for the memory pool what is no command | `no` |
//! | `export`     | directory, then `ro` or `rw`, then perhaps whom other nodes' users act as there: `UID` or `UID:GID`, not 0, 65534 if there is none (repeatable) | none |

mod grammar;
mod limits;
mod nodes;
mod patterns;
mod settings;
mod statement;
#[cfg(test)]
mod tests;

pub use grammar::{lists_uid, parse, Fault};
pub use limits::{
    Limit, FILE_LIMIT, KEY_LIMIT, KEY_MISSING, MAX_DEADLINE_MS, MAX_NODES, MAX_TEXT_KEYS,
    NOT_REGULAR, TEXT_KEY_MISSING,
};
pub use nodes::Nodes;
pub use patterns::args_match;
pub use settings::{check_text_key, key, ConfigFile, Settings, SettingsDraft};
pub use statement::{ExportUser, Statement};
