// SPDX-License-Identifier: GPL-2.0
//! Copying standard input to a file: `virgo put - 2:/x`.

use crate::{blocks, ends::End, opened::Opened, options::Copy, output::Printer, part::Part};
use anyhow::{Result, bail, ensure};
use serde_json::json;
use std::{
    io::{self, Read},
    process::ExitCode,
};

/// Permissions of the file, less the umask: a pipe has none of its own.
const MODE: u32 = 0o666;

/// Whether standard input is to be copied.
pub(crate) fn is_source(options: &Copy) -> bool {
    options.files.first().is_some_and(|name| name == "-")
}

/// Copies standard input to the file that `options` name. It comes to be under its name when it is
/// whole, and on the disk.
pub(crate) fn copy(output: Printer, options: &Copy) -> Result<ExitCode> {
    let [_, target] = &options.files[..] else {
        bail!("standard input is copied alone: - TARGET");
    };
    ensure!(
        !options.resume && !options.verify && !options.recursive,
        "standard input can be read once only: without --resume, --verify and --recursive"
    );
    let bytes = copy_from(io::stdin().lock(), &End::parse(target)?)?;
    output.print(&json!({ "files": 1, "bytes": bytes }), String::new)?;
    Ok(ExitCode::SUCCESS)
}

fn copy_from(from: impl Read, target: &End) -> Result<u64> {
    ensure!(
        !target.look()?.is_some_and(|known| known.is_dir()),
        "{target} is a directory: say the name that the file is to have there"
    );
    let part = Part::create_once(MODE, target)?;
    let copied = write(from, &part.file).and_then(|bytes| {
        part.finish()?;
        Ok(bytes)
    });
    match copied {
        Ok(bytes) => {
            target.sync_parent()?;
            Ok(bytes)
        }
        // Nothing can go on with it.
        Err(error) => match part.name.remove() {
            Ok(()) => Err(error),
            Err(left) => Err(error.context(format!("{} is left: {left:#}", part.name))),
        },
    }
}

/// Writes all that is in `from`, and brings it to the disk. Returns how many bytes that is.
fn write(from: impl Read, to: &Opened) -> Result<u64> {
    to.set_len(0)?;
    let bytes = blocks::each(from, |before, block| to.write_at(before, block))?;
    to.sync()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::BLOCK;
    use std::fs;

    /// Fails when some bytes are read.
    struct Broken(u64);

    impl Read for Broken {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            match self.0 {
                0 => Err(io::Error::other("broken")),
                _ => io::repeat(7)
                    .take(self.0)
                    .read(to)
                    .inspect(|&n| self.0 -= n as u64),
            }
        }
    }

    #[test]
    fn all_that_comes_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("to");
        for size in [0, 1, BLOCK, 2 * BLOCK + 3] {
            let data: Vec<u8> = (0..size).map(|i| (i / 7) as u8).collect();
            let copied = copy_from(&data[..], &End::Local(path.clone())).unwrap();
            assert_eq!(copied, size as u64);
            assert_eq!(fs::read(&path).unwrap(), data);
        }
        let copied = copy_from(&b"x"[..], &End::Local(dir.path().to_owned()));
        assert!(copied.unwrap_err().to_string().contains("is a directory"));
    }

    #[test]
    fn half_a_file_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("to");
        fs::write(&path, "before").unwrap();
        let copied = copy_from(Broken(BLOCK as u64 + 5), &End::Local(path.clone()));
        assert!(copied.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
