// SPDX-License-Identifier: GPL-2.0

//! The variable `cloudfs_read_window`: how far a large read of another node's file is ahead.

use virgo_proto::{
    analytics::variable::{
        Declaration,
        ValueType, //
    },
    pieces::{
        MAX_WINDOW,
        WINDOW, //
    }, //
};

pub(crate) const READ_WINDOW: Declaration = Declaration {
    name: "cloudfs_read_window",
    kind: ValueType::Integer,
    unit: "pieces of 64 KiB",
    min: 1,
    max: MAX_WINDOW as i64,
    default: WINDOW as i64,
    check: None,
    reader: "cloudfs",
    about: "pieces of a read or write of another node's file that are under way at a time",
};
