// SPDX-License-Identifier: GPL-2.0
//! What guests are made of: the build root's QEMU, a kernel, and the guest image.

use crate::options::Lane;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the build root keeps its libraries.
pub(crate) const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Prints where things lie for the lane `$2`, as the script `$1` has it.
const PRINT_PATHS: &str = r#"
    . "$1"
    kernel=$(virgo_kernel "$2")
    printf '%s\n' "$VIRGO_CACHE" "$VIRGO_ROOT" "$kernel" "$VIRGO_BUILD"
"#;

/// The files that a cluster is started from, all of which exist.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Images {
    pub(crate) cache: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
}

/// The repository: what `VIRGO_TOP` says, or the one that this program was built in.
pub(crate) fn repository() -> Result<PathBuf> {
    if let Some(top) = env::var_os("VIRGO_TOP") {
        return Ok(top.into());
    }
    let program = env::current_exe().context("cannot find out where this program lies")?;
    match program
        .ancestors()
        .find(|dir| dir.join("qemu/paths.sh").exists())
    {
        Some(top) => Ok(top.into()),
        None => bail!(
            "{} lies in no VIRGO repository: name the repository in VIRGO_TOP",
            program.display()
        ),
    }
}

impl Images {
    /// Finds what guests of a lane are made of. `qemu/paths.sh` knows where it lies.
    pub(crate) fn find(lane: Lane) -> Result<Self> {
        let paths = repository()?.join("qemu/paths.sh");
        let output = Command::new("bash")
            .args(["-euc", PRINT_PATHS, "bash"])
            .arg(&paths)
            .arg(lane.to_string())
            .output()
            .context("cannot run bash")?;
        let text = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
        let [cache, root, kernel, build] = text.lines().collect::<Vec<_>>()[..] else {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("{}", error.trim().trim_start_matches("virgo: "));
        };
        let images = Self {
            cache: cache.into(),
            root: root.into(),
            kernel: kernel.into(),
            initramfs: Path::new(build).join(format!("{lane}/initramfs.cpio")),
        };
        for (what, path) in [
            ("QEMU", &images.root.join("usr/bin/qemu-system-x86_64")),
            ("the kernel", &images.kernel),
            ("the guest image", &images.initramfs),
        ] {
            if !path.exists() {
                let make = match lane {
                    Lane::Slim => "make image",
                    Lane::Debug => "make image-debug",
                    Lane::Bench => "make image-bench",
                    Lane::Stock => "make image-stock",
                };
                bail!(
                    "{what} is not built yet ({} is missing): run '{make}'",
                    path.display()
                );
            }
        }
        Ok(images)
    }

    /// A program of the build root, to be run on the host as it is: with the loader and the
    /// libraries of the build root, so that the host's version of either does not matter.
    pub(crate) fn program(&self, path: &str) -> Command {
        let mut command = Command::new(self.root.join("usr/lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(self.root.join(LIBRARIES))
            .arg(self.root.join(path));
        command
    }
}
