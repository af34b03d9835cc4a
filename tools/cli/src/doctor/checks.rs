// SPDX-License-Identifier: GPL-2.0
//! What is to be thought of what a machine shows of itself.

use super::{
    finding::Finding,
    machine::{Device, Machine},
};

/// The services, and the ports where they listen.
pub(crate) const PORTS: [(&str, u16); 7] = [
    ("cpupooling", 10000),
    ("eventnet", 20000),
    ("mempool", 30000),
    ("kernel_analytics", 40000),
    ("cloudfs", 50000),
    ("cloudsync", 55000),
    ("queue", 60000),
];

/// Ports that no program is to get by chance: those of the services, and that of the stream of variables.
const RESERVED: [u16; 8] = [10000, 20000, 30000, 40000, 50000, 55000, 60000, 64000];

/// Less memory than this is too little for a pool of the usual size.
const FEW_MIB: u64 = 128;

/// Options with which a kernel is many times slower.
const DEBUG_OPTIONS: [&str; 5] = [
    "KASAN",
    "PROVE_LOCKING",
    "DEBUG_KMEMLEAK",
    "KCSAN",
    "DEBUG_OBJECTS",
];

/// Looks at everything.
pub(super) fn all(machine: &Machine) -> Vec<Finding> {
    vec![
        kernel(machine),
        modules(machine),
        device(machine),
        signatures(machine),
        ports(machine),
        listeners(machine),
        memory(machine),
        clock(machine),
        debugging(machine),
    ]
}

fn is_loaded(machine: &Machine, module: &str) -> bool {
    machine.modules.iter().any(|name| name == module)
}

fn kernel(machine: &Machine) -> Finding {
    let by = match machine.has_system_calls {
        true => "programs use its system calls",
        false => "it has no system calls of VIRGO, programs use /dev/virgo",
    };
    Finding::ok("kernel", format!("{}: {by}", machine.release))
}

fn modules(machine: &Machine) -> Finding {
    if !is_loaded(machine, "config") {
        let (seen, advice) = match machine.is_installed {
            true => (
                "not loaded",
                "systemctl start virgo; if that fails the kernel's log says why: journalctl -k -g virgo",
            ),
            false => (
                "there are none for this kernel",
                "apt install virgo-dkms and the headers and the source of the kernel in its version; \
                 dkms status says what became of the build",
            ),
        };
        return Finding::problem("modules", seen, advice);
    }
    // KingCobra uses the ports of others.
    let services = PORTS.map(|(service, _)| service);
    let missing: Vec<_> = services
        .into_iter()
        .filter(|service| !is_loaded(machine, service))
        .collect();
    match missing.is_empty() {
        true => Finding::ok("modules", machine.modules.join(" ")),
        false => Finding::warning(
            "modules",
            format!("not loaded: {}", missing.join(" ")),
            "modprobe virgo_NAME for those that are wanted",
        ),
    }
}

fn device(machine: &Machine) -> Finding {
    let without = "files and calls of functions are refused to all programs";
    match machine.device {
        Device::Mode(mode) if mode & 0o006 == 0o006 => {
            Finding::ok("device", "everybody may open /dev/virgo")
        }
        Device::Mode(mode) if mode & 0o060 == 0o060 => Finding::ok(
            "device",
            "root and the group of /dev/virgo may open it: adduser USER virgo",
        ),
        Device::Mode(_) => Finding::warning(
            "device",
            "only root may open /dev/virgo",
            "a rule of udev gives it to a group: see /usr/lib/udev/rules.d/60-virgo.rules",
        ),
        Device::None if !is_loaded(machine, "config") => {
            Finding::ok("device", "there is none before the modules are loaded")
        }
        Device::None => Finding::problem(
            "device",
            format!("there is no /dev/virgo: {without}"),
            "see whether devtmpfs is mounted at /dev",
        ),
        Device::Other => Finding::problem(
            "device",
            format!("/dev/virgo is no device: {without}"),
            "remove it and load the modules again",
        ),
    }
}

fn signatures(machine: &Machine) -> Finding {
    let locked = !matches!(&*machine.lockdown, "" | "none");
    if !locked && !machine.enforces_signatures {
        return Finding::ok("lockdown", "none");
    }
    let why = match locked {
        true => format!("lockdown={}", machine.lockdown),
        false => "module.sig_enforce".to_owned(),
    };
    match (is_loaded(machine, "config"), locked) {
        (false, _) => Finding::problem(
            "lockdown",
            format!("the kernel takes signed modules only ({why})"),
            "mokutil --import /var/lib/dkms/mok.pub, then reboot and choose 'Enroll MOK'",
        ),
        (true, true) => Finding::warning(
            "lockdown",
            format!("{why}: files of debugfs that can be written are closed"),
            "virgo nodes, sessions, analytics and config reload do not work; stats and text sessions do",
        ),
        (true, false) => Finding::ok("lockdown", "signed modules only, and they are loaded"),
    }
}

fn list(ports: impl Iterator<Item = u16>) -> String {
    let ports: Vec<_> = ports.map(|port| port.to_string()).collect();
    ports.join(",")
}

fn ports(machine: &Machine) -> Finding {
    let all = || RESERVED.into_iter();
    let free = list(all().filter(|port| !machine.reserved.contains(port)));
    match free.is_empty() {
        true => Finding::ok("ports", "reserved"),
        false => Finding::warning(
            "ports",
            format!("any program may get port {free} before VIRGO does"),
            format!("sysctl net.ipv4.ip_local_reserved_ports={}", list(all())),
        ),
    }
}

fn listeners(machine: &Machine) -> Finding {
    let silent = PORTS.into_iter().filter(|&(service, port)| {
        is_loaded(machine, service) && !machine.listening.contains(&port)
    });
    let silent = list(silent.map(|(_, port)| port));
    match silent.is_empty() {
        true => Finding::ok("listeners", "each service that is loaded listens"),
        false => Finding::problem(
            "listeners",
            format!("nobody listens at port {silent}, though the service is loaded"),
            "see the kernel's log: journalctl -k -g virgo; a queue with reactor=0 does not listen",
        ),
    }
}

fn memory(machine: &Machine) -> Finding {
    match machine.available_mib {
        Some(mib) if mib < FEW_MIB => Finding::warning(
            "memory",
            format!("{mib} MiB are available"),
            "give virgo_mempool and virgo_queue less: pool_bytes, max_bytes in /etc/modprobe.d",
        ),
        Some(mib) => Finding::ok("memory", format!("{mib} MiB are available")),
        None => Finding::warning("memory", "cannot be seen", "see whether /proc is mounted"),
    }
}

fn clock(machine: &Machine) -> Finding {
    match machine.clock_is_kept {
        Some(true) => Finding::ok("clock", "kept in time"),
        _ => Finding::warning(
            "clock",
            "nothing keeps it in time: times of files and messages of the nodes may differ",
            "apt install systemd-timesyncd or chrony",
        ),
    }
}

fn debugging(machine: &Machine) -> Finding {
    let on = DEBUG_OPTIONS.map(|name| machine.options.iter().find(|&option| option == name));
    let on: Vec<_> = on.into_iter().flatten().map(String::as_str).collect();
    match on.is_empty() {
        true => Finding::ok(
            "debugging",
            "no option that slows the kernel down is known of",
        ),
        false => Finding::warning(
            "debugging",
            format!("the kernel has {}", on.join(", ")),
            "it is many times slower than others: for tests only",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    /// One where nothing is wrong.
    fn good() -> Machine {
        let modules = [
            "cloudfs",
            "cloudsync",
            "config",
            "cpupooling",
            "eventnet",
            "kernel_analytics",
            "kingcobra",
            "mempool",
            "queue",
            "utils",
        ];
        Machine {
            release: "7.3.4".into(),
            modules: modules.map(String::from).into(),
            is_installed: true,
            device: Device::Mode(0o660),
            lockdown: "none".into(),
            reserved: RESERVED.into(),
            listening: PORTS.map(|(_, port)| port).into(),
            available_mib: Some(1000),
            clock_is_kept: Some(true),
            ..Machine::default()
        }
    }

    /// The findings that are not good, by what was looked at.
    fn bad(machine: &Machine) -> Vec<(&'static str, Level)> {
        let findings = all(machine).into_iter();
        let bad = findings.filter(|finding| finding.level != Level::Ok);
        bad.map(|finding| {
            assert!(finding.advice.is_some(), "{finding:?}");
            (finding.check, finding.level)
        })
        .collect()
    }

    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        assert_eq!(bad(&good()), []);
    }

    #[test]
    fn each_fault_is_found_alone() {
        let with = |change: fn(&mut Machine)| {
            let mut machine = good();
            change(&mut machine);
            bad(&machine)
        };
        use Level::{Problem, Warning};
        assert_eq!(
            with(|m| m.modules.retain(|name| name != "queue")),
            [("modules", Warning)]
        );
        assert_eq!(with(|m| m.device = Device::None), [("device", Problem)]);
        assert_eq!(with(|m| m.device = Device::Other), [("device", Problem)]);
        assert_eq!(
            with(|m| m.device = Device::Mode(0o600)),
            [("device", Warning)]
        );
        assert_eq!(
            with(|m| m.lockdown = "integrity".into()),
            [("lockdown", Warning)]
        );
        assert_eq!(with(|m| m.reserved.clear()), [("ports", Warning)]);
        assert_eq!(
            with(|m| m.listening.retain(|&port| port != 30000)),
            [("listeners", Problem)]
        );
        assert_eq!(with(|m| m.available_mib = Some(20)), [("memory", Warning)]);
        assert_eq!(
            with(|m| m.clock_is_kept = Some(false)),
            [("clock", Warning)]
        );
        assert_eq!(
            with(|m| m.options.push("KASAN".into())),
            [("debugging", Warning)]
        );
        assert_eq!(with(|m| m.enforces_signatures = true), []);
    }

    #[test]
    fn a_machine_without_modules_is_told_how_to_get_them() {
        let mut machine = Machine {
            modules: Vec::new(),
            listening: Vec::new(),
            device: Device::None,
            ..good()
        };
        assert_eq!(bad(&machine), [("modules", Level::Problem)]);
        assert!(
            modules(&machine)
                .advice
                .is_some_and(|advice| advice.contains("systemctl"))
        );
        machine.is_installed = false;
        assert!(
            modules(&machine)
                .advice
                .is_some_and(|advice| advice.contains("virgo-dkms"))
        );
        machine.enforces_signatures = true;
        let both = [("modules", Level::Problem), ("lockdown", Level::Problem)];
        assert_eq!(bad(&machine), both);
    }
}
