// SPDX-License-Identifier: GPL-2.0
//! The four calls with the prototypes of 2017.

use crate::{
    place::{READ_ONLY, everywhere, other_node},
    raw,
    region::{PAGE, Region},
    tests,
};
use rustix::io::Errno;

tests![
    files_are_made_written_and_read,
    nothing_is_appended,
    read_only_files_are_opened_for_reading,
    numbers_are_checked,
];

fn open(name: &str) -> i64 {
    let fd = raw::open_name(&format!("{name}\0")).expect("open");
    i64::try_from(fd).expect("a descriptor")
}

fn files_are_made_written_and_read() {
    everywhere(|dir| {
        let fd = open(&dir.at("a"));
        let region = Region::new(PAGE);
        let data = region.put_bytes(0, b"Example");
        assert_eq!(raw::write(fd, data, 7, 0), Ok(7));
        let read = region.at(100);
        assert_eq!(raw::read(fd, read, 100, 2), Ok(5));
        // No NUL is added, and nothing is written behind the end.
        assert_eq!(region.bytes(100, 7), b"ample\0\0");
        assert_eq!(raw::close(fd), Ok(0));
        assert_eq!(raw::close(fd), Err(Errno::BADF));
        assert_eq!(raw::read(fd, read, 1, 0), Err(Errno::BADF));
    });
}

fn nothing_is_appended() {
    everywhere(|dir| {
        let region = Region::new(PAGE);
        for text in [&b"first"[..], b"2nd"] {
            let fd = open(&dir.at("a"));
            let data = region.put_bytes(0, text);
            assert_eq!(raw::write(fd, data, text.len() as i32, 0), Ok(text.len()));
            raw::close(fd).expect("close");
        }
        let fd = open(&dir.at("a"));
        assert_eq!(raw::read(fd, region.at(0), 100, 0), Ok(5));
        assert_eq!(region.bytes(0, 5), b"2ndst");
        raw::close(fd).expect("close");
    });
}

fn read_only_files_are_opened_for_reading() {
    let fd = open(&format!("{}:{READ_ONLY}/readme", other_node()));
    let region = Region::new(PAGE);
    assert_eq!(raw::read(fd, region.at(0), 4, 0), Ok(4));
    assert_eq!(region.bytes(0, 4), b"This");
    assert_eq!(raw::write(fd, region.at(0), 4, 0), Err(Errno::BADF));
    raw::close(fd).expect("close");
}

fn numbers_are_checked() {
    everywhere(|dir| {
        let fd = open(&dir.at("a"));
        let region = Region::new(PAGE);
        let data = region.at(0);
        for (size, pos, expected) in [
            (0, 0, Ok(0)),
            (-1, 0, Err(Errno::INVAL)),
            (i32::MIN, 0, Err(Errno::INVAL)),
            (1, -1, Err(Errno::INVAL)),
        ] {
            assert_eq!(raw::read(fd, data, size, pos), expected, "{size} {pos}");
            assert_eq!(raw::write(fd, data, size, pos), expected, "{size} {pos}");
        }
        raw::close(fd).expect("close");
        for fd in [-1, 1 << 31, 1 << 32, i64::MAX, i64::MIN, 1000] {
            assert_eq!(raw::read(fd, data, 1, 0), Err(Errno::BADF), "{fd}");
            assert_eq!(raw::write(fd, data, 1, 0), Err(Errno::BADF), "{fd}");
            assert_eq!(raw::close(fd), Err(Errno::BADF), "{fd}");
        }
    });
}
