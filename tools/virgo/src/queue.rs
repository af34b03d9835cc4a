// SPDX-License-Identifier: GPL-2.0
//! Queues and topics.
//!
//! A service that answers requests is three lines:
//!
//! ```no_run
//! # fn main() -> Result<(), virgo::Error> {
//! virgo::queue::serve("shout", |request| request.data.to_ascii_uppercase())
//! # }
//! ```

mod message;
mod named;
mod serve;
mod subscription;

pub use message::{MAX_MESSAGE, Message};
pub use named::{How, Published, Queue};
pub(crate) use serve::serve_queue;
pub use serve::{refusal, serve, told_error};
pub use subscription::Subscription;
