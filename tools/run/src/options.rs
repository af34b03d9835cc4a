// SPDX-License-Identifier: GPL-2.0
//! The command line, as the kernel writes it.

use lexopt::prelude::*;
use nix::{
    errno::Errno,
    unistd::{Gid, Uid},
};
use std::{
    ffi::{CString, OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
    time::Duration,
};

/// What is to be run, and within which bounds.
pub(crate) struct RunOptions {
    /// The target's user, who has no rights.
    pub(crate) uid: Uid,
    /// The target's only group.
    pub(crate) gid: Gid,
    /// Time for all.
    pub(crate) timeout: Duration,
    /// Most bytes that are kept of standard output, and of standard error.
    pub(crate) max_output: usize,
    /// Whether the target may say a value at descriptor 3.
    pub(crate) returns: bool,
    /// Path and arguments; not empty.
    pub(crate) argv: Vec<CString>,
}

impl RunOptions {
    /// Reads the command line, whose first word is this program's name.
    ///
    /// # Errors
    ///
    /// - `EPERM`: the target would be root, or in root's group.
    /// - `EINVAL`: anything else is wrong.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> nix::Result<Self> {
        let options = Self::read(words).map_err(|_| Errno::EINVAL)?;
        // To the calls that set them, the highest number means no change: it would be root, too.
        if [0, u32::MAX].contains(&options.uid.as_raw())
            || [0, u32::MAX].contains(&options.gid.as_raw())
        {
            return Err(Errno::EPERM);
        }
        Ok(options)
    }

    fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let (mut uid, mut gid, mut timeout, mut max_output) = (None, None, None, None);
        let mut returns = false;
        let mut argv = vec![];
        let mut parser = lexopt::Parser::from_iter(words);
        while let Some(word) = parser.next()? {
            match word {
                Long("uid") => uid = Some(parser.value()?.parse()?),
                Long("gid") => gid = Some(parser.value()?.parse()?),
                Long("timeout-ms") => timeout = Some(parser.value()?.parse::<u32>()?),
                Long("max-output") => max_output = Some(parser.value()?.parse::<u32>()?),
                Long("returns") => returns = true,
                Value(path) => {
                    let words = [path].into_iter().chain(parser.raw_args()?);
                    argv = words
                        .map(|word| CString::new(word.into_vec()))
                        .collect::<Result<_, _>>()
                        .map_err(|error| lexopt::Error::Custom(error.into()))?;
                    break;
                }
                _ => return Err(word.unexpected()),
            }
        }
        if argv.is_empty() {
            return Err("no path".into());
        }
        Ok(RunOptions {
            uid: Uid::from_raw(uid.ok_or("no uid")?),
            gid: Gid::from_raw(gid.ok_or("no gid")?),
            timeout: Duration::from_millis(timeout.ok_or("no timeout")?.into()),
            max_output: usize::try_from(max_output.ok_or("no max-output")?)
                .map_err(|error| lexopt::Error::Custom(error.into()))?,
            returns,
            argv,
        })
    }

    /// The target.
    pub(crate) fn path(&self) -> &Path {
        let path = self.argv.first().map(CString::as_bytes);
        Path::new(OsStr::from_bytes(path.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> nix::Result<RunOptions> {
        RunOptions::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_kernels_line_is_read() {
        let line = "virgo-run --uid 1 --gid 2 --timeout-ms 3 --max-output 4 --returns -- /a -b --";
        let options = parse(line).unwrap();
        assert_eq!((options.uid.as_raw(), options.gid.as_raw()), (1, 2));
        assert_eq!(options.timeout, Duration::from_millis(3));
        assert_eq!(options.max_output, 4);
        assert!(options.returns);
        assert_eq!(options.path(), Path::new("/a"));
        assert_eq!(options.argv, [c"/a", c"-b", c"--"].map(CString::from));
    }

    #[test]
    fn nobody_runs_as_root() {
        let line = |uid: u32, gid: u32| {
            let line = format!("x --uid {uid} --gid {gid} --timeout-ms 1 --max-output 1 -- /a");
            parse(&line).map(drop)
        };
        assert_eq!(line(1, 1), Ok(()));
        for (uid, gid) in [(0, 1), (1, 0), (u32::MAX, 1), (1, u32::MAX)] {
            assert_eq!(line(uid, gid), Err(Errno::EPERM), "{uid} {gid}");
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for line in [
            "x",
            "x --uid 1 --gid 1 --timeout-ms 1 --max-output 1",
            "x --uid 1 --gid 1 --timeout-ms 1 -- /a",
            "x --uid -1 --gid 1 --timeout-ms 1 --max-output 1 -- /a",
            "x --uid 1 --gid 1 --timeout-ms 1 --max-output 1 --shell -- /a",
        ] {
            assert_eq!(parse(line).map(drop), Err(Errno::EINVAL), "{line}");
        }
    }
}
