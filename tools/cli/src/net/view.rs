// SPDX-License-Identifier: GPL-2.0
//! Sockets and their queues, as people read them.

use super::selection::LookedAt;
use crate::output;
use std::{net::SocketAddr, time::Duration};
use virgo::sockets::{BufferInfo, QueueInfo, SocketInfo, TcpInfo};

/// A line for each socket. A queue is its bytes and how many buffers they are in, `+` if there are more
/// than were looked at.
pub(super) fn table(sockets: &[LookedAt]) -> String {
    let header = [
        "SOCKET",
        "STATE",
        "LOCAL",
        "REMOTE",
        "SEND",
        "RETRANSMIT",
        "RECEIVE",
        "DISORDER",
        "BACKLOG",
        "AGE",
        "DROPS",
    ];
    let rows = sockets.iter().map(|at| {
        let socket = &at.socket;
        let mut row = vec![
            whose(at),
            state(socket).to_owned(),
            end(socket.local),
            end(socket.remote),
        ];
        row.extend(queues(socket).map(|(_, queue)| cell(queue, socket.busy)));
        row.push(oldest(socket).map_or("-".to_owned(), age));
        row.push(socket.drops.to_string());
        row
    });
    output::table(header.map(str::to_owned).to_vec(), 4, rows.collect())
}

/// All of each socket.
pub(super) fn details(sockets: &[LookedAt]) -> String {
    let texts: Vec<_> = sockets.iter().map(detail).collect();
    texts.join("\n\n")
}

fn detail(at: &LookedAt) -> String {
    let socket = &at.socket;
    let busy = match socket.busy {
        true => "; it was in use all the time, and not looked at whole",
        false => "",
    };
    let mut text = format!(
        "{} {} {} to {}, inode {}, {}, uid {}{busy}\n\
         memory received {} of {}, to be sent {} of {}, on its way {}; drops {}",
        output::cell(&socket.protocol),
        state(socket),
        end(socket.local),
        end(socket.remote),
        socket.inode,
        output::cell(&whose(at)),
        socket.uid,
        socket.receive_memory,
        socket.receive_limit,
        socket.send_queued,
        socket.send_limit,
        socket.send_memory,
        socket.drops,
    );
    if socket.state == "listen" {
        text += &format!(
            "\nconnections to be accepted {} of {}",
            socket.accept_length, socket.accept_limit
        );
    } else if let Some(tcp) = &socket.tcp {
        text += &of_tcp(tcp);
    }
    let header = [
        "QUEUE", "BUFFERS", "BYTES", "", "SEQ", "END", "LEN", "HEADROOM", "TAILROOM", "AGE",
    ];
    let rows = queues(socket)
        .into_iter()
        .filter_map(|(name, queue)| rows(name, queue?));
    let rows: Vec<_> = rows.flatten().collect();
    if !rows.is_empty() {
        text.push('\n');
        text += &output::table(header.map(str::to_owned).to_vec(), 4, rows);
    }
    text
}

fn of_tcp(tcp: &TcpInfo) -> String {
    format!(
        "\nnot acknowledged {}, not sent {}, not read {}\n\
         peer's window {}, own window {}, congestion window {}, packets out {}, lost {}, sent again {} \
         ({} in all)\n\
         round trip {:.1?}, sends again after {:.1?}; last sent {:.1?} ago, received {:.1?} ago\n\
         sending: {}{}",
        tcp.unacknowledged,
        tcp.unsent,
        tcp.unread,
        tcp.snd_wnd,
        tcp.rcv_wnd,
        tcp.snd_cwnd,
        tcp.packets_out,
        tcp.lost_out,
        tcp.retrans_out,
        tcp.total_retrans,
        Duration::from_micros(tcp.srtt_us.into()),
        Duration::from_millis(tcp.rto_ms.into()),
        Duration::from_millis(tcp.last_sent_ms.into()),
        Duration::from_millis(tcp.last_received_ms.into()),
        match tcp.limit {
            "sending" => "under way",
            "window" => "the peer's window is full",
            "buffer" => "the send buffer is full",
            other => other,
        },
        match tcp.limit {
            "idle" => String::new(),
            _ => format!(", for {:.1?}", Duration::from_millis(tcp.limit_ms.into())),
        },
    )
}

/// The head of a queue, and its tail if that is another buffer.
fn rows(name: &str, queue: &QueueInfo) -> Option<Vec<Vec<String>>> {
    let head = queue.head.as_ref()?;
    let first = [
        name.to_owned(),
        count(u64::from(queue.length), queue.more),
        count(queue.bytes, queue.more),
        "head".to_owned(),
    ];
    let mut rows = vec![buffer(first, head)];
    if let Some(tail) = queue.tail.as_ref().filter(|_| queue.length > 1) {
        let first = ["", "", "", "tail"].map(str::to_owned);
        rows.push(buffer(first, tail));
    }
    Some(rows)
}

fn buffer(first: [String; 4], buffer: &BufferInfo) -> Vec<String> {
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let last = [
        number(buffer.seq),
        number(buffer.end_seq),
        buffer.len.to_string(),
        buffer.headroom.to_string(),
        buffer.tailroom.to_string(),
        buffer.age_ns.map_or("-".to_owned(), age),
    ];
    first.into_iter().chain(last).collect()
}

fn queues(socket: &SocketInfo) -> [(&'static str, Option<&QueueInfo>); 5] {
    let queues = &socket.queues;
    [
        ("send", queues.send.as_ref()),
        ("retransmit", queues.retransmit.as_ref()),
        ("receive", queues.receive.as_ref()),
        ("out of order", queues.out_of_order.as_ref()),
        ("backlog", queues.backlog.as_ref()),
    ]
}

fn cell(queue: Option<&QueueInfo>, busy: bool) -> String {
    match queue {
        None if busy => "?".to_owned(),
        None => "-".to_owned(),
        Some(queue) if queue.length == 0 => "0".to_owned(),
        Some(queue) => format!(
            "{}/{}",
            count(queue.bytes, queue.more),
            count(u64::from(queue.length), queue.more)
        ),
    }
}

fn count(number: u64, more: bool) -> String {
    format!("{number}{}", if more { "+" } else { "" })
}

/// Age of what has waited longest in any queue.
fn oldest(socket: &SocketInfo) -> Option<u64> {
    let heads = queues(socket)
        .into_iter()
        .filter_map(|(_, queue)| queue?.head.as_ref());
    heads.filter_map(|head| head.age_ns).max()
}

fn age(nanoseconds: u64) -> String {
    format!("{:.1?}", Duration::from_nanos(nanoseconds))
}

fn end(address: Option<SocketAddr>) -> String {
    match address {
        Some(address) if address.port() == 0 && address.ip().is_unspecified() => "*".to_owned(),
        Some(address) => address.to_string(),
        None => "-".to_owned(),
    }
}

fn state(socket: &SocketInfo) -> &str {
    match socket.state {
        "-" => &socket.protocol,
        state => state,
    }
}

fn whose(at: &LookedAt) -> String {
    match (&at.program, at.pid) {
        (Some(program), Some(pid)) => format!("{program}[{pid}]"),
        _ => [at.service, at.role]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virgo::sockets::SocketQueues;

    fn socket(send: Option<QueueInfo>, busy: bool) -> LookedAt {
        LookedAt {
            service: Some("mempool"),
            role: Some("link"),
            program: None,
            pid: None,
            socket: SocketInfo {
                own: true,
                protocol: "tcp".to_owned(),
                state: "established",
                local: "10.9.0.1:40000".parse().ok(),
                remote: "10.9.0.2:30000".parse().ok(),
                inode: 7,
                uid: 0,
                busy,
                error: 0,
                drops: 0,
                receive_memory: 0,
                receive_limit: 1,
                send_memory: 0,
                send_queued: 0,
                send_limit: 1,
                backlog_memory: 0,
                accept_length: 0,
                accept_limit: 0,
                tcp: None,
                queues: SocketQueues {
                    send,
                    retransmit: None,
                    receive: None,
                    out_of_order: None,
                    backlog: None,
                },
            },
        }
    }

    #[test]
    fn what_was_not_looked_at_is_told_from_what_is_empty() {
        let head = BufferInfo {
            seq: Some(1),
            end_seq: Some(3),
            len: 2,
            data_len: 0,
            headroom: 320,
            tailroom: 0,
            truesize: 768,
            age_ns: Some(1_500_000),
            cloned: false,
            resent: false,
            sacked: false,
            lost: false,
        };
        let queue = QueueInfo {
            length: 1,
            more: true,
            walked: 1,
            bytes: 2,
            truesize: 768,
            head: Some(head.clone()),
            tail: Some(head),
        };
        let empty = QueueInfo {
            length: 0,
            more: false,
            head: None,
            tail: None,
            ..queue.clone()
        };
        let row = |at| table(&[at]).lines().nth(1).unwrap_or_default().to_owned();
        let cells = |row: String| {
            let cells: Vec<_> = row.split_whitespace().map(str::to_owned).collect();
            cells[5..].join(" ")
        };
        assert_eq!(
            cells(row(socket(Some(queue), false))),
            "2+/1+ - - - - 1.5ms 0"
        );
        assert_eq!(cells(row(socket(Some(empty), false))), "0 - - - - - 0");
        assert_eq!(cells(row(socket(None, true))), "? ? ? ? ? - 0");
        assert!(details(&[socket(None, true)]).contains("not looked at whole"));
    }
}
