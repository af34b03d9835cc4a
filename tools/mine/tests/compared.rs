// SPDX-License-Identifier: GPL-2.0
//! What is estimated, beside what is counted exactly.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    time::Instant,
};
use virgo_mine::{
    Miner,
    exact::Exact,
    follow::{Follower, News},
    line::{self, Line},
    runs::ERROR,
    serve::Server,
    traffic::{DISTINCT_ERROR, SHOWN, TOLERANCE},
};
use virgo_proto::analytics::{STREAM_START, pairs};

/// A generator of numbers, the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`, small ones more often: about as Zipf's law has it.
    fn skewed(&mut self, n: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((n as f64).powf(unit) - 1.0) as u64
    }
}

/// A log of `packets` packets from up to `sources` addresses, as UFW writes it.
fn log(packets: u64, sources: u64) -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut text = String::new();
    for i in 0..packets {
        let source = Ipv4Addr::from(0x0b00_0000 + random.skewed(sources) as u32);
        let port = [22, 23, 80, 443, 3389][random.skewed(5) as usize % 5];
        let (seconds, micros) = (i / 1000, i % 1000 * 1000);
        let _ = writeln!(
            text,
            "Feb 15 10:00:00 node kernel: [{seconds:5}.{micros:06}] [UFW BLOCK] IN=eth0 OUT= \
             MAC=52:54:00:12:34:56 SRC={source} DST=10.0.0.1 LEN=40 TTL=50 PROTO=TCP SPT=4000 \
             DPT={port} WINDOW=1024 SYN"
        );
    }
    text.into_bytes()
}

fn exact(log: &[u8]) -> Exact {
    let mut exact = Exact::default();
    for line in log.split(|&b| b == b'\n') {
        if let Some(Line::Packet(packet)) = line::parse(line) {
            exact.add(&packet);
        }
    }
    exact
}

#[test]
fn sketches_agree_with_exact_counting() {
    let log = log(60_000, 20_000);
    let mut miner = Miner::default();
    // In pieces that cut lines anywhere.
    log.chunks(1013).for_each(|piece| miner.feed(piece));
    miner.end();
    let (traffic, exact) = (&miner.traffic, exact(&log));
    assert_eq!(traffic.packets(), 60_000);
    let allowed = (TOLERANCE * 60_000.0) as u64 + 1;
    let (estimated, counted) = (traffic.top_sources(SHOWN), exact.top_sources(SHOWN));
    println!("source            estimated  exact");
    for &(source, count) in &estimated {
        let truth = exact.source(source);
        println!("{source:<16} {count:>10} {truth:>6}");
        assert!(count.abs_diff(truth) <= allowed, "{source}");
    }
    let least = counted.last().unwrap().1;
    for &(source, _) in &estimated {
        assert!(
            exact.source(source) + 2 * allowed >= least,
            "{source} is none of the first"
        );
    }
    assert_eq!(estimated[0].0, counted[0].0);
    assert_eq!(traffic.top_ports(5), exact.top_ports(5));
    let (about, truth) = (traffic.distinct_sources(), exact.distinct_sources() as f64);
    println!("sources: estimated {about:.0}, exact {truth}");
    assert!((about - truth).abs() <= 4.0 * DISTINCT_ERROR * truth);
    assert_eq!(traffic.rate().burst(), 1000);
    assert!((traffic.rate().mean() - 1000.0).abs() < 1.0);
}

#[test]
fn run_times_agree_with_sorted_ones() {
    let mut random = Random(7);
    let (mut text, mut times) = (String::new(), Vec::new());
    for i in 0..20_000u64 {
        let took = 100 + random.skewed(10_000_000);
        let _ = writeln!(text, "exec {} {} /usr/bin/job", i * 10, i + 1);
        let _ = writeln!(text, "exit {} {} 0", i * 10 + took, i + 1);
        times.push(took as f64 / 1000.0);
    }
    let mut miner = Miner::default();
    miner.feed(text.as_bytes());
    times.sort_by(f64::total_cmp);
    for q in [0.5, 0.9, 0.99] {
        let truth = times[(q * (times.len() - 1) as f64) as usize];
        let about = miner.runs.quantile("/usr/bin/job", q).unwrap();
        println!(
            "p{}: estimated {about:.3} ms, exact {truth:.3} ms",
            q * 100.0
        );
        assert!((about - truth).abs() <= 2.0 * ERROR * truth);
    }
}

#[test]
fn what_is_learnt_is_in_the_grammar_of_the_kernel() {
    let mut miner = Miner::default();
    miner.feed(&log(1000, 50));
    miner.feed(b"exec 1 1 /opt/a b,c={x\nexit 2001 1\n");
    let pairs = miner.pairs();
    let text: String = pairs.iter().map(|(k, v)| format!("{k}={v},")).collect();
    let mut read = Vec::new();
    pairs::parse(text.as_bytes(), |_, pair| {
        read.push((pair.key.to_owned(), pair.value.to_owned()));
        Ok(())
    })
    .unwrap();
    assert_eq!(read, pairs);
    assert!(read.iter().any(|(key, _)| key == "run_ms./opt/a_b_c__x"));
}

fn drain(miner: &mut Miner, follower: &mut Follower) {
    let mut nothing = 0;
    while nothing < 3 {
        match follower.poll().unwrap() {
            News::Bytes(bytes) => miner.feed(bytes),
            News::Restart => miner.end(),
            News::Nothing => nothing += 1,
        }
    }
}

#[test]
fn a_log_that_grows_and_is_rotated_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kern.log");
    let line = "kernel: [    1.000000] [UFW BLOCK] IN= SRC=1.2.3.4 DPT=22 X\n";
    let append = |text: &str| {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let (mut miner, mut follower) = (Miner::default(), Follower::new(path.clone()));
    drain(&mut miner, &mut follower);
    append(line);
    append(&line[..20]);
    drain(&mut miner, &mut follower);
    assert_eq!(miner.traffic.packets(), 1);
    append(&line[20..]);
    drain(&mut miner, &mut follower);
    assert_eq!(miner.traffic.packets(), 2);
    // Put aside, with a last line that comes late, when the new one is there already.
    let mut old = OpenOptions::new().append(true).open(&path).unwrap();
    fs::rename(&path, folder.path().join("kern.log.1")).unwrap();
    append("");
    drain(&mut miner, &mut follower);
    old.write_all(line.as_bytes()).unwrap();
    drain(&mut miner, &mut follower);
    assert_eq!(miner.traffic.packets(), 3);
    append(line);
    drain(&mut miner, &mut follower);
    assert_eq!(miner.traffic.packets(), 4);
    // Cut.
    fs::write(&path, "").unwrap();
    drain(&mut miner, &mut follower);
    append(line);
    drain(&mut miner, &mut follower);
    assert_eq!(miner.traffic.packets(), 5);
}

#[test]
fn nodes_get_the_stream_after_they_have_said_the_word() {
    let mut server = Server::new("127.0.0.1:0").unwrap();
    let address = server.address().unwrap();
    let mut node = TcpStream::connect(address).unwrap();
    node.write_all(STREAM_START).unwrap();
    let mut stranger = TcpStream::connect(address).unwrap();
    stranger.write_all(&[b'x'; STREAM_START.len()]).unwrap();
    assert_eq!(server.send(some("1", "2")), 1);
    let mut said = [0; 8];
    node.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"a=1,b=2\n");
    // What differs only; but all of it to one that comes later.
    let mut late = TcpStream::connect(address).unwrap();
    late.write_all(STREAM_START).unwrap();
    assert_eq!(server.send(some("1", "3")), 2);
    let mut said = [0; 4];
    node.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"b=3\n");
    let mut said = [0; 8];
    late.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"a=1,b=3\n");
}

fn some(a: &str, b: &str) -> Vec<(String, String)> {
    vec![("a".into(), a.into()), ("b".into(), b.into())]
}

#[test]
fn who_is_silent_or_does_not_read_delays_nobody() {
    let mut server = Server::new("127.0.0.1:0").unwrap();
    let address = server.address().unwrap();
    let start = Instant::now();
    let silent: Vec<_> = (0..7)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut node = TcpStream::connect(address).unwrap();
    node.write_all(STREAM_START).unwrap();
    assert_eq!(server.send(some("1", "2")), 1);
    // So many of one address are enough.
    let mut further = TcpStream::connect(address).unwrap();
    further.write_all(STREAM_START).unwrap();
    assert_eq!(server.send(some("1", "3")), 1);
    // It reads nothing, and values go on.
    let long = "x".repeat(4000);
    for i in 0..2500 {
        server.send(some(&format!("{i}"), &format!("{i}{long}")));
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    std::thread::sleep(std::time::Duration::from_millis(2200));
    // Nobody has a place any more.
    assert_eq!(server.send(some("4", "5")), 0);
    drop(silent);
    let mut node = TcpStream::connect(address).unwrap();
    node.write_all(STREAM_START).unwrap();
    assert_eq!(server.send(some("4", "5")), 1);
}

/// Ten million lines take less than 10 s in a release build on a machine of their own. Run it by name,
/// with `--ignored`.
#[test]
#[ignore = "takes long in a debug build"]
fn ten_million_lines() {
    let piece = log(100_000, 100_000);
    let mut miner = Miner::default();
    let start = Instant::now();
    for _ in 0..100 {
        miner.feed(&piece);
    }
    let took = start.elapsed();
    println!("{} lines in {took:?}", miner.lines());
    assert_eq!(miner.lines(), 10_000_000);
}
