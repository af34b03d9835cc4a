// SPDX-License-Identifier: GPL-2.0
//! What captures see, and what they say of what they do not.

use crate::{
    Test,
    gadget::Zero,
    rounds::Rounds,
    support::{PATIENCE, errno, open, pattern, run},
};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fs::OFlags,
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use virgo_usb::{live::Live, packet::Packet, record};

pub(crate) const TESTS: &[Test] = &[
    ("a_capture_has_every_byte", a_capture_has_every_byte),
    (
        "a_capture_is_filtered_and_cut",
        a_capture_is_filtered_and_cut,
    ),
    ("losses_are_counted", losses_are_counted),
    ("wrong_filters_are_refused", wrong_filters_are_refused),
    ("usbmon_and_umb_exclude_each_other", usbmon),
    ("captures_come_and_go_under_traffic", captures_come_and_go),
    ("captures_are_bounded", captures_are_bounded),
    (
        "captures_are_shared_between_users",
        captures_are_shared_between_users,
    ),
    ("many_who_poll_are_woken", many_who_poll_are_woken),
];

/// The setup packets that a capture has seen by now.
pub(crate) fn setups(live: &mut Live) -> Vec<[u8; 8]> {
    let mut setups = Vec::new();
    live.drain(|record| {
        setups.extend(record.packet.setup());
        Ok(())
    })
    .expect("capture");
    setups
}

/// Captures while `traffic` goes on, and until there is nothing more.
pub(crate) fn captured(filter: &str, traffic: impl FnOnce()) -> (Vec<Packet<'static>>, u64) {
    let mut live = Live::start(filter).expect("capture");
    traffic();
    let (mut packets, mut lost) = (Vec::new(), 0);
    loop {
        let before = packets.len();
        live.read(Duration::from_millis(300), |record| {
            packets.push(record.packet.clone().into_owned());
            lost += u64::from(record.lost);
            Ok(())
        })
        .expect("read");
        if packets.len() == before {
            return (packets, lost);
        }
    }
}

/// Sends `data` through gadget zero, and takes it back.
fn round_trip(zero: &Zero, data: &[u8]) {
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    for part in data.chunks(8192) {
        file.write_all(part).expect("write");
        let mut back = vec![0; part.len()];
        file.read_exact(&mut back).expect("read");
        assert!(back == part, "the data has changed");
    }
}

/// The data of all packets of a kind, one behind the other.
fn data(packets: &[Packet<'_>], event: char, input: bool) -> Vec<u8> {
    packets
        .iter()
        .filter(|p| p.event() == event && (p.endpoint().endpoint & 0x80 != 0) == input)
        .flat_map(|p| p.data().to_vec())
        .collect()
}

fn a_capture_has_every_byte() {
    let zero = Zero::loopback();
    let sent = pattern(200_000, 5);
    let (bus, device) = zero.address;
    let filter = format!("bus={bus} device={device} type=bulk");
    let (packets, lost) = captured(&filter, || round_trip(&zero, &sent));
    assert_eq!(lost, 0);
    assert!(data(&packets, 'S', false) == sent, "what was written");
    assert!(data(&packets, 'C', true) == sent, "what was read");
    // Every completion was submitted before.
    for packet in packets
        .iter()
        .filter(|p| p.event() == 'C' && p.status() == 0)
    {
        let submitted = packets
            .iter()
            .any(|p| p.event() == 'S' && p.id() == packet.id());
        assert!(submitted || packet.endpoint().endpoint & 0x80 != 0);
    }
}

fn a_capture_is_filtered_and_cut() {
    let zero = Zero::loopback();
    let sent = pattern(4000, 6);
    let (bus, device) = zero.address;
    let filter = format!("bus={bus} device={device} type=bulk dir=out event=submit snap=100");
    let (packets, _) = captured(&filter, || round_trip(&zero, &sent));
    assert!(!packets.is_empty());
    let mut whole = 0;
    for packet in &packets {
        assert_eq!(
            (packet.event(), packet.endpoint().endpoint & 0x80),
            ('S', 0)
        );
        assert_eq!(packet.data().len(), packet.urb_len().min(100) as usize);
        whole += packet.urb_len();
    }
    assert_eq!(whole, 4000);
    assert_eq!(packets[0].data(), &sent[..100]);
    let other = format!("bus={}", bus + 1);
    let (packets, _) = captured(&other, || round_trip(&zero, &sent));
    assert_eq!(packets, []);
}

fn losses_are_counted() {
    let zero = Zero::loopback();
    let (bus, device) = zero.address;
    let filter = format!("bus={bus} device={device} type=bulk ring=65536");
    let sent = pattern(1 << 20, 7);
    let mut live = Live::start(&filter).expect("capture");
    round_trip(&zero, &sent);
    let (mut seen, mut lost) = (0u64, 0u64);
    let mut count = |record: &record::CaptureRecord<'_>| {
        seen += 1;
        lost += u64::from(record.lost);
        Ok(())
    };
    live.drain(&mut count).expect("read");
    // Nothing has come since: that is told by itself.
    let behind = u64::from(live.lost_behind());
    // And by the next packet.
    round_trip(&zero, b"one more");
    live.read(Duration::from_secs(1), &mut count).expect("read");
    // 128 pieces, each submitted and completed in both directions.
    assert!(lost > 0 && seen + lost >= 512, "{seen} seen, {lost} lost");
    assert!(behind > 0 && behind <= lost, "{behind} of {lost}");
    assert_eq!(live.lost_behind(), 0);
}

fn wrong_filters_are_refused() {
    let mut file = open("/dev/umbmon", OFlags::NONBLOCK).expect("open");
    assert_eq!(errno(file.write(b"color=red")), libc::EINVAL);
    assert_eq!(errno(file.write(&[b' '; 300])), libc::EINVAL);
    file.write_all(b"type=control").expect("filter");
    assert_eq!(errno(file.write(b"type=control")), libc::EBUSY);
    assert_eq!(errno(file.read(&mut [0; 1024])), libc::EAGAIN);
}

/// Loaded once only: usbmon leaves its class behind, and says so when it is loaded again.
fn usbmon() {
    let zero = Zero::loopback();
    run(&["modprobe", "usbmon"]);
    let error = Live::start("").err().expect("usbmon has the slot");
    assert!(format!("{error:#}").contains("rmmod usbmon"), "{error:#}");
    // It gives the slot back before it ends what is monitored: who has the slot too early sees nothing.
    let unloading = thread::spawn(|| run(&["rmmod", "usbmon"]));
    let start = Instant::now();
    let mut live = loop {
        match Live::start("type=bulk ring=65536") {
            Ok(live) => break live,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error:#}"),
        }
    };
    unloading.join().expect("rmmod");
    round_trip(&zero, b"to be seen");
    let mut seen = 0;
    live.drain(|_| {
        seen += 1;
        Ok(())
    })
    .expect("capture");
    assert!(seen > 0, "the capture is blind");
}

fn captures_come_and_go() {
    let rounds = Rounds {
        debug: 10,
        slim: 30,
        soak: 1000,
    };
    let zero = Zero::loopback();
    let ended = Arc::new(AtomicBool::new(false));
    let traffic = {
        let (ended, path) = (ended.clone(), zero.path.clone());
        thread::spawn(move || {
            let mut file = open(&path, OFlags::empty()).expect("open");
            // Less than a packet, which the gadget would keep until it has some more.
            let mut back = [0; 500];
            while !ended.load(Ordering::Relaxed) {
                file.write_all(&[7; 500]).expect("write");
                file.read_exact(&mut back).expect("read");
            }
        })
    };
    for round in 0..rounds.count() {
        let live: Vec<_> = (0..1 + round % 3)
            .map(|_| Live::start("snap=64 ring=65536").expect("capture"))
            .collect();
        for mut live in live {
            live.read(Duration::from_millis(20), |_| Ok(()))
                .expect("read");
        }
    }
    ended.store(true, Ordering::Relaxed);
    traffic.join().expect("traffic");
    drop(zero);
    run(&["rmmod", "umb"]);
    run(&["insmod", "/lib/virgo/umb.ko"]);
    crate::gadget::add_id(0x0525, 0xa4a0);
}

fn captures_are_bounded() {
    let captures: Vec<_> = (0..8)
        .map(|_| Live::start("ring=65536").expect("capture"))
        .collect();
    let error = Live::start("ring=65536").err().expect("the ninth");
    assert!(format!("{error:#}").contains("8 captures"), "{error:#}");
    drop(captures);
    let large = Live::start("ring=33554432").expect("capture");
    let more = Live::start("ring=33554432").expect("capture");
    let error = Live::start("ring=65536").err().expect("beyond the budget");
    assert!(format!("{error:#}").contains("memory"), "{error:#}");
    drop((large, more));
}

/// A user other than root may have half of them.
#[expect(unsafe_code, reason = "a thread with a uid of its own")]
fn captures_are_shared_between_users() {
    let open = |_| open("/dev/umbmon", OFlags::NONBLOCK).expect("open");
    let files: Vec<File> = (0..5).map(open).collect();
    let user = thread::spawn(move || {
        // SAFETY: For the kernel the uid is the thread's. Nobody else notices, and the thread ends.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
        assert_eq!(changed, 0, "{}", io::Error::last_os_error());
        let start = |mut file: &File| file.write(b"ring=65536").map_err(|e| e.raw_os_error());
        let started: Vec<_> = files.iter().map(start).collect();
        (files, started)
    });
    let (files, started) = user.join().expect("user");
    assert!(started[..4].iter().all(Result::is_ok), "{started:?}");
    assert_eq!(started[4], Err(Some(libc::EDQUOT)));
    // The others are left for others.
    let others: Vec<_> = (0..4)
        .map(|_| Live::start("ring=65536").expect("capture"))
        .collect();
    drop((files, others));
}

/// More than are woken where something happens.
fn many_who_poll_are_woken() {
    let zero = Zero::loopback();
    let open = |path: &str| open(path, OFlags::NONBLOCK).expect("open");
    let (mut capture, device) = (open("/dev/umbmon"), open(&zero.path));
    capture.write_all(b"type=bulk dir=out").expect("filter");
    let waiting = |file: &File| -> Vec<OwnedFd> {
        let one = |_| {
            let waiting = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
            let data = epoll::EventData::new_u64(0);
            epoll::add(&waiting, file, data, epoll::EventFlags::IN).expect("epoll");
            waiting
        };
        (0..300).map(one).collect()
    };
    let waiting: Vec<_> = [&device, &capture].into_iter().flat_map(waiting).collect();
    open(&zero.path).write_all(b"wake up").expect("write");
    let timeout = Timespec::try_from(PATIENCE).expect("a short time");
    for one in &waiting {
        let mut events = Vec::with_capacity(1);
        epoll::wait(one, spare_capacity(&mut events), Some(&timeout)).expect("epoll");
        assert_eq!(events.len(), 1, "somebody was not woken");
    }
}
