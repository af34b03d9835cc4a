// SPDX-License-Identifier: GPL-2.0
//! What USB devices say.

use crate::{
    failure,
    options::{Capture, UsbCommand},
    output::{self, Printer},
};
use anyhow::{Context, Result};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use virgo_proto::usb::CaptureFilter;
use virgo_usb::{
    counters::Endpoints,
    live::Live,
    packet::{Packet, Transfer},
    pcapng,
    policy::{Action, Decision, Policy},
    record::CaptureRecord,
    report, sysfs,
    traffic::CaptureSummary,
};

/// How often a capture looks whether it is to end.
const TICK: Duration = Duration::from_millis(200);

pub(crate) fn run(output: Printer, command: &UsbCommand) -> Result<ExitCode> {
    match command {
        UsbCommand::Devices => devices(output)?,
        UsbCommand::Watch(options) => {
            let mut capture = Capturing::start(options)?;
            while capture.step(|record| line(output, record))? {}
            tell_lost(capture.all_lost());
        }
        UsbCommand::Capture {
            output: file,
            capture,
        } => write(capture, file)?,
        UsbCommand::Stats(options) => stats(output, options)?,
        UsbCommand::Report { capture, output } => {
            let mut traffic = read(capture)?;
            let page = report::page(&mut traffic, &capture.display().to_string());
            fs::write(output, page)
                .with_context(|| format!("cannot write {}", output.display()))?;
        }
        UsbCommand::Policy {
            file,
            apply,
            capture,
        } => return policy(output, file, *apply, capture.as_deref()),
    }
    Ok(ExitCode::SUCCESS)
}

fn devices(output: Printer) -> Result<()> {
    let devices = sysfs::devices(Path::new(sysfs::DEVICES)).context("cannot list USB devices")?;
    output.print(&devices, || {
        let header = ["PORT", "BUS", "DEVICE", "ID", "CLASS", "DRIVER", "NAME"];
        let rows = devices.iter().flat_map(|device| {
            let row = |interface: Option<&sysfs::UsbInterface>| {
                let port = interface.map_or(&device.port, |i| &i.name);
                let class = interface.map_or("-".to_owned(), |i| {
                    format!("{:02x}/{:02x}/{:02x}", i.class.0, i.class.1, i.class.2)
                });
                let driver = interface.and_then(|i| i.umb.clone().or(i.driver.clone()));
                vec![
                    port.clone(),
                    device.bus.to_string(),
                    device.device.to_string(),
                    format!("{:04x}:{:04x}", device.vendor, device.product),
                    class,
                    driver.unwrap_or_else(|| match device.authorized {
                        true => "-".to_owned(),
                        false => "denied".to_owned(),
                    }),
                    output::printable(device.name.as_deref().unwrap_or("-")),
                ]
            };
            match device.interfaces.is_empty() {
                true => vec![row(None)],
                false => device.interfaces.iter().map(|i| row(Some(i))).collect(),
            }
        });
        output::table(header.map(str::to_owned).to_vec(), 7, rows.collect())
    })
}

/// A capture as the options say, until a signal comes.
struct Capturing {
    live: Live,
    ended: Arc<AtomicBool>,
    end: Option<Instant>,
    /// Events that are still wanted.
    wanted: u64,
    /// Events that were lost.
    lost: u64,
}

impl Capturing {
    fn start(options: &Capture) -> Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, ended.clone())?;
        }
        let end = options.seconds.map(|seconds| {
            let seconds = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            Instant::now().checked_add(seconds)
        });
        Ok(Capturing {
            live: Live::start(&options.filter.join(" "))?,
            ended,
            end: end.flatten(),
            wanted: options.count.unwrap_or(u64::MAX),
            lost: 0,
        })
    }

    /// Shows `see` what has come since the last step, or comes within a tick; at the end, all that has come by then.
    /// Returns whether the capture goes on.
    fn step(&mut self, mut see: impl FnMut(&CaptureRecord<'_>) -> Result<()>) -> Result<bool> {
        let left = self
            .end
            .map_or(TICK, |end| end.saturating_duration_since(Instant::now()));
        if self.wanted == 0 {
            return Ok(false);
        }
        let take = |record: &CaptureRecord<'_>| {
            self.lost += u64::from(record.lost);
            match self.wanted.checked_sub(1) {
                Some(left) => {
                    self.wanted = left;
                    see(record)
                }
                None => Ok(()),
            }
        };
        if left.is_zero() || self.ended.load(Ordering::Relaxed) {
            self.live.drain(take)?;
            return Ok(false);
        }
        self.live.read(left.min(TICK), take)?;
        Ok(true)
    }

    /// Events that were lost, also behind the last one that was seen.
    fn all_lost(&self) -> u64 {
        self.lost + u64::from(self.live.lost_behind())
    }
}

fn tell_lost(lost: u64) {
    if lost > 0 {
        output::note(format_args!("{lost} events were lost"));
    }
}

fn write(options: &Capture, path: &Path) -> Result<()> {
    let text = options.filter.join(" ");
    let filter = CaptureFilter::parse(text.as_bytes())
        .with_context(|| format!("the filter '{text}' is not understood"))?;
    let mut capture = Capturing::start(options)?;
    let out: Box<dyn Write> = if path.as_os_str() == "-" {
        Box::new(io::stdout())
    } else {
        let file = File::create(path);
        Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
    };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut file = pcapng::Writer::new(BufWriter::new(out), host.trim(), &filter)?;
    let (mut events, mut bytes) = (0u64, 0u64);
    while capture.step(|record| {
        events += 1;
        bytes += record.packet.data().len() as u64;
        file.write(record)
    })? {
        file.flush()?;
    }
    file.finish(capture.live.lost_behind())
        .with_context(|| format!("cannot write {}", path.display()))?;
    let lost = capture.all_lost();
    output::note(format_args!(
        "{events} events, {bytes} bytes of data, {lost} lost"
    ));
    Ok(())
}

/// A line as usbmon has it, as far as it goes.
fn line(output: Printer, record: &CaptureRecord<'_>) -> Result<()> {
    let packet = &record.packet;
    let id = packet.endpoint();
    let data = packet.data();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let value = json!({
        "time_us": u64::try_from(packet.time().as_micros()).unwrap_or(u64::MAX),
        "id": format!("{:016x}", packet.id()),
        "event": packet.event().to_string(),
        "bus": id.bus,
        "device": id.device,
        "endpoint": id.endpoint,
        "status": packet.status(),
        "length": packet.urb_len(),
        "data": hex(data),
        "lost": record.lost,
    });
    output.print(&value, || {
        text_line(packet, &hex(data.get(..32).unwrap_or(data)))
    })
}

fn text_line(packet: &Packet<'_>, data: &str) -> String {
    let id = packet.endpoint();
    let time = packet.time();
    let transfer = match packet.transfer() {
        Transfer::Isochronous => 'Z',
        Transfer::Interrupt => 'I',
        Transfer::Control => 'C',
        Transfer::Bulk => 'B',
    };
    let direction = if id.endpoint & 0x80 == 0 { 'o' } else { 'i' };
    let setup = packet
        .setup()
        .map(|s| s.map(|b| format!("{b:02x}")).concat());
    let equals = if data.is_empty() { "" } else { " = " };
    format!(
        "{}.{:06} {:08x} {} {transfer}{direction}:{}:{:03}:{} {} {}{equals}{data}",
        time.as_secs(),
        time.subsec_micros(),
        packet.id() & 0xffff_ffff,
        packet.event(),
        id.bus,
        id.device,
        id.endpoint & 0x0f,
        setup.unwrap_or_else(|| packet.status().to_string()),
        packet.urb_len()
    )
}

fn stats(output: Printer, options: &Capture) -> Result<()> {
    let mut endpoints = Endpoints::default();
    let start = Instant::now();
    let options = Capture {
        filter: options.filter.clone(),
        count: options.count,
        seconds: options.seconds.or(options.count.is_none().then_some(1.0)),
    };
    let mut capture = Capturing::start(&options)?;
    while capture.step(|record| {
        endpoints.count(&record.packet);
        Ok(())
    })? {}
    let lost = capture.all_lost();
    let seconds = start.elapsed().as_secs_f64();
    let rows: Vec<_> = endpoints
        .iter()
        .map(|(id, endpoint)| {
            json!({
                "bus": id.bus,
                "device": id.device,
                "endpoint": id.endpoint,
                "packets": endpoint.packets,
                "failed": endpoint.failed,
                "bytes": endpoint.bytes,
                "bytes_per_second": endpoint.bytes as f64 / seconds,
                "entropy": endpoint.entropy(),
            })
        })
        .collect();
    let value = json!({ "seconds": seconds, "lost": lost, "endpoints": rows });
    output.print(&value, || {
        let header = [
            "ENDPOINT", "PACKETS", "FAILED", "BYTES", "BYTES/S", "ENTROPY",
        ];
        let rows = endpoints.iter().map(|(id, endpoint)| {
            vec![
                id.to_string(),
                endpoint.packets.to_string(),
                endpoint.failed.to_string(),
                endpoint.bytes.to_string(),
                format!("{:.0}", endpoint.bytes as f64 / seconds),
                format!("{:.2}", endpoint.entropy()),
            ]
        });
        output::table(header.map(str::to_owned).to_vec(), 1, rows.collect())
    })?;
    tell_lost(lost);
    Ok(())
}

fn read(path: &Path) -> Result<CaptureSummary> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut traffic = CaptureSummary::default();
    let unreadable = pcapng::read(BufReader::new(file), |record| traffic.add(&record))
        .with_context(|| format!("cannot read {}", path.display()))?;
    if unreadable > 0 {
        output::note(format_args!(
            "{unreadable} packets of {} could not be read",
            path.display()
        ));
    }
    traffic.unreadable = unreadable;
    Ok(traffic)
}

fn policy(output: Printer, path: &Path, apply: bool, capture: Option<&Path>) -> Result<ExitCode> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let policy = Policy::parse(&text).with_context(|| format!("{}", path.display()))?;
    let findings = match capture {
        Some(capture) => read(capture)?.findings(),
        None => Vec::new(),
    };
    let held = sysfs::held_devices(Path::new(sysfs::DEVICES)).context("cannot list USB devices")?;
    let (devices, directories): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    let keyboards = sysfs::other_keyboards(Path::new(sysfs::INPUTS));
    let decisions = policy.decide(&devices, &findings, keyboards);
    let unmatched = Policy::unmatched(&devices, &findings);
    let mut status = ExitCode::SUCCESS;
    if apply {
        for (decision, directory) in decisions.iter().zip(&directories) {
            let Some(authorized) = decision.switch else {
                continue;
            };
            if let Err(error) = directory.authorize(authorized) {
                let error = anyhow::Error::from(error).context(format!("{} stays", decision.port));
                failure::report(output, &error);
                status = ExitCode::FAILURE;
            }
        }
    }
    let hits: Vec<_> = policy.hits(&decisions);
    let unmatched: Vec<_> = unmatched.iter().map(ToString::to_string).collect();
    let value = json!({
        "decisions": &decisions,
        "hits": &hits,
        "unmatched": &unmatched,
        "applied": apply,
    });
    output.print(&value, || {
        let header = ["PORT", "ID", "ACTION", "LINE", "NOTE"];
        let rows = decisions.iter().map(decision_row).collect();
        let mut text = output::table(header.map(str::to_owned).to_vec(), 5, rows);
        for (line, count) in &hits {
            text.push_str(&format!("\nline {line}: {count} devices"));
        }
        for finding in &unmatched {
            text.push_str(&format!("\nof no device that is here: {finding}"));
        }
        text
    })?;
    Ok(status)
}

fn decision_row(decision: &Decision) -> Vec<String> {
    let action = match decision.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Log => "log",
    };
    vec![
        decision.port.clone(),
        decision.id.clone(),
        action.to_owned(),
        decision
            .line
            .map_or("-".to_owned(), |line| line.to_string()),
        decision.spared.map_or(String::new(), str::to_owned),
    ]
}
