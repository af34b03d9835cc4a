/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * VIRGO - what lies in the queues of a socket.
 */
#ifndef _UAPI_LINUX_VIRGO_SKBUFF_H
#define _UAPI_LINUX_VIRGO_SKBUFF_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The queues of a socket. */
#define VIRGO_SKBUFF_SEND		0 /* not sent yet */
#define VIRGO_SKBUFF_RETRANSMIT		1 /* sent, not acknowledged (TCP) */
#define VIRGO_SKBUFF_RECEIVE		2 /* arrived, not read by the program */
#define VIRGO_SKBUFF_OUT_OF_ORDER	3 /* arrived, with a gap before it (TCP) */
#define VIRGO_SKBUFF_BACKLOG		4 /* arrived while a task used the socket */
#define VIRGO_SKBUFF_QUEUES		5

/* A queue is walked so far, which bounds how long its lock is held. */
#define VIRGO_SKBUFF_WALK		64

/* Flags of a buffer. */
#define VIRGO_SKBUFF_SEQUENCED	(1U << 0) /* seq and end_seq are set */
#define VIRGO_SKBUFF_CLONED	(1U << 1) /* its data is shared, such as with a driver */
#define VIRGO_SKBUFF_RESENT	(1U << 2) /* it was sent again */
#define VIRGO_SKBUFF_SACKED	(1U << 3) /* the peer has it, but not all before it */
#define VIRGO_SKBUFF_LOST	(1U << 4) /* taken for lost */

/**
 * struct virgo_skbuff - a buffer of a queue
 * @seq:       TCP: number of its first byte
 * @end_seq:   TCP: number behind its last byte; SYN and FIN count as one
 * @len:       bytes; in a backlog of TCP with the header
 * @data_len:  those of them that are in pages, not behind the headroom
 * @headroom:  free bytes before the data
 * @tailroom:  free bytes behind the data; 0 if some is in pages
 * @truesize:  memory that it costs
 * @flags:     VIRGO_SKBUFF_SEQUENCED and those below
 * @age_ns:    since it was sent last, or arrived; -1 if the kernel has not stamped it
 */
struct virgo_skbuff {
	__u32 seq;
	__u32 end_seq;
	__u32 len;
	__u32 data_len;
	__u32 headroom;
	__u32 tailroom;
	__u32 truesize;
	__u32 flags;
	__s64 age_ns;
};

/* Flags of a queue. */
#define VIRGO_SKBUFF_READ	(1U << 0) /* it could be looked at */
#define VIRGO_SKBUFF_MORE	(1U << 1) /* it has more buffers than were walked */

/**
 * struct virgo_skbuff_queue - a queue of a socket
 * @flags:    VIRGO_SKBUFF_READ, VIRGO_SKBUFF_MORE
 * @length:   buffers in it; with MORE only those walked, if the kernel does not count them
 * @walked:   buffers of which the sums are
 * @reserved: 0
 * @bytes:    sum of their len
 * @truesize: sum of their truesize
 * @head:     the first buffer, which is the oldest; zeros if there is none
 * @tail:     the last buffer; zeros if there is none
 */
struct virgo_skbuff_queue {
	__u32 flags;
	__u32 length;
	__u32 walked;
	__u32 reserved;
	__aligned_u64 bytes;
	__aligned_u64 truesize;
	struct virgo_skbuff head;
	struct virgo_skbuff tail;
};

/* Flags of a report. */
#define VIRGO_SKBUFF_BUSY	(1U << 0) /* a task used the socket all the time */
#define VIRGO_SKBUFF_OWN	(1U << 1) /* it is one of VIRGO's own */
#define VIRGO_SKBUFF_TCP	(1U << 2) /* what is of TCP is set */

/* What TCP waits for with bytes that it has not sent. */
#define VIRGO_SKBUFF_IDLE		0 /* nothing is to be sent */
#define VIRGO_SKBUFF_SENDING		1 /* the network, or the congestion window */
#define VIRGO_SKBUFF_WINDOW		2 /* the peer's window is full */
#define VIRGO_SKBUFF_BUFFER		3 /* the program had no room in the send buffer */

/**
 * struct virgo_skbuff_report - a socket and its queues at one moment
 * @size:             bytes of this structure that the kernel knows
 * @flags:            VIRGO_SKBUFF_BUSY and those below
 * @number:           of VIRGO's own sockets: names it among these; otherwise 0
 * @inode:            names it on this machine, as in /proc/net; 0 if it is closed
 * @uid:              whose it is
 * @family:           AF_*
 * @type:             SOCK_*
 * @protocol:         IPPROTO_*
 * @state:            of TCP, as in /proc/net/tcp
 * @local_port:       in the order of the machine
 * @remote_port:      as that
 * @local:            address: all bytes of IPv6, the first four of IPv4
 * @remote:           as that
 * @error:            errno that the next call will get, or 0
 * @drops:            packets for it that were dropped, as far as the kernel counts them
 * @receive_memory:   memory of what has arrived
 * @receive_limit:    of which so much may be
 * @send_memory:      memory of what is on its way through this machine
 * @send_queued:      memory of what is to be sent or acknowledged
 * @send_limit:       of which so much may be
 * @backlog_memory:   memory of the backlog
 * @accept_length:    connections that wait to be accepted
 * @accept_limit:     of which so many may be
 * @snd_una:          oldest byte that is not acknowledged; this and what follows is TCP's
 * @snd_nxt:          first byte that was not sent; @snd_nxt - @snd_una are in flight
 * @write_seq:        behind the last byte that was written; @write_seq - @snd_una is SIOCOUTQ
 * @rcv_nxt:          next byte that is to arrive
 * @copied_seq:       next byte to be read; @rcv_nxt - @copied_seq is SIOCINQ
 * @snd_wnd:          bytes that the peer has room for, from @snd_una on
 * @rcv_wnd:          bytes that there was room for here, when the peer was told last
 * @snd_cwnd:         congestion window, in packets
 * @packets_out:      packets in flight
 * @retrans_out:      packets in flight that were sent again
 * @lost_out:         packets taken for lost
 * @total_retrans:    packets sent again since the connection began
 * @srtt_us:          mean round trip
 * @rto_ms:           after so long without an acknowledgment it sends again
 * @last_sent_ms:     since data was sent last
 * @last_received_ms: since data was received last
 * @last_ack_ms:      since an acknowledgment was received last
 * @limit:            VIRGO_SKBUFF_IDLE and those below
 * @limit_ms:         since when
 * @reserved:         0
 * @queues:           by VIRGO_SKBUFF_SEND and those below
 */
struct virgo_skbuff_report {
	__u32 size;
	__u32 flags;
	__aligned_u64 number;
	__aligned_u64 inode;
	__u32 uid;
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 state;
	__u16 local_port;
	__u16 remote_port;
	__u8 local[16];
	__u8 remote[16];
	__u32 error;
	__u32 drops;
	__u32 receive_memory;
	__u32 receive_limit;
	__u32 send_memory;
	__u32 send_queued;
	__u32 send_limit;
	__u32 backlog_memory;
	__u32 accept_length;
	__u32 accept_limit;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 snd_wnd;
	__u32 rcv_wnd;
	__u32 snd_cwnd;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 lost_out;
	__u32 total_retrans;
	__u32 srtt_us;
	__u32 rto_ms;
	__u32 last_sent_ms;
	__u32 last_received_ms;
	__u32 last_ack_ms;
	__u32 limit;
	__u32 limit_ms;
	__u32 reserved;
	struct virgo_skbuff_queue queues[VIRGO_SKBUFF_QUEUES];
};

/**
 * struct virgo_skbuff_args - have a report written
 * @fd:       descriptor of the socket; -1: the next one of VIRGO's own
 * @flags:    must be 0
 * @number:   with @fd -1: the number of the one before, 0 for the first
 * @report:   user address of a struct virgo_skbuff_report
 * @size:     bytes there; of a larger structure than the kernel knows the rest becomes 0
 * @reserved: must be 0
 */
struct virgo_skbuff_args {
	__s32 fd;
	__u32 flags;
	__aligned_u64 number;
	__aligned_u64 report;
	__u32 size;
	__u32 reserved;
};

/*
 * An ioctl of /dev/virgo, which must be open for reading and writing. It needs CAP_NET_ADMIN.
 * Errors: EPERM; EBADF, ENOTSOCK: @fd; ENOENT: there is no further socket; EINTR: the task is
 * being killed; EINVAL, E2BIG, EFAULT, ENOMEM.
 */
#define VIRGO_IOC_SKBUFF	_IOWR(0xba, 0, struct virgo_skbuff_args)

#endif /* _UAPI_LINUX_VIRGO_SKBUFF_H */
