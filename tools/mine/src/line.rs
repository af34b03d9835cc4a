// SPDX-License-Identifier: GPL-2.0
//! Lines of logs.

use memchr::memmem;
use std::net::Ipv4Addr;

/// A packet that the firewall has reported in a line of `kern.log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedPacket {
    /// Where it came from.
    pub source: Ipv4Addr,
    /// The port that it was for; 0 if it had none.
    pub port: u16,
    /// When, in microseconds since the machine was started; `None` if the line does not say.
    pub at_us: Option<u64>,
}

/// What has become of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramEvent<'a> {
    /// Process `pid` runs it from now on.
    Exec {
        /// When, in microseconds.
        at_us: u64,
        /// Of the process.
        pid: u32,
        /// Its path.
        program: &'a [u8],
    },
    /// Process `pid` has ended.
    Exit {
        /// When, in microseconds.
        at_us: u64,
        /// Of the process.
        pid: u32,
    },
}

/// What a line says, as far as it is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line of UFW.
    Packet(ReportedPacket),
    /// `exec US PID PROGRAM` or `exit US PID …`.
    Event(ProgramEvent<'a>),
}

/// Reads a line, without its end; `None` if it is about something else.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    if line.starts_with(b"exec ") || line.starts_with(b"exit ") {
        return event(line).map(Line::Event);
    }
    packet(line).map(Line::Packet)
}

fn packet(line: &[u8]) -> Option<ReportedPacket> {
    let ufw = memmem::find(line, b"[UFW ")?;
    let (before, fields) = line.split_at(ufw);
    let source = memmem::find(fields, b" SRC=")?;
    let fields = &fields[source + 5..];
    let source = address(fields)?;
    // It stands close to the end.
    let port = memmem::find(fields, b" DPT=").map_or(0, |at| number(&fields[at + 5..]));
    Some(ReportedPacket {
        source,
        port: u16::try_from(port).unwrap_or(0),
        at_us: uptime(before),
    })
}

/// `[12345.678901]` at the end of the text.
fn uptime(before: &[u8]) -> Option<u64> {
    let text = before.trim_ascii_end().strip_suffix(b"]")?;
    let open = memchr::memrchr(b'[', text)?;
    let text = text[open + 1..].trim_ascii();
    let dot = memchr::memchr(b'.', text)?;
    let (seconds, micros) = (number(&text[..dot]), &text[dot + 1..]);
    if micros.len() != 6 {
        return None;
    }
    seconds.checked_mul(1_000_000)?.checked_add(number(micros))
}

fn address(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (i, octet) in octets.iter_mut().enumerate() {
        let digits = rest
            .iter()
            .take(4)
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits == 0 || digits > 3 {
            return None;
        }
        *octet = u8::try_from(number(rest)).ok()?;
        rest = &rest[digits..];
        if i < 3 {
            rest = rest.strip_prefix(b".")?;
        }
    }
    Some(octets.into())
}

/// The number that the text begins with; of too many digits the first.
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take(15).take_while(|b| b.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn event(line: &[u8]) -> Option<ProgramEvent<'_>> {
    let mut words = line.splitn(4, |&b| b == b' ');
    let kind = words.next()?;
    let all_digits = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let at = words.next().filter(|word| all_digits(word))?;
    let pid = words.next().filter(|word| all_digits(word))?;
    let (at_us, pid) = (number(at), u32::try_from(number(pid)).ok()?);
    Some(match kind {
        b"exec" => ProgramEvent::Exec {
            at_us,
            pid,
            program: words.next()?.trim_ascii(),
        },
        _ => ProgramEvent::Exit { at_us, pid },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_of_ufw_is_read() {
        let line = b"Feb 15 10:00:00 node kernel: [12345.678901] [UFW BLOCK] IN=eth0 OUT= \
                     MAC=00:11 SRC=111.123.180.44 DST=10.0.0.1 LEN=40 PROTO=TCP SPT=6000 DPT=22 WINDOW=1";
        assert_eq!(
            parse(line),
            Some(Line::Packet(ReportedPacket {
                source: [111, 123, 180, 44].into(),
                port: 22,
                at_us: Some(12_345_678_901),
            }))
        );
        let icmp = b"kernel: [UFW AUDIT] IN= SRC=1.2.3.4 DST=1.1.1.1 PROTO=ICMP TYPE=8";
        assert!(matches!(parse(icmp), Some(Line::Packet(p)) if p.port == 0 && p.at_us.is_none()));
    }

    #[test]
    fn a_time_that_cannot_be_is_none() {
        let line = b"kernel: [999999999999999.000001] [UFW BLOCK] IN= SRC=1.2.3.4 DPT=22";
        assert!(matches!(parse(line), Some(Line::Packet(p)) if p.at_us.is_none()));
    }

    #[test]
    fn other_lines_are_passed_over() {
        for line in [
            &b""[..],
            b"kernel: [1.000000] usb 1-1: new device",
            b"[UFW BLOCK] IN=eth0 SRC=fe80::1 DST=ff02::1",
            b"[UFW BLOCK] IN=eth0 OUT=",
            b"[UFW BLOCK] IN= SRC=1.2.3 DST=",
            b"[UFW BLOCK] IN= SRC=1.2.3.999 DST=",
            b"exec 1",
            b"exec x 1 /bin/sh",
            b"exit 1 99999999999",
        ] {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    proptest! {
        #[test]
        fn any_line_is_taken(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
            let _ = parse(&[b"[UFW BLOCK] SRC=", &line[..]].concat());
            let _ = parse(&[b"exec ", &line[..]].concat());
        }
    }
}
