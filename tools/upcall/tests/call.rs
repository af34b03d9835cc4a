// SPDX-License-Identifier: GPL-2.0
//! Calls functions of the test library, and what is none.

use std::{
    fs,
    io::Read as _,
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The library, which `tests/library/build` builds.
fn library() -> PathBuf {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/guest/test/libvirgo_test.so");
    fs::canonicalize(path).expect("the test library is built by make tools")
}

/// What came of a call.
struct Call {
    output: Output,
    value: Vec<u8>,
}

impl Call {
    /// Calls with `words`; the shell has descriptor 3 be a file.
    fn new(words: &[&str]) -> Call {
        let mut value = tempfile::NamedTempFile::new().unwrap();
        let output = Command::new("sh")
            .args([
                "-c",
                "exec \"$@\" 3>\"$VALUE\"",
                "sh",
                env!("CARGO_BIN_EXE_virgo_kernelupcall_plugin"),
            ])
            .args(words)
            .env("VALUE", value.path())
            .output()
            .unwrap();
        let mut bytes = vec![];
        value.read_to_end(&mut bytes).unwrap();
        Call {
            output,
            value: bytes,
        }
    }

    /// Calls a function of the test library.
    fn function(words: &[&str]) -> Call {
        let library = library();
        Call::new(&[&[library.to_str().unwrap()], words].concat())
    }

    /// The value, if it succeeded.
    fn value(&self) -> i64 {
        assert!(self.output.status.success(), "{:?}", self.output);
        i64::from_le_bytes(self.value.as_slice().try_into().unwrap())
    }

    /// The exit status, of one that said no value.
    fn status(&self) -> Option<i32> {
        assert_eq!(self.value, b"");
        self.output.status.code()
    }

    fn out(&self) -> &str {
        std::str::from_utf8(&self.output.stdout).unwrap()
    }

    fn err(&self) -> &str {
        std::str::from_utf8(&self.output.stderr).unwrap()
    }
}

#[test]
#[cfg_attr(target_feature = "crt-static", ignore = "static, see tools/dynamic")]
fn functions_of_c_and_rust_are_called_with_the_text() {
    let call = Call::function(&["virgo_test_echo", "hello,", "(my)", "", "world"]);
    assert_eq!((call.value(), call.out()), (18, "hello, (my)  world\n"));
    assert_eq!(Call::function(&["virgo_test_echo"]).value(), 0);
    assert_eq!(
        Call::function(&["virgo_test_sum", "40", "5", "-47"]).value(),
        -2
    );
    assert_eq!(Call::function(&["virgo_test_sleep", "20"]).value(), 20);
}

#[test]
#[cfg_attr(target_feature = "crt-static", ignore = "static, see tools/dynamic")]
fn the_originals_function_has_two_names() {
    for name in ["virgo_cloud_test", "_Z16virgo_cloud_testPv"] {
        let call = Call::function(&[name, "text"]);
        assert_eq!(
            (call.value(), call.out()),
            (0, "virgo_cloud_test: text\n"),
            "{name}"
        );
    }
}

#[test]
#[cfg_attr(target_feature = "crt-static", ignore = "static, see tools/dynamic")]
fn what_crashes_is_killed_by_its_own_signal() {
    let call = Call::function(&["virgo_test_crash"]);
    assert_eq!(call.output.status.signal(), Some(libc::SIGSEGV));
    let call = Call::function(&["virgo_test_panic", "because"]);
    assert_eq!(call.output.status.signal(), Some(libc::SIGABRT));
    assert!(call.err().contains("because"), "{}", call.err());
}

#[test]
#[cfg_attr(target_feature = "crt-static", ignore = "static, see tools/dynamic")]
fn only_the_librarys_own_functions_are_called() {
    // The first of them is one of a library that it needs.
    for name in ["system", "virgo_test_nothing", "virgo_test_echo ", "_start"] {
        let call = Call::function(&[name, "echo called"]);
        assert_eq!((call.status(), call.out()), (Some(127), ""), "{name}");
        assert!(
            call.err().contains(&format!("has no function {name}")),
            "{}",
            call.err()
        );
    }
}

#[test]
#[cfg_attr(target_feature = "crt-static", ignore = "static, see tools/dynamic")]
fn what_is_no_library_is_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(dir.path()).unwrap();
    fs::write(dir.join("text.so"), "text").unwrap();
    symlink(library(), dir.join("link.so")).unwrap();
    for (name, status) in [
        ("nothing.so", 127),
        ("text.so", 126),
        ("link.so", 126),
        (".", 126),
    ] {
        let path = dir.join(name);
        let call = Call::new(&[path.to_str().unwrap(), "virgo_test_echo"]);
        assert_eq!(call.status(), Some(status), "{name}");
        assert!(
            call.err().contains(path.to_str().unwrap()),
            "{}",
            call.err()
        );
    }
}

#[test]
#[cfg_attr(target_feature = "crt-static", ignore = "static, see tools/dynamic")]
fn wrong_use_is_told() {
    assert_eq!(Call::new(&[]).status(), Some(2));
    assert_eq!(Call::function(&[]).status(), Some(2));
    let alone = Command::new(env!("CARGO_BIN_EXE_virgo_kernelupcall_plugin"))
        .args([library().to_str().unwrap(), "virgo_test_echo"])
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(2), "{alone:?}");
}
