// SPDX-License-Identifier: GPL-2.0
//! Opens the file that a path says, and no other: what was allowed is a path, and whoever can put
//! a symbolic link into it must not choose what it leads to.

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{SFlag, fstat},
};
use std::{
    os::fd::OwnedFd,
    path::{Component, Path},
};

/// Opens the regular file at `path`, as a place (`O_PATH`): neither to be read nor to be written.
///
/// # Errors
///
/// - `EINVAL`: the path is not absolute, or has a `..`.
/// - `ELOOP`: a symbolic link is in it or at its end.
/// - `EACCES`: the file is not a regular one.
/// - Others of `openat2`.
pub fn open(path: &Path) -> nix::Result<OwnedFd> {
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(Errno::EINVAL);
    }
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = openat2(AT_FDCWD, path, how)?;
    let kind = SFlag::from_bits_truncate(fstat(&file)?.st_mode & SFlag::S_IFMT.bits());
    if kind != SFlag::S_IFREG {
        return Err(Errno::EACCES);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn only_a_regular_file_without_links_on_the_way_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        // Whatever links lead to the directory for temporary files.
        let dir = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(dir.join("folder")).unwrap();
        fs::write(dir.join("folder/file"), "").unwrap();
        symlink("file", dir.join("folder/link")).unwrap();
        symlink("folder", dir.join("short")).unwrap();

        let open = |path: &str| open(&dir.join(path)).map(drop);
        assert_eq!(open("folder/file"), Ok(()));
        assert_eq!(open("folder/link"), Err(Errno::ELOOP));
        assert_eq!(open("short/file"), Err(Errno::ELOOP));
        assert_eq!(open("folder/../folder/file"), Err(Errno::EINVAL));
        assert_eq!(open("folder"), Err(Errno::EACCES));
        assert_eq!(open("folder/nothing"), Err(Errno::ENOENT));
        assert_eq!(super::open(Path::new("file")).map(drop), Err(Errno::EINVAL));
        assert_eq!(
            super::open(Path::new("/proc/self/exe")).map(drop),
            Err(Errno::ELOOP)
        );
        assert_eq!(
            super::open(Path::new("/dev/null")).map(drop),
            Err(Errno::EACCES)
        );
    }
}
