// SPDX-License-Identifier: GPL-2.0
//! `virgo-docs DIRECTORY`: writes what packages have of the command line, made of the same definition as
//! its `--help`: `man/virgo.1`, `man/virgo-cp.1` and so on, and completions for bash, zsh and fish.

#[path = "../options/mod.rs"]
#[allow(dead_code, unused_imports, reason = "nothing is parsed here")]
mod options;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use std::{env, fs, io, path::Path};

fn main() -> Result<()> {
    let directory = env::args_os().nth(1);
    let directory = directory.context("expected the directory to write to")?;
    write(Path::new(&directory))
        .with_context(|| format!("cannot write to {}", directory.to_string_lossy()))
}

fn write(directory: &Path) -> io::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut command = options::Arguments::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "virgo", &completions)?;
    }
    clap_mangen::generate_to(command, &man)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_commands_have_a_page() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        for command in options::Arguments::command().get_subcommands() {
            let page = read(&format!("man/virgo-{}.1", command.get_name()));
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(read("man/virgo-queue-take.1").contains("acknowledged"));
        assert!(read("man/virgo.1").contains("Exit status"));
        assert!(read("completions/virgo.bash").contains("kingcobra"));
        assert!(read("completions/_virgo").contains("kingcobra"));
        assert!(read("completions/virgo.fish").contains("kingcobra"));
    }
}
