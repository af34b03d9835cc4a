// SPDX-License-Identifier: GPL-2.0
//! Bad arguments: sizes, flags, addresses, names.

use crate::{
    place::{Dir, EXPORT, errno, other_node, this_node},
    raw::{self, SIZED},
    region::{KERNEL, NULL, PAGE, Region},
    tests,
};
use rustix::io::Errno;
use virgo::{
    Open,
    abi::{FileArgs, MkdirArgs, OpenArgs, ReaddirArgs, StatArgs, nr},
};

tests![
    sizes_are_checked,
    unknown_flags_are_refused,
    fields_that_are_not_used_are_refused,
    opening_creates_no_directory,
    bad_addresses_are_efault,
    bad_names,
    long_names,
    permissions_are_checked,
    ranges_are_checked,
    small_directories_buffers_are_refused,
];

fn sizes_are_checked() {
    for call in SIZED {
        let region = Region::new(2 * PAGE);
        let args = region.at(0);
        for size in [0, 1, call.first_size - 1] {
            assert_eq!(
                call.call(args, size),
                Err(Errno::INVAL),
                "{} {size}",
                call.name
            );
        }
        assert_eq!(
            call.call(args, PAGE + 1),
            Err(Errno::TOOBIG),
            "{}",
            call.name
        );
        // What is behind the structure that the kernel knows must be zero.
        region.put(call.size, 1u8);
        let outcome = call.call(args, call.size + 1);
        assert_eq!(outcome, Err(Errno::TOOBIG), "{}", call.name);
        region.put(call.size, 0u8);
        assert_ne!(
            call.call(args, call.size + 1),
            Err(Errno::TOOBIG),
            "{}",
            call.name
        );
    }
}

fn unknown_flags_are_refused() {
    for call in SIZED {
        for bit in 0..32 {
            let flag = 1u32 << bit;
            if call.known & flag != 0 {
                continue;
            }
            let region = Region::new(PAGE);
            // A path for those that have one at their start: nothing is done with it.
            let path = region.put_bytes(PAGE / 2, b"1:/nowhere\0");
            region.put(0, path.number());
            region.put(call.flags, flag);
            let outcome = call.call(region.at(0), call.size);
            let name = call.name;
            assert_eq!(outcome, Err(Errno::INVAL), "{name} {flag:#x}");
        }
    }
}

/// What an operation would not look at must be 0, so that it can mean something later.
fn fields_that_are_not_used_are_refused() {
    let dir = Dir::on(other_node());
    let file = Open::new().write().create().open(dir.at("a"));
    drop(file.expect("create"));
    let region = Region::new(PAGE);
    let path = region.put_bytes(PAGE / 2, format!("{}\0", dir.at("a")).as_bytes());
    // Permissions of a file that is not created.
    let open = |flags: i32, mode| OpenArgs {
        path: path.number(),
        flags: flags as u32,
        mode,
        ..Default::default()
    };
    let refused = raw::with(nr::OPEN2, open(libc::O_RDWR, 0o600));
    assert_eq!(refused, Err(Errno::INVAL));
    let fd = raw::with(nr::OPEN2, open(libc::O_RDWR | libc::O_CREAT, 0o600)).expect("open");
    let fd = i32::try_from(fd).expect("a descriptor");
    // An open file is no symbolic link; a file is named once.
    let stat = |path, fd, flags| StatArgs {
        path,
        stat: region.at(0).number(),
        fd,
        flags,
        ..Default::default()
    };
    assert_eq!(raw::with(nr::STAT, stat(0, fd, 0)), Ok(0));
    assert_eq!(raw::with(nr::STAT, stat(0, fd, 1)), Err(Errno::INVAL));
    let both = stat(path.number(), fd, 0);
    assert_eq!(raw::with(nr::STAT, both), Err(Errno::INVAL));
    raw::close(fd.into()).expect("close");
}

fn opening_creates_no_directory() {
    let region = Region::new(PAGE);
    for node in [this_node(), other_node()] {
        let dir = Dir::on(node);
        let path = region.put_bytes(0, format!("{}\0", dir.at("a")).as_bytes());
        for more in [0, libc::O_EXCL, libc::O_RDWR] {
            let open = OpenArgs {
                path: path.number(),
                flags: (libc::O_CREAT | libc::O_DIRECTORY | more) as u32,
                mode: 0o755,
                ..Default::default()
            };
            assert_eq!(raw::with(nr::OPEN2, open), Err(Errno::INVAL), "{more:#o}");
        }
        assert_eq!(errno(virgo::metadata(dir.at("a"))), libc::ENOENT);
    }
}

fn bad_addresses_are_efault() {
    let region = Region::new(PAGE);
    for address in KERNEL.into_iter().chain([NULL, region.end()]) {
        for call in SIZED {
            let name = call.name;
            assert_eq!(call.call(address, call.size), Err(Errno::FAULT), "{name}");
        }
        assert_eq!(raw::open(address), Err(Errno::FAULT));
        let args = OpenArgs {
            path: address.number(),
            ..Default::default()
        };
        assert_eq!(raw::with(nr::OPEN2, args), Err(Errno::FAULT));
    }
    let dir = Dir::on(other_node());
    let file = Open::new()
        .read()
        .write()
        .create()
        .open(dir.at("a"))
        .expect("open");
    file.write_at(0, &[7; 3 * PAGE]).expect("write");
    let fd = raw::open_name(&format!("{}\0", dir.at("a"))).expect("open");
    let fd = i32::try_from(fd).expect("a descriptor");
    let args = |data: u64, len| FileArgs {
        data,
        len,
        fd,
        ..Default::default()
    };
    // What fits before the bad address is not copied: the whole piece goes at once.
    let data = region.last(100).number();
    for number in [nr::READ2, nr::WRITE2] {
        assert_eq!(raw::with(number, args(data, 200)), Err(Errno::FAULT));
        assert_eq!(raw::with(number, args(data, 100)), Ok(100));
        // What is left of a large reply does not come in the way of the next one.
        let many = args(region.at(0).number(), 3 * PAGE as u64);
        assert_eq!(raw::with(number, many), Err(Errno::FAULT));
        assert_eq!(raw::with(number, args(data, 100)), Ok(100));
    }
    let stat = StatArgs {
        stat: region.end().number(),
        fd,
        ..Default::default()
    };
    assert_eq!(raw::with(nr::STAT, stat), Err(Errno::FAULT));
    raw::close(fd.into()).expect("close");
}

fn bad_names() {
    for (name, expected) in [
        ("", libc::ENOENT),
        ("relative", libc::EINVAL),
        ("2:relative", libc::EINVAL),
        ("2:", libc::EINVAL),
        ("0:/a", libc::ENODEV),
        ("65:/a", libc::ENODEV),
        ("nowhere:/a", libc::ENODEV),
        (":/a", libc::ENODEV),
        ("64:/a", libc::ENODEV),
        ("/", libc::EACCES),
        ("/etc/passwd", libc::EACCES),
        ("/var/log/virgo_fsx", libc::EACCES),
        ("/var/log", libc::EACCES),
    ] {
        assert_eq!(errno(virgo::File::open(name)), expected, "open {name}");
        assert_eq!(errno(virgo::metadata(name)), expected, "stat {name}");
        assert_eq!(errno(virgo::read_dir(name)), expected, "list {name}");
        assert_eq!(errno(virgo::create_dir(name)), expected, "mkdir {name}");
        assert_eq!(errno(virgo::remove_file(name)), expected, "unlink {name}");
    }
    // Only opening chooses among nodes.
    for name in ["1,2:/srv/ro", "random:/srv/ro"] {
        assert_eq!(errno(virgo::metadata(name)), libc::EINVAL, "{name}");
    }
    for node in [this_node(), other_node()] {
        let root = format!("{node}:{EXPORT}");
        assert_eq!(errno(virgo::remove_dir(&root)), libc::EBUSY);
        assert_eq!(errno(virgo::create_dir(&root)), libc::EBUSY);
        let out = format!("{root}/../out");
        assert_eq!(errno(virgo::create_dir(&out)), libc::EXDEV);
    }
}

fn long_names() {
    for node in [this_node(), other_node()] {
        let longest = format!(
            "{node}:{EXPORT}/{}",
            "x/".repeat((4095 - EXPORT.len() - 1) / 2)
        );
        for (more, expected) in [
            ("", libc::ENOENT),
            ("yyyy", libc::ENAMETOOLONG),
            (&*"y".repeat(1000), libc::ENAMETOOLONG),
        ] {
            let name = format!("{longest}{more}");
            assert_eq!(errno(virgo::File::open(&name)), expected, "{}", name.len());
            assert_eq!(errno(virgo::create_dir(&name)), expected, "{}", name.len());
            let renamed = virgo::rename(&name, &name);
            assert_eq!(errno(renamed), expected, "{}", name.len());
        }
        let name = format!("{node}:{EXPORT}/{}", "x".repeat(256));
        assert_eq!(errno(Open::new().create().open(&name)), libc::ENAMETOOLONG);
    }
}

fn permissions_are_checked() {
    let region = Region::new(PAGE);
    let path = region.put_bytes(0, b"/srv/ro/x\0").number();
    for mode in [0o10000, 1 << 31] {
        let open = OpenArgs {
            path,
            mode,
            ..Default::default()
        };
        assert_eq!(raw::with(nr::OPEN2, open), Err(Errno::INVAL));
        let mkdir = MkdirArgs {
            path,
            mode,
            ..Default::default()
        };
        assert_eq!(raw::with(nr::MKDIR, mkdir), Err(Errno::INVAL));
    }
    let open = OpenArgs {
        path,
        timeout_ms: 300_001,
        ..Default::default()
    };
    assert_eq!(raw::with(nr::OPEN2, open), Err(Errno::INVAL));
}

fn ranges_are_checked() {
    let dir = Dir::on(this_node());
    let name = format!("{}\0", dir.at("a"));
    let fd = i32::try_from(raw::open_name(&name).expect("open")).expect("fd");
    let region = Region::new(PAGE);
    let data = region.at(0).number();
    for (offset, len, expected) in [
        (0, 0, Ok(0)),
        (i64::MAX as u64, 0, Ok(0)),
        (i64::MAX as u64, 1, Err(Errno::INVAL)),
        (1 << 63, 0, Err(Errno::INVAL)),
        (u64::MAX, 1, Err(Errno::INVAL)),
        (1, u64::MAX, Err(Errno::INVAL)),
    ] {
        let args = FileArgs {
            offset,
            len,
            data,
            fd,
            ..Default::default()
        };
        for number in [nr::READ2, nr::WRITE2] {
            assert_eq!(raw::with(number, args), expected, "{offset} {len}");
        }
    }
    raw::close(fd.into()).expect("close");
}

fn small_directories_buffers_are_refused() {
    let region = Region::new(PAGE);
    let args = |len| ReaddirArgs {
        path: region.put_bytes(0, b"/srv/ro\0").number(),
        data: region.at(PAGE / 2).number(),
        len,
        ..Default::default()
    };
    for len in [0, 1, 511] {
        assert_eq!(raw::with(nr::READDIR, args(len)), Err(Errno::INVAL));
    }
    assert!(raw::with(nr::READDIR, args(512)).is_ok_and(|n| n > 0));
}
