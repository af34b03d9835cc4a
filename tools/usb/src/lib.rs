// SPDX-License-Identifier: GPL-2.0
//! What captures of USB traffic consist of, and what they tell.
//!
//! [`record`] and [`packet`] read what `/dev/umbmon` gives; [`pcapng`] writes and reads files of it that
//! Wireshark opens; [`sysfs`] lists the devices of this machine. The rest looks at the traffic.

pub mod counters;
pub mod descriptors;
pub mod distinct;
pub mod live;
pub mod packet;
pub mod pcapng;
pub mod periods;
pub mod policy;
pub mod record;
pub mod report;
pub mod sequences;
pub mod sysfs;
pub mod traffic;
pub mod typing;
