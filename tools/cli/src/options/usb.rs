// SPDX-License-Identifier: GPL-2.0
//! Options of `virgo usb`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum UsbCommand {
    /// List the USB devices of this machine, with their interfaces and drivers
    Devices,
    /// Print a line for each event on USB
    Watch(Capture),
    /// Write USB traffic to a file that Wireshark opens
    ///
    /// Ends with Ctrl-C, or as --count and --seconds say. What was lost because it was not read in time
    /// stands in the file, and is told at the end.
    Capture {
        /// File to write, pcapng; '-' for standard output, such as for 'wireshark -k -i -'
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        capture: Capture,
    },
    /// Count what each endpoint says for some time
    Stats(Capture),
    /// Draw what a capture tells as one page of HTML
    Report {
        /// A file of 'virgo usb capture'
        #[arg(value_name = "FILE.pcapng")]
        capture: PathBuf,
        /// File to write
        #[arg(short, long, value_name = "FILE.html")]
        output: PathBuf,
    },
    /// Say what a policy decides of the devices of this machine, or do it
    ///
    /// A line of a policy is 'allow', 'deny' or 'log' and words: all, id=VENDOR:PRODUCT, serial=, class=,
    /// port=, behaviour=. The first that fits a device decides; without one it is allowed. Hubs are
    /// never denied, nor is the machine's last keyboard, unless it is something else, too, or for its behaviour.
    Policy {
        /// The policy
        file: PathBuf,
        /// Do it, by the kernel's switch 'authorized', instead of saying what would be done
        #[arg(long)]
        apply: bool,
        /// A file of 'virgo usb capture' in which the behaviour of devices is seen
        #[arg(long, value_name = "FILE.pcapng")]
        capture: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Capture {
    /// What to capture [default: all]: bus=1 device=3 endpoint=2 dir=in|out type=isochronous,interrupt,control,bulk
    /// event=submit,complete,error snap=BYTES ring=BYTES
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// End after so many events
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// End after so many seconds
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
}
