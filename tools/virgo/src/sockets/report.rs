// SPDX-License-Identifier: GPL-2.0
//! What the kernel says of a socket, in types of Rust.

use crate::abi::{
    SKBUFF_BUSY, SKBUFF_CLONED, SKBUFF_LOST, SKBUFF_MORE, SKBUFF_OWN, SKBUFF_READ, SKBUFF_RESENT,
    SKBUFF_SACKED, SKBUFF_SEQUENCED, SKBUFF_TCP, Skbuff, SkbuffQueue, SkbuffReport, skbuff_queue,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[cfg(feature = "serde")]
use serde::Serialize;

/// A socket and its queues at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
pub struct SocketInfo {
    /// Whether it is one of VIRGO's own.
    pub own: bool,
    /// `tcp`, `udp`, or family, type and protocol as numbers.
    pub protocol: String,
    /// State of TCP, `-` of others.
    pub state: &'static str,
    /// Its own end, of IPv4 and IPv6.
    pub local: Option<SocketAddr>,
    /// The other end.
    pub remote: Option<SocketAddr>,
    /// Names it on this machine; 0 if it is closed.
    pub inode: u64,
    /// Whose it is.
    pub uid: u32,
    /// Whether a task used it all the time, so that some queues could not be looked at.
    pub busy: bool,
    /// errno that its next call will get.
    pub error: u32,
    /// Packets for it that were dropped, as far as the kernel counts them.
    pub drops: u32,
    /// Memory of what has arrived.
    pub receive_memory: u32,
    /// Of which so much may be.
    pub receive_limit: u32,
    /// Memory of what is on its way through this machine.
    pub send_memory: u32,
    /// Memory of what is to be sent or acknowledged.
    pub send_queued: u32,
    /// Of which so much may be.
    pub send_limit: u32,
    /// Memory of the backlog.
    pub backlog_memory: u32,
    /// Connections that wait to be accepted.
    pub accept_length: u32,
    /// Of which so many may be.
    pub accept_limit: u32,
    /// What only TCP has; `None` while it is busy, too.
    pub tcp: Option<TcpInfo>,
    /// The queues.
    pub queues: SocketQueues,
}

/// What TCP says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
pub struct TcpInfo {
    /// Bytes that were written and are not acknowledged, as `SIOCOUTQ` counts them.
    pub unacknowledged: u32,
    /// Those of them that were not sent.
    pub unsent: u32,
    /// Bytes that have arrived and were not read.
    pub unread: u32,
    /// Number of the oldest byte that is not acknowledged.
    pub snd_una: u32,
    /// Number of the first byte that was not sent.
    pub snd_nxt: u32,
    /// Number behind the last byte that was written.
    pub write_seq: u32,
    /// Number of the next byte to arrive.
    pub rcv_nxt: u32,
    /// Number of the next byte to be read.
    pub copied_seq: u32,
    /// Bytes that the peer has room for.
    pub snd_wnd: u32,
    /// Bytes that there is room for here.
    pub rcv_wnd: u32,
    /// Congestion window, in packets.
    pub snd_cwnd: u32,
    /// Packets in flight.
    pub packets_out: u32,
    /// Those of them that were sent again.
    pub retrans_out: u32,
    /// Packets taken for lost.
    pub lost_out: u32,
    /// Packets sent again since the connection began.
    pub total_retrans: u32,
    /// Mean round trip.
    pub srtt_us: u32,
    /// After so long without an acknowledgement it sends again.
    pub rto_ms: u32,
    /// Since data was sent last.
    pub last_sent_ms: u32,
    /// Since data was received last.
    pub last_received_ms: u32,
    /// Since an acknowledgement was received last.
    pub last_ack_ms: u32,
    /// What it waits for with what is to be sent: `idle`, `sending`, `window`, `buffer`.
    pub limit: &'static str,
    /// Since when.
    pub limit_ms: u32,
}

/// The queues of a socket. `None`: it could not be looked at, or there is none of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
pub struct SocketQueues {
    /// What was not sent yet.
    pub send: Option<QueueInfo>,
    /// What was sent and is not acknowledged.
    pub retransmit: Option<QueueInfo>,
    /// What has arrived and was not read.
    pub receive: Option<QueueInfo>,
    /// What has arrived with a gap before it.
    pub out_of_order: Option<QueueInfo>,
    /// What has arrived while a task used the socket.
    pub backlog: Option<QueueInfo>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
pub struct QueueInfo {
    /// Buffers in it; if there are more, perhaps only those that were walked.
    pub length: u32,
    /// Whether it has more of them than were walked.
    pub more: bool,
    /// Buffers that were walked: the sums are of these.
    pub walked: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Their memory.
    pub truesize: u64,
    /// The oldest one.
    pub head: Option<BufferInfo>,
    /// The youngest one.
    pub tail: Option<BufferInfo>,
}

/// A buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
pub struct BufferInfo {
    /// TCP: number of its first byte.
    pub seq: Option<u32>,
    /// TCP: number behind its last byte.
    pub end_seq: Option<u32>,
    /// Its bytes.
    pub len: u32,
    /// Those of them that are in pages.
    pub data_len: u32,
    /// Free bytes before them.
    pub headroom: u32,
    /// Free bytes behind them.
    pub tailroom: u32,
    /// Memory that it costs.
    pub truesize: u32,
    /// Since it was sent last, or arrived, if the kernel has stamped it.
    pub age_ns: Option<u64>,
    /// Its data is shared, such as with a driver.
    pub cloned: bool,
    /// It was sent again.
    pub resent: bool,
    /// The peer has it, but not all before it.
    pub sacked: bool,
    /// Taken for lost.
    pub lost: bool,
}

impl From<&SkbuffReport> for SocketInfo {
    fn from(report: &SkbuffReport) -> Self {
        let has = |flag| report.flags & flag != 0;
        let is_tcp = has(SKBUFF_TCP);
        let family = i32::from(report.family);
        let end = |address, port| address_of(family, address).map(|ip| SocketAddr::new(ip, port));
        let queue = |which| report.queues.get(which).and_then(queue_of);
        let of_tcp = |which| queue(which).filter(|_| is_tcp);
        let is_read = queue(skbuff_queue::SEND).is_some();
        SocketInfo {
            own: has(SKBUFF_OWN),
            protocol: protocol(report, is_tcp),
            state: if is_tcp { state(report.state) } else { "-" },
            local: end(report.local, report.local_port),
            remote: end(report.remote, report.remote_port),
            inode: report.inode,
            uid: report.uid,
            busy: has(SKBUFF_BUSY),
            error: report.error,
            drops: report.drops,
            receive_memory: report.receive_memory,
            receive_limit: report.receive_limit,
            send_memory: report.send_memory,
            send_queued: report.send_queued,
            send_limit: report.send_limit,
            backlog_memory: report.backlog_memory,
            accept_length: report.accept_length,
            accept_limit: report.accept_limit,
            tcp: (is_tcp && is_read).then(|| TcpInfo::from(report)),
            queues: SocketQueues {
                send: queue(skbuff_queue::SEND),
                retransmit: of_tcp(skbuff_queue::RETRANSMIT),
                receive: queue(skbuff_queue::RECEIVE),
                out_of_order: of_tcp(skbuff_queue::OUT_OF_ORDER),
                backlog: queue(skbuff_queue::BACKLOG),
            },
        }
    }
}

impl From<&SkbuffReport> for TcpInfo {
    fn from(report: &SkbuffReport) -> Self {
        TcpInfo {
            unacknowledged: report.write_seq.wrapping_sub(report.snd_una),
            unsent: report.write_seq.wrapping_sub(report.snd_nxt),
            unread: report.rcv_nxt.wrapping_sub(report.copied_seq),
            snd_una: report.snd_una,
            snd_nxt: report.snd_nxt,
            write_seq: report.write_seq,
            rcv_nxt: report.rcv_nxt,
            copied_seq: report.copied_seq,
            snd_wnd: report.snd_wnd,
            rcv_wnd: report.rcv_wnd,
            snd_cwnd: report.snd_cwnd,
            packets_out: report.packets_out,
            retrans_out: report.retrans_out,
            lost_out: report.lost_out,
            total_retrans: report.total_retrans,
            srtt_us: report.srtt_us,
            rto_ms: report.rto_ms,
            last_sent_ms: report.last_sent_ms,
            last_received_ms: report.last_received_ms,
            last_ack_ms: report.last_ack_ms,
            limit: match report.limit {
                0 => "idle",
                1 => "sending",
                2 => "window",
                3 => "buffer",
                _ => "?",
            },
            limit_ms: report.limit_ms,
        }
    }
}

fn queue_of(queue: &SkbuffQueue) -> Option<QueueInfo> {
    let has = |flag| queue.flags & flag != 0;
    let buffer = |buffer| (queue.length > 0).then(|| buffer_of(buffer));
    has(SKBUFF_READ).then(|| QueueInfo {
        length: queue.length,
        more: has(SKBUFF_MORE),
        walked: queue.walked,
        bytes: queue.bytes,
        truesize: queue.truesize,
        head: buffer(&queue.head),
        tail: buffer(&queue.tail),
    })
}

fn buffer_of(buffer: &Skbuff) -> BufferInfo {
    let has = |flag| buffer.flags & flag != 0;
    let number = |number| has(SKBUFF_SEQUENCED).then_some(number);
    BufferInfo {
        seq: number(buffer.seq),
        end_seq: number(buffer.end_seq),
        len: buffer.len,
        data_len: buffer.data_len,
        headroom: buffer.headroom,
        tailroom: buffer.tailroom,
        truesize: buffer.truesize,
        age_ns: u64::try_from(buffer.age_ns).ok(),
        cloned: has(SKBUFF_CLONED),
        resent: has(SKBUFF_RESENT),
        sacked: has(SKBUFF_SACKED),
        lost: has(SKBUFF_LOST),
    }
}

/// As people write it: an address of IPv4 in one of IPv6 is one of IPv4.
fn address_of(family: i32, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        libc::AF_INET => {
            let [a, b, c, d, ..] = bytes;
            Some(Ipv4Addr::new(a, b, c, d).into())
        }
        libc::AF_INET6 => Some(Ipv6Addr::from(bytes).to_canonical()),
        _ => None,
    }
}

fn protocol(report: &SkbuffReport, is_tcp: bool) -> String {
    let is_inet = [libc::AF_INET, libc::AF_INET6].contains(&i32::from(report.family));
    let is_udp = i32::from(report.protocol) == libc::IPPROTO_UDP;
    match (is_tcp, is_inet && is_udp) {
        (true, _) => "tcp".to_owned(),
        (_, true) => "udp".to_owned(),
        _ => format!(
            "family {} type {} protocol {}",
            report.family, report.r#type, report.protocol
        ),
    }
}

/// Names of `include/net/tcp_states.h`.
fn state(number: u16) -> &'static str {
    const NAMES: [&str; 13] = [
        "-",
        "established",
        "syn-sent",
        "syn-recv",
        "fin-wait-1",
        "fin-wait-2",
        "time-wait",
        "close",
        "close-wait",
        "last-ack",
        "listen",
        "closing",
        "new-syn-recv",
    ];
    NAMES.get(usize::from(number)).copied().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_not_empty() {
        let mut report = SkbuffReport {
            flags: SKBUFF_TCP | SKBUFF_BUSY,
            family: libc::AF_INET as u16,
            state: 1,
            local_port: 80,
            local: [10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ..SkbuffReport::default()
        };
        let socket = SocketInfo::from(&report);
        assert_eq!(socket.local, "10.9.0.1:80".parse().ok());
        assert!(socket.busy && socket.tcp.is_none() && socket.queues.send.is_none());
        assert_eq!(
            (socket.protocol.as_str(), socket.state),
            ("tcp", "established")
        );

        report.flags = SKBUFF_TCP;
        report.queues[skbuff_queue::SEND].flags = SKBUFF_READ;
        (report.snd_una, report.write_seq) = (u32::MAX, 9);
        let socket = SocketInfo::from(&report);
        assert_eq!(socket.tcp.map(|tcp| tcp.unacknowledged), Some(10));
        let send = socket.queues.send.unwrap();
        assert_eq!((send.length, send.head), (0, None));
    }

    #[test]
    fn addresses_are_as_people_write_them() {
        let mapped = "::ffff:10.9.0.1".parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!(address_of(libc::AF_INET6, mapped), "10.9.0.1".parse().ok());
        assert_eq!(address_of(libc::AF_UNIX, mapped), None);
    }
}
