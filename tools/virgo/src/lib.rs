// SPDX-License-Identifier: GPL-2.0
//! Memory, processors and files of a whole VIRGO cluster.
//!
//! An allocation lies in the memory of one node or of several, and is named by an [`Id`] that
//! every node understands:
//!
//! ```no_run
//! use virgo::Allocation;
//!
//! let id = Allocation::new(1 << 20).shared().allocate()?;
//! virgo::set(id, 0, b"hello")?;
//!
//! let mut text = [0; 5];
//! assert_eq!(virgo::get(id, 0, &mut text)?, 5);
//! assert_eq!(&text, b"hello");
//!
//! virgo::free(id)?;
//! # Ok::<(), virgo::Error>(())
//! ```
//!
//! A [`Call`] runs a function or a program on any node:
//!
//! ```no_run
//! use virgo::{Call, On};
//!
//! let outcome = virgo::run(&Call::new("echo").arg("hello").on(On::Least))?;
//! println!("node {}: {:?}", outcome.node, outcome.ended);
//! # Ok::<(), virgo::Error>(())
//! ```
//!
//! An [`Open`] file may be on any node:
//!
//! ```no_run
//! let file = virgo::File::open("node2:/srv/ro/motd")?;
//! let mut text = [0; 100];
//! let n = file.read_at(0, &mut text)?;
//! # Ok::<(), virgo::Error>(())
//! ```
//!
//! A [`queue`] brings messages from program to program, on one node or between nodes:
//!
//! ```no_run
//! use virgo::queue::Queue;
//!
//! let orders = Queue::new("orders").on(2);
//! orders.create("ack=5000")?;
//! orders.publish(b"one")?;
//! for message in orders.take(10)? {
//!     println!("{:?}", message.data);
//!     orders.ack(message.id)?;
//! }
//! # Ok::<(), virgo::Error>(())
//! ```
//!
//! Every call ends by its deadline: the one that the node's configuration sets, or one of the
//! caller's own, see [`within`]. What goes wrong is an [`Error`] with an errno.
//!
//! Calls are made by system call, or at the device `/dev/virgo` of a kernel without VIRGO's: see
//! [`door`].
//!
//! [`status`] reads what the kernel modules say about themselves. [`abi`] has the numbers and
//! structures of the calls, for programs that make them by themselves.

pub mod abi;
mod allocation;
mod call;
mod clone;
pub mod door;
mod error;
mod fence;
mod files;
mod id;
pub mod kingcobra;
pub mod lock;
mod memory;
pub mod queue;
pub mod sockets;
pub mod status;

pub use allocation::{Allocation, ParsePlaceError, Place};
pub use clone::{
    Call, Ended, Job, On, Outcome, ParseOnError, cancel, run, run_all, start, start_all, wait_any,
};
pub use error::{Error, Reason, Result};
pub use files::{
    DirEntry, File, Metadata, Open, create_dir, create_dir_with_mode, metadata, read_dir,
    read_dir_metadata, remove_dir, remove_file, rename, rename_new, shown, symlink_metadata,
};
pub use id::{Id, ParseIdError};
pub use memory::{Within, fenced, free, get, get_string, set, set_string, within};
