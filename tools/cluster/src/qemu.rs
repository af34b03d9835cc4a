// SPDX-License-Identifier: GPL-2.0
//! How QEMU is started.

use crate::{
    accel::Accel,
    images::{Images, LIBRARIES},
    network::{link, mac, peers},
    run_dir::{NodeDir, RunDir},
    state::Launch,
};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Kernel command line of every guest. The panic of a guest ends its QEMU process (with
/// `-no-reboot`). The TSC is trusted, because emulated processors on a busy host look to the
/// clock's watchdog as if they had a bad one.
const COMMAND_LINE: &str = "console=ttyS0 ignore_loglevel panic=-1 kunit.enable=1 kunit.autorun=1 \
                            tsc=reliable no_timer_check random.trust_cpu=on printk.devkmsg=on";

/// What the monitor calls a node's disk.
pub(crate) const DISK: &str = "disk";

/// The emulated processor. Not with page tables of five levels: an interrupt in the moment when the
/// kernel looks again which features its processor has would see none, and KASAN take an address
/// for a wild one.
const PROCESSOR: &str = "max,la57=off";

/// Starts the QEMU process of node `number` of the cluster in `dir`. It outlives this process.
pub(crate) fn start_node(dir: &RunDir, launch: &Launch, number: u8) -> Result<()> {
    start(&launch.images, &node_arguments(dir, launch, number))
}

/// Starts a guest that has a kernel and a console, and nothing else.
pub(crate) fn start_bare(images: &Images, accel: Accel, dir: &NodeDir) -> Result<()> {
    let mut arguments = common_arguments(dir, images, COMMAND_LINE);
    arguments.extend(accel_arguments(accel, false));
    start(images, &arguments)
}

/// Returns when the guest has started, with QEMU's own complaint if it has not.
fn start(images: &Images, arguments: &[String]) -> Result<()> {
    let output = images
        .program("usr/bin/qemu-system-x86_64")
        .env("QEMU_MODULE_DIR", images.root.join(LIBRARIES).join("qemu"))
        .args(arguments)
        .output()
        .context("cannot run QEMU")?;
    if !output.status.success() {
        bail!(
            "QEMU ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn node_arguments(dir: &RunDir, launch: &Launch, number: u8) -> Vec<String> {
    let here = dir.node(number);
    // To find out that its APIC timer is no use takes a guest that counts instructions 17 s.
    let timer = if launch.icount { " nolapic_timer" } else { "" };
    let command_line = format!(
        "{COMMAND_LINE}{timer} virgo.node={number} virgo.nodes={}",
        launch.nodes
    );
    let mut arguments = common_arguments(&here, &launch.images, &command_line);
    arguments.extend(accel_arguments(launch.accel, launch.icount));
    let mut add = |option: &str, value: String| arguments.extend([option.into(), value]);
    add("-smp", launch.smp.to_string());
    add("-m", format!("{}M", launch.memory));
    add("-initrd", text(&launch.images.initramfs));
    add(
        "-qmp",
        format!("unix:{},server=on,wait=off", text(&here.monitor())),
    );
    // Keys: not on the command line, which every user of host and guest can read.
    for (name, file) in [
        ("virgo.key", dir.key_file()),
        ("virgo_text.key", dir.text_key_file()),
    ] {
        add("-fw_cfg", format!("name=opt/{name},file={}", text(&file)));
    }

    // To the agent. FIFOs, because the far end of a socket goes away with every client, and the
    // agent then looks ten times a second whether it is back.
    add("-device", "virtio-serial-pci".into());
    add(
        "-chardev",
        format!("pipe,id=agent,path={}", text(&here.agent())),
    );
    add(
        "-device",
        "virtserialport,chardev=agent,name=org.qemu.guest_agent.0".into(),
    );

    // The disk need not survive a crash of the host, only one of the guest.
    add(
        "-drive",
        format!(
            "if=virtio,id={DISK},format=raw,cache=unsafe,file={}",
            text(&here.disk())
        ),
    );
    add("-device", "virtio-rng-pci".into());
    if launch.usb {
        let file = text(&here.usb_serial());
        add("-chardev", format!("file,id=usb-serial,path={file}"));
        add("-device", "qemu-xhci".into());
        add(
            "-device",
            "usb-serial,chardev=usb-serial,always-plugged=on".into(),
        );
    }

    for peer in peers(number, launch.nodes) {
        let link = link(peer);
        add(
            "-netdev",
            format!(
                "dgram,id={link},local.type=unix,local.path={},remote.type=unix,remote.path={}",
                text(&here.link(peer)),
                text(&dir.node(peer).link(number))
            ),
        );
        // Without status a link that is cut loses packets and the guest is not told, as it is
        // when a network fails somewhere in the middle.
        add(
            "-device",
            format!(
                "virtio-net-pci,netdev={link},mac={},status=off,romfile=",
                mac(number, peer)
            ),
        );
    }
    arguments
}

/// What all guests have in common.
fn common_arguments(here: &NodeDir, images: &Images, command_line: &str) -> Vec<String> {
    let share = images.root.join("usr/share");
    let mut arguments: Vec<_> = ["-nodefaults", "-no-user-config", "-no-reboot", "-daemonize"]
        .map(String::from)
        .into();
    let mut add = |option: &str, value: String| arguments.extend([option.into(), value]);
    add("-L", text(&share.join("qemu")));
    add("-L", text(&share.join("seabios")));
    add("-machine", "q35,vmport=off".into());
    // Half of what the debug kernel does to boot would be to read how PCI slots are hot-plugged.
    add(
        "-global",
        "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off".into(),
    );
    add("-display", "none".into());
    add("-pidfile", text(&here.pid_file()));
    // A daemon keeps its standard error only if there is something to log.
    add("-d", "unimp".into());
    add("-D", text(&here.qemu_log()));
    add(
        "-chardev",
        format!("file,id=console,append=on,path={}", text(&here.console())),
    );
    add("-serial", "chardev:console".into());
    add("-kernel", text(&images.kernel));
    add("-append", command_line.into());
    arguments
}

fn accel_arguments(accel: Accel, icount: bool) -> Vec<String> {
    let arguments: &[&str] = match (accel, icount) {
        (Accel::Kvm, _) => &["-accel", "kvm", "-cpu", "host"],
        (Accel::Tcg, false) => &["-accel", "tcg,thread=multi", "-cpu", PROCESSOR],
        (Accel::Tcg, true) => &[
            "-accel",
            "tcg,thread=single",
            "-cpu",
            PROCESSOR,
            "-icount",
            "shift=0,sleep=off",
        ],
    };
    arguments.iter().map(|&argument| argument.into()).collect()
}

/// A path as part of an argument. All of ours are UTF-8: see [`Images::find`], [`RunDir`].
fn text(path: &Path) -> String {
    path.display().to_string()
}
