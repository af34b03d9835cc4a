// SPDX-License-Identifier: GPL-2.0
//! Events in the formats of other tools.

mod dot;
mod otlp;
mod perfetto;
mod shiviz;

pub use dot::dot;
pub use otlp::otlp;
pub use perfetto::perfetto;
pub use shiviz::shiviz;
