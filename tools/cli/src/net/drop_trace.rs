// SPDX-License-Identifier: GPL-2.0
//! The kernel's tracepoint for dropped packets, in a tracing instance of its own, so that nobody else's
//! tracing is disturbed.
//!
//! The instance is named for its process, and removed with it. One whose process was killed before is
//! removed by the next.

use super::error::NetError;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Where tracefs may be.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

const PREFIX: &str = "virgo-drops-";

const SWITCH: &str = "events/skb/kfree_skb/enable";

/// What is traced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dropped<'a> {
    /// A packet, the kernel's name of the reason, and the function that has dropped it.
    Packet { reason: &'a str, place: &'a str },
    /// So many events were overwritten before they were read.
    Lost(u64),
}

/// The instance; it is removed when dropped.
struct Instance(PathBuf);

impl Drop for Instance {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Tracing of drops. Fields are dropped in order: an instance that is read cannot be removed.
pub(super) struct DropTrace {
    pipe: File,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    _instance: Instance,
}

impl DropTrace {
    /// Begins to trace.
    pub(super) fn start() -> Result<Self, NetError> {
        let [usual, other] = ROOTS.map(|root| Path::new(root).join("instances"));
        let instances = if usual.exists() || !other.exists() {
            usual
        } else {
            other
        };
        remove_left_over(&instances);
        let path = instances.join(name(std::process::id()));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| NetError::Trace { path, error }
        };
        fs::create_dir(&path).map_err(failed(&path))?;
        let instance = Instance(path);
        let switch = instance.0.join(SWITCH);
        fs::write(&switch, "1").map_err(failed(&switch))?;
        let pipe = instance.0.join("trace_pipe");
        let pipe = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&pipe)
            .map_err(failed(&pipe))?;
        Ok(Self {
            pipe,
            rest: Vec::new(),
            _instance: instance,
        })
    }

    /// Shows `see` what has been traced since the last time.
    pub(super) fn read(&mut self, mut see: impl FnMut(Dropped<'_>)) -> io::Result<()> {
        let mut buffer = [0; 1 << 16];
        loop {
            let read = match self.pipe.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.rest.extend_from_slice(&buffer[..read]);
            let end = self.rest.iter().rposition(|&byte| byte == b'\n');
            let Some(end) = end else { continue };
            let lines = String::from_utf8_lossy(&self.rest[..end]);
            lines.lines().filter_map(parse).for_each(&mut see);
            self.rest.drain(..=end);
        }
    }
}

/// A line of trace_pipe.
fn parse(line: &str) -> Option<Dropped<'_>> {
    if let Some((_, lost)) = line.split_once("[LOST ") {
        let events = lost.split(' ').next()?;
        return Some(Dropped::Lost(events.parse().ok()?));
    }
    let (_, event) = line.split_once(": kfree_skb: ")?;
    let (event, reason) = event.split_once(" reason: ")?;
    let (_, place) = event.split_once("location=")?;
    // Function, offset and length, perhaps a module.
    let function = place.split('+').next()?;
    Some(Dropped::Packet {
        reason: reason.trim(),
        place: function.trim(),
    })
}

/// Named for the process and the time when that was started: numbers of processes are used again.
fn name(pid: u32) -> String {
    format!("{PREFIX}{pid}-{}", started(pid).unwrap_or_default())
}

/// When a process was started, in the kernel's ticks; `None` if there is none.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may have blanks and brackets.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

fn is_left_over(instance: &str) -> bool {
    let owner = instance.strip_prefix(PREFIX).and_then(|owner| {
        let (pid, start) = owner.split_once('-')?;
        Some((pid.parse().ok()?, start.parse().ok()?))
    });
    owner.is_some_and(|(pid, start)| started(pid) != Some(start))
}

fn remove_left_over(instances: &Path) {
    for entry in fs::read_dir(instances).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left_over) {
            remove(&entry.path());
        }
    }
}

/// Removes an instance. The kernel refuses as long as something of it is used, such as by who looks at
/// it.
fn remove(instance: &Path) {
    const ATTEMPTS: u32 = 20;
    // Even if it cannot be removed it costs nothing any more.
    let _ = fs::write(instance.join(SWITCH), "0");
    for _ in 0..ATTEMPTS {
        match fs::remove_dir(instance) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                thread::sleep(Duration::from_millis(50));
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_and_place_are_found() {
        let line = "          <idle>-0       [000] ..s1.    12.345678: kfree_skb: skbaddr=00000000d5a3e1a2 \
                    rx_sk=0000000000000000 protocol=2048 location=__udp4_lib_rcv+0x5b5/0xb10 reason: NO_SOCKET";
        let packet = Dropped::Packet {
            reason: "NO_SOCKET",
            place: "__udp4_lib_rcv",
        };
        assert_eq!(parse(line), Some(packet));
        assert_eq!(parse("CPU:1 [LOST 312 EVENTS]"), Some(Dropped::Lost(312)));
        assert_eq!(parse("# tracer: nop"), None);
    }

    #[test]
    fn what_a_process_has_that_runs_is_not_left_over() {
        let own = name(std::process::id());
        assert!(!is_left_over(&own), "{own}");
        assert!(is_left_over(&format!("{own}0")));
        assert!(is_left_over("virgo-drops-4194305-7"));
        assert!(!is_left_over("virgo-drops-mine") && !is_left_over("somebody"));
    }
}
