// SPDX-License-Identifier: GPL-2.0
//! What the kernel of this machine shows of itself in files.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

/// What was read. What could not be read is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    /// What `uname -r` prints.
    pub(super) release: String,
    /// Whether the kernel has VIRGO's system calls.
    pub(super) has_system_calls: bool,
    /// Modules of VIRGO that are loaded, without `virgo_`.
    pub(super) modules: Vec<String>,
    /// Whether there are modules of VIRGO for this kernel.
    pub(super) is_installed: bool,
    /// `/dev/virgo`.
    pub(super) device: Device,
    /// How far the kernel is locked down: `none`, `integrity`, `confidentiality`.
    pub(super) lockdown: String,
    /// Whether only signed modules are taken.
    pub(super) enforces_signatures: bool,
    /// Options of the kernel's configuration that are `y`.
    pub(super) options: Vec<String>,
    /// Ports that the kernel does not give to clients.
    pub(super) reserved: Vec<u16>,
    /// Ports where something listens at all addresses.
    pub(super) listening: Vec<u16>,
    /// MiB that programs and modules can have.
    pub(super) available_mib: Option<u64>,
    /// Whether something keeps the clock in time; `None` if it is not known.
    pub(super) clock_is_kept: Option<bool>,
}

/// What there is at `/dev/virgo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Device {
    /// Nothing.
    #[default]
    None,
    /// Something that is no character device.
    Other,
    /// The device, with these permissions.
    Mode(u32),
}

impl Machine {
    /// Looks at the machine whose files are below `root`.
    pub(super) fn look(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let release = read("proc/sys/kernel/osrelease").trim().to_owned();
        let configs = [
            format!("usr/lib/modules/{release}/config"),
            format!("boot/config-{release}"),
        ];
        let config = configs.iter().map(|path| read(path));
        let config = config.fold(
            String::new(),
            |found, next| if found.is_empty() { next } else { found },
        );
        Self {
            has_system_calls: has_system_calls(&read("proc/kallsyms")),
            modules: modules(&root.join("sys/module")),
            is_installed: is_installed(&read(&format!("lib/modules/{release}/modules.dep"))),
            device: device(&root.join("dev/virgo")),
            lockdown: chosen(&read("sys/kernel/security/lockdown")),
            enforces_signatures: read("sys/module/module/parameters/sig_enforce").trim() == "Y",
            options: options(&config),
            reserved: ranges(&at_once(
                &root.join("proc/sys/net/ipv4/ip_local_reserved_ports"),
            )),
            listening: listening(&read("proc/net/tcp")),
            available_mib: available_mib(&read("proc/meminfo")),
            clock_is_kept: clock_is_kept(),
            release,
        }
    }
}

fn has_system_calls(symbols: &str) -> bool {
    let mut lines = symbols.lines();
    lines.any(|line| line.ends_with(" register_virgo_calls"))
}

fn modules(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut modules: Vec<_> = names
        .filter_map(|name| Some(name.strip_prefix("virgo_")?.to_owned()))
        .collect();
    modules.sort();
    modules
}

fn is_installed(dependencies: &str) -> bool {
    let mut lines = dependencies.lines();
    lines.any(|line| line.contains("/virgo_config.ko"))
}

fn device(path: &Path) -> Device {
    match fs::metadata(path) {
        Ok(about) if about.file_type().is_char_device() => Device::Mode(about.mode() & 0o777),
        Ok(_) => Device::Other,
        Err(_) => Device::None,
    }
}

/// The word in brackets.
fn chosen(line: &str) -> String {
    let word = line
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    word.map_or("", |(word, _)| word).to_owned()
}

fn options(config: &str) -> Vec<String> {
    let option = |line: &str| Some(line.strip_prefix("CONFIG_")?.strip_suffix("=y")?.to_owned());
    config.lines().filter_map(option).collect()
}

/// Numbers and ranges of them, separated by commas.
fn ranges(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// What a sysctl says that is a list: it ends where the buffer of the first read is full.
fn at_once(path: &Path) -> String {
    let mut buffer = vec![0; 1 << 16];
    let read = File::open(path).and_then(|mut file| file.read(&mut buffer));
    buffer.truncate(read.unwrap_or(0));
    String::from_utf8(buffer).unwrap_or_default()
}

/// Ports of `/proc/net/tcp` at which somebody listens.
fn listening(table: &str) -> Vec<u16> {
    const LISTEN: &str = "0A";
    let port = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        let (_, port) = local.split_once(':')?;
        (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok())?
    };
    table.lines().filter_map(port).collect()
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

/// What a time daemon has told the kernel.
#[expect(unsafe_code, reason = "libc has no safe interface to it")]
fn clock_is_kept() -> Option<bool> {
    // SAFETY: Zeros are a value, which says that nothing is to be changed.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: The call writes the structure.
    match unsafe { libc::adjtimex(&raw mut clock) } {
        -1 => None,
        state => Some(state != libc::TIME_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/sys/kernel/osrelease", "7.3.4+deb13-cloud-amd64\n"),
            ("proc/kallsyms", "0000000000000000 T register_virgo_calls\n"),
            ("sys/module/virgo_mempool/x", ""),
            ("sys/module/virgo_config/x", ""),
            ("sys/module/ext4/x", ""),
            (
                "lib/modules/7.3.4+deb13-cloud-amd64/modules.dep",
                "updates/dkms/virgo_config.ko.xz:\n",
            ),
            ("dev/virgo", ""),
            (
                "sys/kernel/security/lockdown",
                "none [integrity] confidentiality\n",
            ),
            ("sys/module/module/parameters/sig_enforce", "Y\n"),
            (
                "boot/config-7.3.4+deb13-cloud-amd64",
                "CONFIG_KASAN=y\n# CONFIG_X is not set\nCONFIG_Y=m\n",
            ),
            (
                "proc/sys/net/ipv4/ip_local_reserved_ports",
                "10000,20000-20001\n",
            ),
            (
                "proc/net/tcp",
                "  sl  local_address rem_address   st\n\
                 0: 00000000:7530 00000000:0000 0A 0\n\
                 1: 0100007F:7531 0100007F:7530 01 0\n",
            ),
            (
                "proc/meminfo",
                "MemTotal: 9 kB\nMemAvailable:     204800 kB\n",
            ),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let seen = Machine::look(root.path());
        let expected = Machine {
            release: "7.3.4+deb13-cloud-amd64".into(),
            has_system_calls: true,
            modules: vec!["config".into(), "mempool".into()],
            is_installed: true,
            device: Device::Other,
            lockdown: "integrity".into(),
            enforces_signatures: true,
            options: vec!["KASAN".into()],
            reserved: vec![10000, 20000, 20001],
            listening: vec![30000],
            available_mib: Some(200),
            clock_is_kept: seen.clock_is_kept,
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_cannot_be_read_is_empty() {
        let root = tempfile::tempdir().unwrap();
        let seen = Machine::look(root.path());
        let expected = Machine {
            clock_is_kept: seen.clock_is_kept,
            ..Machine::default()
        };
        assert_eq!(seen, expected);
    }
}
