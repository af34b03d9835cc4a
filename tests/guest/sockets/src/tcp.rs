// SPDX-License-Identifier: GPL-2.0
//! Connections: what is said of their queues is what was written, and changes nothing in them.
#![expect(unsafe_code, reason = "ioctls write to an int")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use virgo::sockets::{SocketInfo, SocketReader, TcpInfo};

crate::tests! {
    full_queues_are_what_was_written,
    looking_changes_nothing,
    a_listener_has_no_queues_but_connections,
    sockets_come_and_go_while_others_look,
}

/// Bytes of a write.
const PART: usize = 10_000;

/// How long what is on its way may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (client, server)
}

/// What the kernel counts for programs.
fn count(stream: &TcpStream, request: libc::c_ulong) -> u32 {
    let mut count: libc::c_int = -1;
    // SAFETY: Both requests write an int.
    let returned = unsafe { libc::ioctl(stream.as_raw_fd(), request as _, &raw mut count) };
    assert_eq!(returned, 0, "ioctl {request:#x}");
    u32::try_from(count).expect("a count")
}

fn look(reader: &SocketReader, stream: &TcpStream) -> (SocketInfo, TcpInfo) {
    let socket = reader.of(stream.as_fd()).expect("look");
    assert!(!socket.busy && !socket.own);
    let tcp = socket.tcp.clone().expect("TCP");
    (socket, tcp)
}

/// The byte at a place of the stream.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// Writes until nothing is taken any more; returns how many bytes went.
fn fill(stream: &mut TcpStream) -> usize {
    stream.set_nonblocking(true).expect("nonblocking");
    let mut written = 0;
    let mut idle = Instant::now();
    // The peer's window grows for a while.
    while idle.elapsed() < Duration::from_millis(300) {
        let part: Vec<_> = (written..written + PART).map(byte).collect();
        match stream.write(&part) {
            Ok(some) => {
                written += some;
                idle = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
    }
    written
}

fn full_queues_are_what_was_written() {
    let reader = SocketReader::open().expect("/dev/virgo");
    let (mut client, server) = pair();
    let start = Instant::now();
    let written = fill(&mut client);
    assert!(written > 100_000, "{written}");
    let (socket, tcp) = look(&reader, &client);
    let (other, received) = look(&reader, &server);

    assert_eq!(socket.local, Some(client.local_addr().expect("address")));
    assert_eq!(socket.remote, Some(client.peer_addr().expect("address")));
    assert_eq!(
        (socket.protocol.as_str(), socket.state),
        ("tcp", "established")
    );
    let inode = rustix::fs::fstat(&client).expect("stat").st_ino;
    assert_eq!((socket.inode, socket.uid), (inode, 0));

    // As the kernel counts it, as the program does, and by the sequence numbers.
    assert_eq!(tcp.unacknowledged, count(&client, libc::TIOCOUTQ));
    assert_eq!(received.unread, count(&server, libc::FIONREAD));
    assert_eq!(
        tcp.unacknowledged as usize + received.unread as usize,
        written
    );
    assert_eq!(received.rcv_nxt, tcp.snd_una);

    // Each queue, as far as it was walked.
    let send = socket.queues.send.expect("send");
    assert!(send.length > 0 && send.walked <= 64);
    assert_eq!(send.more, send.length > send.walked);
    assert!(send.more || send.bytes == u64::from(tcp.unsent));
    let (head, tail) = (send.head.expect("head"), send.tail.expect("tail"));
    assert_eq!(head.seq, Some(tcp.snd_nxt));
    assert_eq!(tail.end_seq, Some(tcp.write_seq));
    assert!(head.len > 0 && head.truesize > head.len && head.data_len <= head.len);
    if let Some(sent) = socket.queues.retransmit.expect("retransmit").head {
        assert_eq!(sent.seq, Some(tcp.snd_una));
        assert!(
            sent.age_ns
                .is_some_and(|age| u128::from(age) <= start.elapsed().as_nanos())
        );
    }
    let receive = other.queues.receive.expect("receive");
    assert!(receive.more || receive.bytes == u64::from(received.unread));
    let (head, tail) = (receive.head.expect("head"), receive.tail.expect("tail"));
    assert_eq!(head.seq, Some(received.copied_seq));
    assert_eq!(tail.end_seq, Some(received.rcv_nxt));
    assert_eq!(other.queues.out_of_order.expect("out of order").length, 0);
    assert_eq!(other.queues.backlog.expect("backlog").length, 0);
    assert!(other.receive_memory > 0 && socket.send_queued > 0);
}

/// All bytes come as they were written, however often somebody looks.
fn looking_changes_nothing() {
    let (mut client, mut server) = pair();
    let written = fill(&mut client);
    client.shutdown(Shutdown::Write).expect("shutdown");
    thread::scope(|scope| {
        let look_on = scope.spawn(|| {
            let reader = SocketReader::open().expect("/dev/virgo");
            let end = Instant::now() + PATIENCE;
            let mut looks = 0;
            loop {
                let socket = reader.of(server.as_fd()).expect("look");
                let other = reader.of(client.as_fd()).expect("look");
                looks += 1;
                // The FIN has been read by the kernel, and nothing is left.
                let is_over = socket.tcp.is_some_and(|tcp| tcp.unread <= 1)
                    && other.tcp.is_some_and(|tcp| tcp.unacknowledged == 0);
                if is_over {
                    return looks;
                }
                assert!(Instant::now() < end, "it does not end");
            }
        });
        let mut read = 0;
        let mut part = vec![0; PART];
        loop {
            let some = (&server).read(&mut part).expect("read");
            if some == 0 {
                break;
            }
            let expected: Vec<_> = (read..read + some).map(byte).collect();
            assert!(
                part[..some] == expected,
                "within {some} bytes from {read} on"
            );
            read += some;
        }
        assert_eq!(read, written);
        assert!(look_on.join().expect("looks") > 0);
    });
    assert_eq!(server.read(&mut [0]).expect("read"), 0);
}

fn a_listener_has_no_queues_but_connections() {
    let reader = SocketReader::open().expect("/dev/virgo");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let _clients = [(); 3].map(|()| TcpStream::connect(address).expect("connect"));
    let socket = reader.of(listener.as_fd()).expect("look");
    assert_eq!(socket.state, "listen");
    assert_eq!(socket.accept_length, 3);
    assert!(socket.accept_limit >= 3);
    assert_eq!(socket.queues.send.expect("send").length, 0);
    assert_eq!(socket.queues.receive.expect("receive").length, 0);
}

/// Each look is at a socket in whatever state it happens to be.
fn sockets_come_and_go_while_others_look() {
    let end = Instant::now() + Duration::from_secs(2);
    thread::scope(|scope| {
        // Whoever makes them waits for the other: each that waits is an open file.
        let (to_look_at, taken) = mpsc::sync_channel::<TcpStream>(8);
        scope.spawn(move || {
            let reader = SocketReader::open().expect("/dev/virgo");
            for stream in taken {
                // Closed by the other end meanwhile, perhaps.
                reader.of(stream.as_fd()).expect("look");
                let own: Vec<_> = reader.own().collect::<Result<_, _>>().expect("own");
                assert!(own.iter().all(|socket| socket.own));
            }
        });
        while Instant::now() < end {
            let (mut client, server) = pair();
            let copy = server.try_clone().expect("clone");
            client.write_all(&[1; 100]).expect("write");
            to_look_at.send(copy).expect("send");
            drop(client);
            drop(server);
        }
    });
}
