// SPDX-License-Identifier: GPL-2.0
//! Calls one function of a library for another node. virgo-run starts it, with the rights of
//! nobody, when the kernel has found the library on the list of those that are allowed:
//!
//! ```text
//! virgo_kernelupcall_plugin LIBRARY SYMBOL [ARG...]
//! ```
//!
//! The function is `void *SYMBOL(void *text)` of C, or else of C++. It gets the arguments,
//! joined by blanks, as a C string, and runs in a thread of its own. What it returns is written
//! to descriptor 3, as 8 bytes.
//!
//! | exit status | |
//! |-------------|---|
//! | 0           | the function has returned |
//! | 2           | this program was not started as above |
//! | 126         | the file at LIBRARY cannot be used as a library, or is not reached without symbolic links |
//! | 127         | there is no file LIBRARY, or it has no function SYMBOL |
//!
//! It is linked dynamically, since a static program cannot load libraries.

mod failure;
mod library;
mod value;

use failure::CallFailure;
use library::Library;
use std::{
    env,
    ffi::{CString, OsString},
    os::unix::ffi::OsStringExt as _,
    path::Path,
    process::ExitCode,
};
use value::Value;

fn main() -> ExitCode {
    match run(env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("virgo_kernelupcall_plugin: {}", failure.reason);
            ExitCode::from(failure.status)
        }
    }
}

fn run(mut words: impl Iterator<Item = OsString>) -> Result<(), CallFailure> {
    // Before anything is opened: a file of ours must not be taken for it.
    let value = Value::take()?;
    let (Some(path), Some(symbol)) = (words.next(), words.next()) else {
        return Err(CallFailure::usage("usage: LIBRARY SYMBOL [ARG...]"));
    };
    let symbol = symbol
        .into_string()
        .map_err(|_| CallFailure::usage("SYMBOL is not text"))?;
    let arguments: Vec<_> = words.map(OsString::into_vec).collect();
    let text =
        CString::new(arguments.join(&b' ')).map_err(|_| CallFailure::usage("ARG has a NUL"))?;

    let library = Library::open(Path::new(&path))?;
    let function = library.function(&symbol)?;
    value.say(function.call(text)?)
}
