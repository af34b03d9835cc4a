// SPDX-License-Identifier: GPL-2.0
//! Socket buffer debug: structures of the ioctl, as `include/uapi/linux/virgo_skbuff.h` has them and
//! describes their members.

/// Places of [`SkbuffReport::queues`].
#[expect(missing_docs, reason = "the header describes them")]
pub mod skbuff_queue {
    pub const SEND: usize = 0;
    pub const RETRANSMIT: usize = 1;
    pub const RECEIVE: usize = 2;
    pub const OUT_OF_ORDER: usize = 3;
    pub const BACKLOG: usize = 4;
}

/// Flag of [`Skbuff`]: the numbers of TCP are set.
pub const SKBUFF_SEQUENCED: u32 = 1 << 0;
/// Flag of [`Skbuff`]: its data is shared.
pub const SKBUFF_CLONED: u32 = 1 << 1;
/// Flag of [`Skbuff`]: it was sent again.
pub const SKBUFF_RESENT: u32 = 1 << 2;
/// Flag of [`Skbuff`]: the peer has it, but not all before it.
pub const SKBUFF_SACKED: u32 = 1 << 3;
/// Flag of [`Skbuff`]: taken for lost.
pub const SKBUFF_LOST: u32 = 1 << 4;

/// Flag of [`SkbuffQueue`]: it could be looked at.
pub const SKBUFF_READ: u32 = 1 << 0;
/// Flag of [`SkbuffQueue`]: it has more buffers than were walked.
pub const SKBUFF_MORE: u32 = 1 << 1;

/// Flag of [`SkbuffReport`]: a task used the socket all the time.
pub const SKBUFF_BUSY: u32 = 1 << 0;
/// Flag of [`SkbuffReport`]: the socket is one of VIRGO's own.
pub const SKBUFF_OWN: u32 = 1 << 1;
/// Flag of [`SkbuffReport`]: what is of TCP is set.
pub const SKBUFF_TCP: u32 = 1 << 2;

/// The ioctl of `/dev/virgo`.
pub const IOC_SKBUFF: u64 = (3 << 30) | ((size_of::<SkbuffArgs>() as u64) << 16) | (0xba << 8);

/// A buffer of a queue.
#[expect(missing_docs, reason = "the header describes them")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Skbuff {
    pub seq: u32,
    pub end_seq: u32,
    pub len: u32,
    pub data_len: u32,
    pub headroom: u32,
    pub tailroom: u32,
    pub truesize: u32,
    pub flags: u32,
    pub age_ns: i64,
}

/// A queue of a socket.
#[expect(missing_docs, reason = "the header describes them")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SkbuffQueue {
    pub flags: u32,
    pub length: u32,
    pub walked: u32,
    pub reserved: u32,
    pub bytes: u64,
    pub truesize: u64,
    pub head: Skbuff,
    pub tail: Skbuff,
}

/// A socket and its queues at one moment.
#[expect(missing_docs, reason = "the header describes them")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SkbuffReport {
    pub size: u32,
    pub flags: u32,
    pub number: u64,
    pub inode: u64,
    pub uid: u32,
    pub family: u16,
    pub r#type: u16,
    pub protocol: u16,
    pub state: u16,
    pub local_port: u16,
    pub remote_port: u16,
    pub local: [u8; 16],
    pub remote: [u8; 16],
    pub error: u32,
    pub drops: u32,
    pub receive_memory: u32,
    pub receive_limit: u32,
    pub send_memory: u32,
    pub send_queued: u32,
    pub send_limit: u32,
    pub backlog_memory: u32,
    pub accept_length: u32,
    pub accept_limit: u32,
    pub snd_una: u32,
    pub snd_nxt: u32,
    pub write_seq: u32,
    pub rcv_nxt: u32,
    pub copied_seq: u32,
    pub snd_wnd: u32,
    pub rcv_wnd: u32,
    pub snd_cwnd: u32,
    pub packets_out: u32,
    pub retrans_out: u32,
    pub lost_out: u32,
    pub total_retrans: u32,
    pub srtt_us: u32,
    pub rto_ms: u32,
    pub last_sent_ms: u32,
    pub last_received_ms: u32,
    pub last_ack_ms: u32,
    pub limit: u32,
    pub limit_ms: u32,
    pub reserved: u32,
    pub queues: [SkbuffQueue; 5],
}

/// Arguments of the ioctl.
#[expect(missing_docs, reason = "the header describes them")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SkbuffArgs {
    pub fd: i32,
    pub flags: u32,
    pub number: u64,
    pub report: u64,
    pub size: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Skbuff>() == 40 && align_of::<Skbuff>() == 8);
const _: () = assert!(size_of::<SkbuffQueue>() == 112 && align_of::<SkbuffQueue>() == 8);
const _: () = assert!(size_of::<SkbuffReport>() == 752 && align_of::<SkbuffReport>() == 8);
const _: () = assert!(size_of::<SkbuffArgs>() == 32 && align_of::<SkbuffArgs>() == 8);

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    const HEADER: &str = include_str!("../../../../include/uapi/linux/virgo_skbuff.h");

    /// Members of a structure of the header, in order.
    fn members(structure: &str) -> Vec<&'static str> {
        let start = format!("\nstruct {structure} {{\n");
        let (_, body) = HEADER.split_once(&start).unwrap();
        let (body, _) = body.split_once("\n};").unwrap();
        let name = |line: &'static str| {
            let last = line.split_whitespace().last().unwrap_or_default();
            last.split(['[', ';']).next().unwrap_or_default()
        };
        body.lines().map(name).collect()
    }

    macro_rules! assert_members {
        ($structure:literal, $type:ty, $($member:ident),*) => {
            let names = [$(stringify!($member).trim_start_matches("r#")),*];
            assert_eq!(members($structure), names);
            assert!([$(offset_of!($type, $member)),*].is_sorted());
        };
    }

    #[test]
    fn structures_are_those_of_the_header() {
        assert_members!(
            "virgo_skbuff",
            Skbuff,
            seq,
            end_seq,
            len,
            data_len,
            headroom,
            tailroom,
            truesize,
            flags,
            age_ns
        );
        assert_members!(
            "virgo_skbuff_queue",
            SkbuffQueue,
            flags,
            length,
            walked,
            reserved,
            bytes,
            truesize,
            head,
            tail
        );
        assert_members!(
            "virgo_skbuff_report",
            SkbuffReport,
            size,
            flags,
            number,
            inode,
            uid,
            family,
            r#type,
            protocol,
            state,
            local_port,
            remote_port,
            local,
            remote,
            error,
            drops,
            receive_memory,
            receive_limit,
            send_memory,
            send_queued,
            send_limit,
            backlog_memory,
            accept_length,
            accept_limit,
            snd_una,
            snd_nxt,
            write_seq,
            rcv_nxt,
            copied_seq,
            snd_wnd,
            rcv_wnd,
            snd_cwnd,
            packets_out,
            retrans_out,
            lost_out,
            total_retrans,
            srtt_us,
            rto_ms,
            last_sent_ms,
            last_received_ms,
            last_ack_ms,
            limit,
            limit_ms,
            reserved,
            queues
        );
        assert_members!(
            "virgo_skbuff_args",
            SkbuffArgs,
            fd,
            flags,
            number,
            report,
            size,
            reserved
        );
    }

    #[test]
    fn constants_are_those_of_the_header() {
        let is = |name: &str, value: &str| {
            HEADER.lines().any(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.starts_with(&["#define", &format!("VIRGO_SKBUFF_{name}")])
                    && line.contains(value)
            })
        };
        for (name, place) in [
            ("SEND", skbuff_queue::SEND),
            ("RETRANSMIT", skbuff_queue::RETRANSMIT),
            ("RECEIVE", skbuff_queue::RECEIVE),
            ("OUT_OF_ORDER", skbuff_queue::OUT_OF_ORDER),
            ("BACKLOG", skbuff_queue::BACKLOG),
        ] {
            assert!(is(name, &format!("\t{place} ")), "{name}");
        }
        for (name, flag) in [
            ("SEQUENCED", SKBUFF_SEQUENCED),
            ("CLONED", SKBUFF_CLONED),
            ("RESENT", SKBUFF_RESENT),
            ("SACKED", SKBUFF_SACKED),
            ("LOST", SKBUFF_LOST),
            ("READ", SKBUFF_READ),
            ("MORE", SKBUFF_MORE),
            ("BUSY", SKBUFF_BUSY),
            ("OWN", SKBUFF_OWN),
            ("TCP", SKBUFF_TCP),
        ] {
            assert!(
                is(name, &format!("(1U << {})", flag.trailing_zeros())),
                "{name}"
            );
        }
        // _IOWR(0xba, 0, 32 bytes).
        assert_eq!(IOC_SKBUFF, 0xc020_ba00);
    }
}
