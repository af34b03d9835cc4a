// SPDX-License-Identifier: GPL-2.0
//! Datagrams, and what is no connection at all.

use std::{
    net::UdpSocket,
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    thread,
    time::Duration,
};
use virgo::sockets::{SocketInfo, SocketReader, Stamping};

crate::tests! {
    datagrams_are_counted_as_they_were_sent,
    what_has_no_room_is_a_drop,
    what_goes_to_a_closed_port_is_told,
    stamped_datagrams_have_an_age,
    local_sockets_have_queues_too,
}

fn pair() -> (UdpSocket, UdpSocket) {
    let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("bind"));
    from.connect(to.local_addr().expect("address"))
        .expect("connect");
    (from, to)
}

fn look(socket: &impl AsFd) -> SocketInfo {
    let reader = SocketReader::open().expect("/dev/virgo");
    reader.of(socket.as_fd()).expect("look")
}

/// The ends of what waits, with the lengths in between, also when the kernel has put it into the queue
/// that the program reads from.
fn datagrams_are_counted_as_they_were_sent() {
    let (from, to) = pair();
    let lengths = [10, 200, 3000, 0, 50];
    for length in lengths {
        from.send(&vec![7; length]).expect("send");
    }
    for read in 0..lengths.len() {
        let socket = look(&to);
        let receive = socket.queues.receive.expect("receive");
        let left = &lengths[read..];
        assert_eq!(socket.protocol, "udp");
        assert_eq!(receive.length as usize, left.len());
        assert_eq!(receive.bytes, left.iter().sum::<usize>() as u64);
        let (head, tail) = (receive.head.expect("head"), receive.tail.expect("tail"));
        assert_eq!((head.len as usize, tail.len as usize), (left[0], 50));
        assert_eq!((head.seq, socket.tcp.is_none()), (None, true));
        assert!(socket.receive_memory > 0);
        let mut buffer = [0; 4096];
        assert_eq!(to.recv(&mut buffer).expect("receive"), left[0]);
    }
    assert_eq!(look(&to).queues.receive.expect("receive").length, 0);
}

fn what_has_no_room_is_a_drop() {
    let (from, to) = pair();
    for _ in 0..2000 {
        from.send(&[7; 1000]).expect("send");
    }
    let socket = look(&to);
    let receive = socket.queues.receive.expect("receive");
    assert!(socket.drops > 0);
    assert_eq!(receive.length + socket.drops, 2000);
    assert!(receive.more && receive.walked == 64 && receive.bytes == 64_000);
}

/// The test of `virgo net drops` has these dropped.
fn what_goes_to_a_closed_port_is_told() {
    let (from, to) = pair();
    drop(to);
    // What was dropped before is told by the next call.
    let errors = (0..5).filter(|_| from.send(&[7; 10]).is_err()).count();
    assert!(errors > 0 || look(&from).error != 0);
}

fn stamped_datagrams_have_an_age() {
    let (from, to) = pair();
    let stamping = Stamping::begin().expect("stamping");
    // The kernel switches it on a little later.
    thread::sleep(Duration::from_millis(100));
    from.send(&[7]).expect("send");
    thread::sleep(Duration::from_millis(50));
    let receive = look(&to).queues.receive.expect("receive");
    let age = receive.head.and_then(|head| head.age_ns).expect("age");
    let age = Duration::from_nanos(age);
    assert!(
        age >= Duration::from_millis(50) && age < Duration::from_secs(30),
        "{age:?}"
    );
    drop(stamping);
}

fn local_sockets_have_queues_too() {
    let (from, to) = UnixDatagram::pair().expect("pair");
    from.send(&[7; 33]).expect("send");
    let socket = look(&to);
    assert_eq!(socket.queues.receive.expect("receive").bytes, 33);
    assert_eq!((socket.local, socket.state), (None, "-"));
    assert!(
        socket.protocol.starts_with("family 1 type 2"),
        "{}",
        socket.protocol
    );
    let (from, to) = UnixStream::pair().expect("pair");
    std::io::Write::write_all(&mut &from, &[7; 5]).expect("write");
    assert_eq!(look(&to).queues.receive.expect("receive").bytes, 5);
}
