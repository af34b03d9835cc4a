// SPDX-License-Identifier: GPL-2.0

//! Running programs, and functions of libraries, by `virgo-run`: it makes them somebody without
//! rights, keeps them within limits, and ends all that they leave behind.

use crate::{
    invocation::Invocation,
    outcome::Outcome, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};
use linux::program::Program;
use virgo_config::Config;
use virgo_proto::clone::{
    next_outcome,
    state,
    Target,
    MAX_OUTPUT, //
};

/// Starts what is allowed. See its own documentation for what it writes.
const RUNNER: &CStr = c"/usr/lib/virgo/virgo-run";

/// Calls a function of a library.
const PLUGIN: &str = "/usr/lib/virgo/virgo_kernelupcall_plugin";

/// Runs `target`, a program or library function, for `run`. It was checked that it may be.
///
/// # Errors
///
/// [`ENOMEM`], and what starting programs fails with.
pub(crate) fn run(
    target: Target<'_>,
    args: &[&[u8]],
    run: &Invocation,
    config: &Config,
) -> Result<Outcome> {
    let mut command = Words(KVec::new());
    command.add(fmt!("virgo-run"))?;
    for (option, value) in [
        ("--uid", config.run_as),
        ("--gid", config.run_as),
        ("--timeout-ms", run.deadline.left_ms()),
        ("--max-output", MAX_OUTPUT as u32),
    ] {
        command.add(fmt!("{option}"))?;
        command.add(fmt!("{value}"))?;
    }
    match target {
        Target::Executable(path) => {
            command.add(fmt!("--"))?;
            command.add(fmt!("{path}"))?;
        }
        Target::Symbol { library, symbol } => {
            command.add(fmt!("--returns"))?;
            command.add(fmt!("--"))?;
            command.add(fmt!("{PLUGIN}"))?;
            command.add(fmt!("{library}"))?;
            command.add(fmt!("{symbol}"))?;
        }
        Target::Function(_) => return Err(EINVAL),
    }
    for arg in args {
        command.bytes(arg)?;
    }
    let program = Arc::new(Program::new()?, GFP_KERNEL)?;
    run.set_program(Some(program.clone()));
    let ran = program.run(RUNNER, &command.0);
    run.set_program(None);
    match ran {
        Ok(()) => (),
        Err(ENOENT) => {
            return Ok(Outcome::refused(
                ENOENT,
                "/usr/lib/virgo/virgo-run is not installed on this node",
            ));
        }
        Err(e) => return Err(e),
    }
    let written =
        program.output(size_of::<virgo_proto::clone::OutcomeHeader>() + 2 * MAX_OUTPUT)?;
    let (header, output) = next_outcome(&mut written.as_slice()).ok_or(EPROTO)?;
    if header.state.get() == state::RUNNING {
        return Err(EPROTO);
    }
    Ok(Outcome::with_output(&header, output, 0))
}

/// The words of a command.
struct Words(KVec<CString>);

impl Words {
    fn add(&mut self, word: kernel::fmt::Arguments<'_>) -> Result {
        Ok(self.0.push(CString::try_from_fmt(word)?, GFP_KERNEL)?)
    }

    /// Adds bytes that need not be text, without NUL.
    fn bytes(&mut self, word: &[u8]) -> Result {
        let mut bytes = KVec::with_capacity(word.len() + 1, GFP_KERNEL)?;
        bytes.extend_from_slice(word, GFP_KERNEL)?;
        bytes.push(0, GFP_KERNEL)?;
        let word = CStr::from_bytes_with_nul(&bytes).map_err(|_| EINVAL)?;
        Ok(self.0.push(CString::try_from(word)?, GFP_KERNEL)?)
    }
}
