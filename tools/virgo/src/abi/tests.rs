// SPDX-License-Identifier: GPL-2.0
use super::*;
use std::mem::offset_of;

const HEADER: &str = include_str!("../../../../include/uapi/linux/virgo.h");

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
fn ioctl_numbers_are_those_of_the_header() {
    assert_eq!(defines("VIRGO_IOC_TYPE"), [("", "0xb9")]);
    assert_eq!(members("virgo_first_args"), ["args[4]"]);
    // _IOWR(0xb9, 0, 32 bytes), _IOWR(0xb9, 26, 64 bytes), and of 72 bytes.
    assert_eq!(ioc(nr::CLONE, 32), 0xc020_b900);
    assert_eq!(ioc(nr::QUEUE, 64), 0xc040_b91a);
    assert_eq!(ioc(nr::QUEUE, 72), 0xc048_b91a);
}

#[test]
fn constants_are_those_of_the_header() {
    assert_eq!(defines("VIRGO_MALLOC_SHARED"), [("", "(1U << 0)")]);
    assert_eq!(MALLOC_SHARED, 1 << 0);
    assert_eq!(defines("VIRGO_CLONE_ASYNC"), [("", "(1U << 0)")]);
    assert_eq!(CLONE_ASYNC, 1 << 0);
    let places = [
        ("DEFAULT", PLACE_DEFAULT),
        ("RANDOM", PLACE_RANDOM),
        ("LEAST_USED", PLACE_LEAST_USED),
        ("NODE", PLACE_NODE),
    ];
    assert_eq!(numbers("VIRGO_PLACE_"), places);
    let runs = [
        ("DEFAULT", RUN_DEFAULT),
        ("LEAST", RUN_LEAST),
        ("RANDOM", RUN_RANDOM),
        ("TWO", RUN_TWO),
        ("NODE", RUN_NODE),
    ];
    assert_eq!(numbers("VIRGO_RUN_"), runs);
    let states = [
        ("RUNNING", CALL_RUNNING),
        ("RETURNED", CALL_RETURNED),
        ("EXITED", CALL_EXITED),
        ("KILLED", CALL_KILLED),
        ("FAILED", CALL_FAILED),
    ];
    assert_eq!(numbers("VIRGO_CALL_"), states);
    assert_eq!(defines("VIRGO_CALL_TRUNCATED"), [("", "(1U << 0)")]);
    assert_eq!(CALL_TRUNCATED, 1 << 0);
    for (name, flag) in [
        ("VIRGO_FSYNC_DATA", FSYNC_DATA),
        ("VIRGO_STAT_NO_FOLLOW", STAT_NO_FOLLOW),
        ("VIRGO_READDIR_STAT", READDIR_STAT),
        ("VIRGO_UNLINK_DIRECTORY", UNLINK_DIRECTORY),
        ("VIRGO_RENAME_NO_REPLACE", RENAME_NO_REPLACE),
    ] {
        assert_eq!(defines(name), [("", "(1U << 0)")]);
        assert_eq!(flag, 1 << 0);
    }
    let operations = [
        ("CREATE", queue_op::CREATE),
        ("DELETE", queue_op::DELETE),
        ("PUBLISH", queue_op::PUBLISH),
        ("OPEN", queue_op::OPEN),
        ("TAKE", queue_op::TAKE),
        ("ACK", queue_op::ACK),
        ("NACK", queue_op::NACK),
        ("REQUEST", queue_op::REQUEST),
        ("REPLY", queue_op::REPLY),
        ("PURGE", queue_op::PURGE),
        ("ARGS_SIZE_VER0", 56),
        ("ARGS_SIZE_VER1", 64),
        ("ARGS_SIZE_VER2", 72),
    ];
    assert_eq!(numbers("VIRGO_QUEUE_"), operations);
    for (name, number) in [
        ("VIRGO_LOCK_OPEN", lock_op::OPEN),
        ("VIRGO_LOCK_LOCK", lock_op::LOCK),
        ("VIRGO_LOCK_CONVERT", lock_op::CONVERT),
        ("VIRGO_LOCK_UNLOCK", lock_op::UNLOCK),
    ] {
        assert_eq!(numbers(name), [("", number)]);
    }
    assert_eq!(defines("VIRGO_LOCK_TRY"), [("", "(1U << 0)")]);
    assert_eq!(defines("VIRGO_LOCK_ASYNC"), [("", "(1U << 1)")]);
    assert_eq!(defines("VIRGO_LOCK_VALID"), [("", "(1U << 16)")]);
    assert_eq!(defines("VIRGO_MESSAGE_"), [("REQUEST", "(1U << 0)")]);
    assert_eq!(MESSAGE_REQUEST, 1 << 0);
    assert_eq!(defines("VIRGO_MAX_MESSAGES"), [("", "1024")]);
    assert_eq!(MAX_MESSAGES, 1024);
    assert_eq!(defines("VIRGO_MAX_CALLS"), [("", "1000")]);
    assert_eq!(MAX_CALLS, 1000);
}

/// Those of [`defines`] that are plain numbers.
fn numbers(prefix: &str) -> Vec<(&'static str, u32)> {
    let plain = |(name, value): (_, &str)| Some((name, value.parse().ok()?));
    defines(prefix).into_iter().filter_map(plain).collect()
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
        timeout_ms,
        fence
    );
    assert_members!("virgo_free_args", FreeArgs, id, flags, timeout_ms, fence);
    assert_members!("virgo_fence", FenceArgs, name, token, name_len, flags);
    assert_members!(
        "virgo_call",
        CallArgs,
        argv,
        output,
        job,
        value,
        argv_len,
        output_len,
        place,
        node,
        state,
        out_len,
        err_len,
        flags
    );
    for structure in ["virgo_clone_args", "virgo_wait_args"] {
        assert_eq!(
            members(structure),
            ["calls", "count", "flags", "timeout_ms", "call_size"]
        );
    }
    assert_members!(
        "virgo_message",
        MessageArgs,
        id,
        position,
        data,
        subject,
        len,
        subject_len,
        delay_ms,
        priority,
        deliveries,
        flags
    );
    assert_members!(
        "virgo_queue_args",
        QueueArgs,
        op,
        flags,
        node,
        timeout_ms,
        name,
        name_len,
        fd,
        messages,
        data,
        count,
        len,
        lost,
        fence
    );
    assert_members!(
        "virgo_lock_args",
        LockArgs,
        op,
        flags,
        fd,
        mode,
        timeout_ms,
        name_len,
        name,
        token,
        value
    );
    assert_members!("virgo_cancel_args", CancelArgs, job, flags, timeout_ms);
    assert_members!(
        "virgo_open_args",
        OpenArgs,
        path,
        flags,
        mode,
        timeout_ms,
        reserved,
        fence
    );
    assert_members!(
        "virgo_file_args",
        FileArgs,
        offset,
        len,
        data,
        fd,
        flags,
        timeout_ms,
        reserved
    );
    assert_members!(
        "virgo_fsync_args",
        FsyncArgs,
        fd,
        flags,
        timeout_ms,
        reserved
    );
    assert_members!(
        "virgo_stat",
        Stat,
        ino,
        size,
        blocks,
        mtime_s,
        mtime_ns,
        mode,
        nlink,
        uid,
        gid,
        node
    );
    assert_members!(
        "virgo_stat_args",
        StatArgs,
        path,
        stat,
        fd,
        flags,
        timeout_ms,
        reserved
    );
    assert_members!(
        "virgo_truncate_args",
        TruncateArgs,
        size,
        fd,
        flags,
        timeout_ms,
        reserved
    );
    assert_members!("virgo_unlink_args", UnlinkArgs, path, flags, timeout_ms);
    assert_members!("virgo_rename_args", RenameArgs, from, to, flags, timeout_ms);
    assert_members!(
        "virgo_mkdir_args",
        MkdirArgs,
        path,
        mode,
        flags,
        timeout_ms,
        reserved
    );
    assert_members!(
        "virgo_readdir_args",
        ReaddirArgs,
        path,
        data,
        next,
        len,
        flags,
        timeout_ms,
        reserved
    );
}

#[test]
fn sizes_are_those_of_the_header() {
    let sizes = [
        ("MALLOC", size_of::<MallocArgs>()),
        ("CLONE", size_of::<CloneArgs>()),
        ("WAIT", size_of::<WaitArgs>()),
        ("CANCEL", size_of::<CancelArgs>()),
        ("FILE", size_of::<FileArgs>()),
        ("FSYNC", size_of::<FsyncArgs>()),
        ("STAT", size_of::<StatArgs>()),
        ("TRUNCATE", size_of::<TruncateArgs>()),
        ("UNLINK", size_of::<UnlinkArgs>()),
        ("RENAME", size_of::<RenameArgs>()),
        ("MKDIR", size_of::<MkdirArgs>()),
        ("READDIR", size_of::<ReaddirArgs>()),
        ("LOCK", size_of::<LockArgs>()),
    ];
    for (name, size) in sizes {
        assert_eq!(
            numbers(&format!("VIRGO_{name}_ARGS_SIZE_")),
            [("VER0", size as u32)]
        );
    }
    // The last one is what this library passes.
    for (name, earlier, size) in [
        ("DATA", &[40][..], size_of::<DataArgs>()),
        ("FREE", &[16], size_of::<FreeArgs>()),
        ("QUEUE", &[56, 64], size_of::<QueueArgs>()),
        ("OPEN", &[24], size_of::<OpenArgs>()),
    ] {
        let sizes = numbers(&format!("VIRGO_{name}_ARGS_SIZE_"));
        let expected = [earlier, &[size as u32]].concat();
        assert!(
            sizes.iter().map(|(_, size)| *size).eq(expected),
            "{sizes:?}"
        );
    }
}
