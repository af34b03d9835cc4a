// SPDX-License-Identifier: GPL-2.0
//! Devices that are broken or lie, and drivers that survive them.

use crate::{
    Test, gadget, isochronous,
    raw_gadget::{Event, ID, Played, RawGadget},
    rounds::Rounds,
    support::{errno, open, polled, wait_for},
};
use fastrand::Rng;
use rustix::{event::PollFlags, fs::OFlags};
use std::{
    io::{self, Read, Write},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use virgo_usb::live::Live;

pub(crate) const TESTS: &[Test] = &[
    ("short_and_empty_packets", short_and_empty_packets),
    ("a_stall_is_told_and_ended", a_stall_is_told_and_ended),
    (
        "a_stall_does_not_hold_up_poll",
        a_stall_does_not_hold_up_poll,
    ),
    ("a_stall_of_output_is_ended", a_stall_of_output_is_ended),
    (
        "an_interrupt_endpoint_is_read",
        an_interrupt_endpoint_is_read,
    ),
    ("random_devices_do_no_harm", random_devices_do_no_harm),
];

/// Bulk endpoints 1 in and 2 out.
const BULK: [[u8; 7]; 2] = [[7, 5, 0x81, 2, 0, 2, 0], [7, 5, 0x02, 2, 0, 2, 0]];
/// Interrupt endpoint 1 in.
const INTERRUPT: [[u8; 7]; 1] = [[7, 5, 0x81, 3, 64, 0, 4]];

fn device_descriptor(id: (u16, u16)) -> Vec<u8> {
    let mut descriptor = vec![18, 1, 0, 2, 0, 0, 0, 64, 0, 0, 0, 0, 0, 1, 1, 2, 3, 1];
    descriptor[8..10].copy_from_slice(&id.0.to_le_bytes());
    descriptor[10..12].copy_from_slice(&id.1.to_le_bytes());
    descriptor
}

fn configuration(endpoints: &[[u8; 7]]) -> Vec<u8> {
    let mut descriptor = vec![9, 2, 0, 0, 1, 1, 0, 0x80, 50];
    descriptor.extend([9, 4, 0, 0, endpoints.len() as u8, 255, 0, 0, 0]);
    descriptor.extend(endpoints.concat());
    let len = descriptor.len() as u16;
    descriptor[2..4].copy_from_slice(&len.to_le_bytes());
    descriptor
}

/// Answers the host until it has chosen the configuration, then enables `endpoints`. Returns their numbers.
fn enumerate(
    gadget: &RawGadget,
    device: &[u8],
    configuration: &[u8],
    endpoints: &[[u8; 7]],
) -> io::Result<Vec<u16>> {
    loop {
        let Event::Control(setup) = gadget.event()? else {
            continue;
        };
        if let [0, 9, ..] = setup {
            let enabled: io::Result<Vec<u16>> =
                endpoints.iter().map(|e| gadget.enable(*e)).collect();
            gadget.configured()?;
            gadget.acknowledge(0)?;
            return enabled;
        }
        describe(gadget, setup, device, configuration);
    }
}

/// Answers a question for descriptors.
fn describe(gadget: &RawGadget, setup: [u8; 8], device: &[u8], configuration: &[u8]) {
    let len = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
    let cut = |bytes: &[u8]| bytes[..bytes.len().min(len)].to_vec();
    // The host may have gone on to something else meanwhile: then answers fail.
    let _ = match (setup[0], setup[1], setup[3]) {
        (0x80, 6, 1) => gadget.answer(&cut(device)),
        (0x80, 6, 2) => gadget.answer(&cut(configuration)),
        (0x80, 6, 3) => gadget.answer(&cut(&[4, 3, b'x', 0])),
        _ => gadget.stall(),
    };
}

/// Answers the host when it resets the device, for ever, and tells `resets` once that is done: slowly, so that it can
/// be seen what the host does meanwhile.
fn answer_resets(
    gadget: &RawGadget,
    device: &[u8],
    configuration: &[u8],
    stalled: u16,
    resets: &mpsc::Sender<()>,
) {
    while let Ok(event) = gadget.event() {
        match event {
            Event::Control([0, 9, ..]) => {
                gadget.clear_halt(stalled).expect("clear");
                gadget.acknowledge(0).expect("acknowledge");
                resets.send(()).expect("the sender");
            }
            Event::Control(setup) => {
                if let [0x80, 6, _, 1, ..] = setup {
                    thread::sleep(Duration::from_millis(500));
                }
                describe(gadget, setup, device, configuration);
            }
            Event::Other => (),
        }
    }
}

/// Answers control transfers for ever, on a thread.
fn answer_controls(gadget: &RawGadget) {
    loop {
        match gadget.event() {
            // Clearing a halt is acknowledged.
            Ok(Event::Control([0x02, ..])) => drop(gadget.acknowledge(0)),
            Ok(Event::Control(_)) => drop(gadget.stall()),
            Ok(Event::Other) => (),
            Err(_) => return,
        }
    }
}

/// Plays a device, for ever. `main` calls this in a process of its own.
pub(crate) fn play(name: &str, seed: u64) {
    let gadget = RawGadget::plug().expect("raw-gadget");
    let device = device_descriptor(ID);
    let played = match name {
        "short" => enumerate(&gadget, &device, &configuration(&BULK), &BULK).map(|e| {
            for data in [&b"one"[..], b"", b"", b"three", &[7; 512], b"", b"end"] {
                gadget.send(e[0], data).expect("send");
            }
            answer_controls(&gadget);
        }),
        "stall" => enumerate(&gadget, &device, &configuration(&BULK), &BULK).map(|e| {
            thread::scope(|scope| {
                scope.spawn(|| answer_controls(&gadget));
                gadget.send(e[0], b"before").expect("send");
                // Not before the host has taken what was sent.
                while gadget.halt(e[0]).is_err() {
                    thread::sleep(Duration::from_millis(5));
                }
                // Once the host has cleared the halt.
                while gadget.send(e[0], b"after").is_err() {
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }),
        // Stalls until it is reset, whatever the host does.
        "resettable" => {
            let configuration = configuration(&BULK);
            enumerate(&gadget, &device, &configuration, &BULK).map(|e| {
                let (tell, resets) = mpsc::channel();
                thread::scope(|scope| {
                    let (gadget, device, stalled) = (&gadget, &device, e[0]);
                    scope.spawn(move || {
                        answer_resets(gadget, device, &configuration, stalled, &tell);
                    });
                    gadget.send(e[0], b"before").expect("send");
                    while gadget.halt(e[0]).is_err() {
                        thread::sleep(Duration::from_millis(5));
                    }
                    for () in resets {
                        while gadget.send(e[0], b"after").is_err() {
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                });
            })
        }
        // Does not answer, also when it is asked to end the stall.
        "mute" => enumerate(&gadget, &device, &configuration(&BULK), &BULK).map(|e| {
            gadget.send(e[0], b"before").expect("send");
            while gadget.halt(e[0]).is_err() {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(Duration::from_secs(3600));
        }),
        // Sends back what comes after the stall.
        "deaf" => enumerate(&gadget, &device, &configuration(&BULK), &BULK).map(|e| {
            thread::scope(|scope| {
                scope.spawn(|| answer_controls(&gadget));
                gadget.halt(e[1]).expect("halt");
                loop {
                    let data = gadget.receive(e[1], 512).expect("receive");
                    gadget.send(e[0], &data).expect("send");
                }
            });
        }),
        "isochronous" => {
            let configuration = configuration(&[isochronous::ENDPOINT]);
            enumerate(&gadget, &device, &configuration, &[]).map(|_| answer_controls(&gadget))
        }
        "interrupt" => {
            enumerate(&gadget, &device, &configuration(&INTERRUPT), &INTERRUPT).map(|e| {
                for n in 0u8.. {
                    gadget.send(e[0], &[n; 8]).expect("send");
                }
            })
        }
        _ => random(&gadget, &mut Rng::with_seed(seed)),
    };
    if let Err(error) = played {
        // A random device may not be usable at all.
        if name != "random" {
            panic!("{name}: {error}");
        }
        thread::sleep(Duration::from_secs(3600));
    }
}

/// A device with random faults in its descriptors, that then does anything.
fn random(gadget: &RawGadget, random: &mut Rng) -> io::Result<()> {
    let mut device = device_descriptor(ID);
    let mut config = configuration(&BULK);
    // More interfaces and endpoints than it says, or less.
    for _ in 0..random.usize(..3) {
        let class = random.choice([255, 3, 8, 2]).expect("a class");
        config.extend([
            9,
            4,
            random.u8(..3),
            random.u8(..2),
            random.u8(..5),
            class,
            1,
            1,
            0,
        ]);
        for _ in 0..random.usize(..3) {
            config.extend([
                7,
                5,
                random.u8(..),
                random.u8(..4),
                random.u8(..),
                random.u8(..8),
                random.u8(..),
            ]);
        }
    }
    if random.bool() {
        let len = config.len() as u16;
        config[2..4].copy_from_slice(&len.to_le_bytes());
        config[4] = random.u8(..4);
    }
    for _ in 0..random.usize(..4) {
        let at = random.usize(4..config.len());
        config[at] = random.u8(..);
    }
    if random.u8(..4) == 0 {
        let at = random.usize(..8);
        device[at] = random.u8(..);
    }
    if random.u8(..4) == 0 {
        config.truncate(random.usize(..config.len()));
    }
    let endpoints = enumerate(gadget, &device, &config, &BULK)?;
    thread::scope(|scope| {
        scope.spawn(|| answer_controls(gadget));
        loop {
            let _ = match random.u8(..8) {
                0 => gadget.halt(endpoints[random.usize(..2)]),
                1 => gadget
                    .receive(endpoints[1], random.usize(1..2000))
                    .map(drop),
                2 => gadget.send(endpoints[0], &[]),
                _ => gadget.send(endpoints[0], &vec![random.u8(..); random.usize(..2000)]),
            };
        }
    })
}

/// Umb has the device that is played.
pub(crate) fn bound() -> gadget::Zero {
    wait_for("umb to bind the device", || gadget::find(ID.0, ID.1))
}

fn short_and_empty_packets() {
    let _device = Played::start("short", 0);
    let mut file = open(&bound().path, OFlags::empty()).expect("open");
    let mut received = Vec::new();
    while !received.ends_with(b"end") {
        let mut part = [0; 4096];
        let n = file.read(&mut part).expect("read");
        assert!(n > 0, "an empty packet is no end of file");
        received.extend_from_slice(&part[..n]);
    }
    assert_eq!(received, [&b"onethree"[..], &[7; 512], b"end"].concat());
}

fn a_stall_is_told_and_ended() {
    let _device = Played::start("stall", 0);
    let mut file = open(&bound().path, OFlags::empty()).expect("open");
    let mut text = [0; 64];
    let n = file.read(&mut text).expect("read");
    assert_eq!(&text[..n], b"before");
    // The next read clears it. Several URBs may have met it.
    let mut told = 0;
    loop {
        match file.read(&mut text) {
            Ok(n) => break assert_eq!(&text[..n], b"after"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPIPE)),
        }
        told += 1;
    }
    assert!(told > 0, "nobody was told of the stall");
}

/// A poll does not wait for the device to end a stall; it says that a read would do that.
fn a_stall_does_not_hold_up_poll() {
    let _device = Played::start("mute", 0);
    let mut file = open(&bound().path, OFlags::NONBLOCK).expect("open");
    let mut text = [0; 64];
    let mut read = || file.read(&mut text).map(|n| text[..n].to_vec());
    let before = wait_for("data", || read().ok());
    assert_eq!(before, b"before");
    wait_for("the stall", || {
        let stalled = errno(read()) == libc::EPIPE;
        stalled.then_some(())
    });
    let start = Instant::now();
    assert!(polled(&file, PollFlags::IN, 1000).contains(PollFlags::IN));
    assert!(start.elapsed() < Duration::from_secs(3), "{start:?}");
}

fn a_stall_of_output_is_ended() {
    let _device = Played::start("deaf", 0);
    let mut file = open(&bound().path, OFlags::empty()).expect("open");
    file.write_all(b"lost").expect("write");
    assert_eq!(errno(file.sync_all()), libc::EPIPE);
    file.write_all(b"after").expect("write");
    let mut text = [0; 64];
    let n = file.read(&mut text).expect("read");
    assert_eq!(&text[..n], b"after");
}

fn an_interrupt_endpoint_is_read() {
    let _device = Played::start("interrupt", 0);
    let mut file = open(&bound().path, OFlags::empty()).expect("open");
    let mut reports = [0; 80];
    file.read_exact(&mut reports).expect("read");
    for (n, report) in reports.chunks(8).enumerate() {
        assert_eq!(report, [n as u8; 8]);
    }
    // It cannot be written to.
    assert_eq!(errno(file.write(b"x")), libc::EOPNOTSUPP);
    assert_eq!(polled(&file, PollFlags::OUT, 0), PollFlags::empty());
}

/// Random devices are plugged in, captured, opened, used and pulled out at any time.
fn random_devices_do_no_harm() {
    let rounds = Rounds {
        debug: 15,
        slim: 60,
        soak: 10_000,
    };
    let mut random = Rng::new();
    let seed = random.u64(..);
    println!("seed {seed}");
    random.seed(seed);
    let mut live = Live::start("snap=256").expect("capture");
    let mut used = 0;
    for round in 0..rounds.count() as u64 {
        let device = Played::start("random", seed.wrapping_add(round));
        let end = Instant::now() + Duration::from_millis(random.u64(200..2000));
        while Instant::now() < end {
            let Some(found) = gadget::find(ID.0, ID.1) else {
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            // It may be gone by now.
            let Ok(mut file) = open(&found.path, OFlags::NONBLOCK) else {
                continue;
            };
            used += 1;
            for _ in 0..random.usize(..20) {
                let _ = match random.u8(..3) {
                    0 => file.write(&vec![1; random.usize(..20_000)]),
                    1 => file.read(&mut vec![0; random.usize(..20_000)]),
                    _ => Ok(usize::from(polled(&file, PollFlags::IN, 5).bits())),
                };
            }
        }
        drop(device);
        live.read(Duration::ZERO, |_| Ok(())).expect("capture");
    }
    println!("{used} times used");
    assert!(used > 0, "no device could be used");
    wait_for("the last device to go", || {
        gadget::find(ID.0, ID.1).is_none().then_some(())
    });
}
