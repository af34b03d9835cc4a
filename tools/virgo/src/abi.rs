// SPDX-License-Identifier: GPL-2.0
//! Numbers and structures of the system calls, as `include/uapi/linux/virgo.h` has them.

use libc::c_long;

macro_rules! numbers {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// Numbers of the system calls, x86-64.
        #[expect(missing_docs, reason = "docs/syscalls.md describes the calls")]
        pub mod nr {
            use libc::c_long;
            $(pub const $name: c_long = $number;)*
        }

        /// Name and number of every system call.
        pub const CALLS: &[(&str, c_long)] = &[$(($text, $number)),*];
    };
}

numbers! {
    CLONE = 548, "virgo_clone";
    MALLOC = 549, "virgo_malloc";
    SET = 550, "virgo_set";
    GET = 551, "virgo_get";
    FREE = 552, "virgo_free";
    OPEN = 553, "virgo_open";
    CLOSE = 554, "virgo_close";
    READ = 555, "virgo_read";
    WRITE = 556, "virgo_write";
    CLONE2 = 557, "virgo_clone2";
    WAIT = 558, "virgo_wait";
    CANCEL = 559, "virgo_cancel";
    MALLOC2 = 560, "virgo_malloc2";
    SET2 = 561, "virgo_set2";
    GET2 = 562, "virgo_get2";
    FREE2 = 563, "virgo_free2";
    OPEN2 = 564, "virgo_open2";
    READ2 = 565, "virgo_read2";
    WRITE2 = 566, "virgo_write2";
    FSYNC = 567, "virgo_fsync";
    STAT = 568, "virgo_stat";
    TRUNCATE = 569, "virgo_truncate";
    UNLINK = 570, "virgo_unlink";
    RENAME = 571, "virgo_rename";
    MKDIR = 572, "virgo_mkdir";
    READDIR = 573, "virgo_readdir";
    QUEUE = 574, "virgo_queue";
}

/// Flag of [`MallocArgs`]: every uid of the cluster may set, get and free the allocation.
pub const MALLOC_SHARED: u32 = 1 << 0;

/// Place of [`MallocArgs`]: as `/etc/virgo_client.conf` says.
pub const PLACE_DEFAULT: u32 = 0;
/// Place of [`MallocArgs`]: each chunk on a random node.
pub const PLACE_RANDOM: u32 = 1;
/// Place of [`MallocArgs`]: each chunk where the most pool memory is free.
pub const PLACE_LEAST_USED: u32 = 2;
/// Place of [`MallocArgs`]: all chunks on [`MallocArgs::node`].
pub const PLACE_NODE: u32 = 3;

/// Arguments of `virgo_malloc2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MallocArgs {
    /// Bytes to allocate, at least 1.
    pub size: u64,
    /// Set on success: names the allocation on every node.
    pub id: u64,
    /// [`MALLOC_SHARED`].
    pub flags: u32,
    /// One of the `PLACE_` constants.
    pub place: u32,
    /// Number of the node for [`PLACE_NODE`], otherwise 0.
    pub node: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// Arguments of `virgo_set2` and `virgo_get2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DataArgs {
    /// The allocation.
    pub id: u64,
    /// First byte of the allocation to touch.
    pub offset: u64,
    /// Bytes at `data`.
    pub len: u64,
    /// Address of the bytes.
    pub data: u64,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// Arguments of `virgo_free2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FreeArgs {
    /// The allocation.
    pub id: u64,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
}

const _: () = assert!(size_of::<MallocArgs>() == 32 && align_of::<MallocArgs>() == 8);
const _: () = assert!(size_of::<DataArgs>() == 40 && align_of::<DataArgs>() == 8);
const _: () = assert!(size_of::<FreeArgs>() == 16 && align_of::<FreeArgs>() == 8);

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    const HEADER: &str = include_str!("../../../include/uapi/linux/virgo.h");

    /// Names that begin so and values of the header's `#define` lines.
    fn defines(prefix: &str) -> Vec<(&'static str, &'static str)> {
        HEADER
            .lines()
            .filter_map(|line| line.strip_prefix("#define ")?.strip_prefix(prefix))
            .filter_map(|define| define.split_once(char::is_whitespace))
            .map(|(name, value)| (name, value.split("/*").next().unwrap_or(value).trim()))
            .collect()
    }

    #[test]
    fn numbers_are_those_of_the_header() {
        let header: Vec<_> = defines("__NR_")
            .into_iter()
            .map(|(name, number)| (name, number.parse().unwrap()))
            .collect();
        assert_eq!(header, CALLS);
    }

    #[test]
    fn constants_are_those_of_the_header() {
        assert_eq!(defines("VIRGO_MALLOC_SHARED"), [("", "(1U << 0)")]);
        assert_eq!(MALLOC_SHARED, 1 << 0);
        let places = [
            ("DEFAULT", PLACE_DEFAULT),
            ("RANDOM", PLACE_RANDOM),
            ("LEAST_USED", PLACE_LEAST_USED),
            ("NODE", PLACE_NODE),
        ];
        let header = defines("VIRGO_PLACE_")
            .into_iter()
            .map(|(name, value)| (name, value.parse().unwrap()));
        assert!(header.eq(places));
    }

    /// Members of a structure of the header, in order.
    fn members(structure: &str) -> Vec<&'static str> {
        let start = format!("\nstruct {structure} {{\n");
        let body = HEADER.split_once(&start).unwrap().1;
        let body = body.split_once("};").unwrap().0;
        body.lines()
            .map(|line| {
                line.split_whitespace()
                    .last()
                    .unwrap()
                    .trim_end_matches(';')
            })
            .collect()
    }

    macro_rules! assert_members {
        ($structure:literal, $type:ty, $($member:ident),*) => {
            assert_eq!(members($structure), [$(stringify!($member)),*]);
            assert!([$(offset_of!($type, $member)),*].is_sorted());
        };
    }

    #[test]
    fn structures_are_those_of_the_header() {
        assert_members!(
            "virgo_malloc_args",
            MallocArgs,
            size,
            id,
            flags,
            place,
            node,
            timeout_ms
        );
        assert_members!(
            "virgo_data_args",
            DataArgs,
            id,
            offset,
            len,
            data,
            flags,
            timeout_ms
        );
        assert_members!("virgo_free_args", FreeArgs, id, flags, timeout_ms);
    }

    #[test]
    fn sizes_are_those_of_the_header() {
        let sizes = [
            ("MALLOC", size_of::<MallocArgs>()),
            ("DATA", size_of::<DataArgs>()),
            ("FREE", size_of::<FreeArgs>()),
        ];
        for (name, size) in sizes {
            let define = format!("VIRGO_{name}_ARGS_SIZE_VER0");
            let line = HEADER.lines().find(|line| line.contains(&define)).unwrap();
            assert_eq!(line.split_whitespace().last().unwrap(), size.to_string());
        }
    }
}
