// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    errno::Errno,
    fence::{Fence, FenceClaim},
    queue::record::{Choice, Cookie, Record, RecordKind, Scan, Scanned, Survey, FORMAT},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};
use zerocopy::IntoBytes as _;

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    let mut sum = u64::from(seed);
    for &byte in bytes {
        sum = sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte);
    }
    (sum ^ (sum >> 32)) as u32
}

/// A file: what is on disk, and writes of which any part may be lost.
#[derive(Clone, Default)]
struct Disk {
    synced: Vec<u8>,
    /// What readers see while the machine runs.
    cached: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl Disk {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        let at = at as usize;
        put(&mut self.cached, at, bytes);
        self.unsynced.push((at, bytes.to_vec()));
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.cached);
        self.unsynced.clear();
    }

    /// What is there after a crash: of each write that was not brought to disk a part, its end
    /// or its start, as `dice` say.
    fn crash(&self, dice: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for (at, write) in &self.unsynced {
            let cut = dice(write.len() + 1);
            match dice(3) {
                0 => put(&mut bytes, at + cut, &write[cut..]),
                1 => put(&mut bytes, *at, &write[..cut]),
                _ => (),
            }
        }
        bytes
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn bytes_of(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = vec![];
    let put = |part: &[u8]| {
        bytes.extend_from_slice(part);
        Ok::<_, ()>(())
    };
    record.write(Cookie(77), crc, put).unwrap().unwrap();
    bytes
}

/// A queue: number of the next message, those that it has, and which lock guards it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Queue {
    next: u64,
    messages: BTreeSet<u64>,
    fence: Fence,
    /// Tells it from a deleted one of its name; a reader does not know it. It is the name of its lock, too.
    made: u64,
}

/// The lock that guards the queue which was made so, granted with this token.
fn claim(made: u64, token: u64) -> Option<FenceClaim> {
    Some(FenceClaim::new(&made.to_le_bytes(), token).unwrap())
}

type Queues = BTreeMap<u8, Queue>;

/// What a record does to the queues that a reader makes.
fn apply(queues: &mut Queues, record: &Record<'_>) {
    let Some(&name) = record.queue.first() else {
        return;
    };
    match record.kind {
        RecordKind::Create => {
            queues.entry(name).or_default();
        }
        RecordKind::Delete => {
            queues.remove(&name);
        }
        RecordKind::Publish => {
            let queue = queues.entry(name).or_default();
            queue.messages.insert(record.seq);
            queue.next = queue.next.max(record.seq + 1);
        }
        RecordKind::Done => {
            if let Some(queue) = queues.get_mut(&name) {
                queue.messages.remove(&record.seq);
            }
        }
        RecordKind::Next => {
            let queue = queues.entry(name).or_default();
            queue.next = queue.next.max(record.seq);
        }
        RecordKind::Fence => {
            let queue = queues.entry(name).or_default();
            // One that is behind what is known changes nothing.
            let _ = queue.fence.admit(record.claim());
        }
        RecordKind::Begin | RecordKind::Whole => (),
    }
}

/// What a reader finds: the files, the queues, which file counts, and its generation.
type Read = ([Vec<u8>; 2], Queues, Choice, u64);

fn read(disks: &[Vec<u8>; 2]) -> (Queues, Choice, u64) {
    let survey = |bytes: &[u8]| {
        let (mut survey, mut scan) = (Survey::default(), Scan::new(bytes, crc));
        while let Ok(Some(found)) = scan.find_next() {
            survey.count(&found);
        }
        survey
    };
    let surveys = [survey(&disks[0]), survey(&disks[1])];
    let choice = Choice::of(&surveys).unwrap();
    let mut queues = Queues::new();
    let mut scan = Scan::new(&disks[choice.active][..], crc);
    while let Ok(Some(found)) = scan.find_next() {
        if let Scanned::Record { record, .. } = found {
            apply(&mut queues, &record);
        }
    }
    (queues, choice, surveys[choice.active].generation)
}

fn messages(queues: &Queues) -> BTreeSet<(u8, u64)> {
    let all = queues.iter();
    all.flat_map(|(&name, queue)| queue.messages.iter().map(move |&seq| (name, seq)))
        .collect()
}

/// Something that happens to a queue.
#[derive(Clone, Debug)]
enum Event {
    Create(u8),
    Delete(u8),
    Publish(u8),
    /// The oldest message is done.
    Done(u8),
    /// Somebody comes with the queue's lock, and a larger token.
    Raise(u8),
    /// What is pending is written.
    Write,
    /// And brought to disk; whoever waits is told.
    Commit,
    /// A rewrite begins.
    Begin,
    /// One step of a rewrite is done; of a snapshot one queue.
    Step,
    /// The disk refuses: the rewrite is given up.
    GiveUp,
    Crash,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let name = 0..3u8;
    let event = prop_oneof![
        1 => name.clone().prop_map(Event::Create),
        1 => name.clone().prop_map(Event::Delete),
        6 => name.clone().prop_map(Event::Publish),
        4 => name.clone().prop_map(Event::Done),
        3 => name.prop_map(Event::Raise),
        4 => Just(Event::Write),
        3 => Just(Event::Commit),
        2 => Just(Event::Begin),
        12 => Just(Event::Step),
        1 => Just(Event::GiveUp),
        1 => Just(Event::Crash),
    ];
    prop::collection::vec(event, 1..120)
}

/// The writer of the log, and the queues.
struct World {
    disks: [Disk; 2],
    files: Files,
    /// What is not written yet.
    pending: Vec<u8>,
    queues: Queues,
    /// Queues of which the snapshot under way has nothing yet.
    snapshot: Vec<u8>,
    /// Messages of which somebody was told that they are there. Names are not used again, so
    /// that a queue's number says which one it is.
    told: BTreeSet<(u8, u64)>,
    /// All that were ever published, and all of which it may be that they are done.
    published: BTreeSet<(u8, u64)>,
    done: BTreeSet<(u8, u64)>,
    /// Those of which it is on disk that they are done, or their queue deleted.
    gone: BTreeSet<(u8, u64)>,
    pending_told: Vec<(u8, u64)>,
    pending_gone: Vec<(u8, u64)>,
    /// Queues that were made, and the last token.
    made: u64,
    token: u64,
    /// All queues and tokens for which somebody came.
    claimed: Vec<(u64, u64)>,
    /// Tokens of which somebody was told that the queue has seen them, and such of which nobody was yet.
    raised: BTreeMap<u8, u64>,
    pending_raised: BTreeMap<u8, u64>,
}

impl World {
    fn new() -> Self {
        let mut world = World {
            disks: Default::default(),
            files: Files::new(0, 0, 0),
            pending: vec![],
            queues: Queues::new(),
            snapshot: vec![],
            told: BTreeSet::new(),
            published: BTreeSet::new(),
            done: BTreeSet::new(),
            gone: BTreeSet::new(),
            pending_told: vec![],
            pending_gone: vec![],
            made: 0,
            token: 1,
            claimed: vec![],
            raised: BTreeMap::new(),
            pending_raised: BTreeMap::new(),
        };
        world.rewrite();
        world
    }

    /// A whole rewrite, as when the log is opened.
    fn rewrite(&mut self) {
        self.begin();
        while self.files.step() != Step::Nothing {
            self.step();
        }
    }

    fn begin(&mut self) {
        self.files.begin();
        self.snapshot = self.queues.keys().copied().collect();
    }

    fn append(&mut self, kind: RecordKind, name: u8, seq: u64) {
        let queue = [name];
        let record = Record {
            seq,
            queue: &queue,
            ..Record::new(kind)
        };
        self.pending.extend(bytes_of(&record));
    }

    fn create(&mut self, name: u8) {
        if self.queues.contains_key(&name) {
            return;
        }
        self.made += 1;
        let queue = Queue {
            made: self.made,
            ..Queue::default()
        };
        self.queues.insert(name, queue);
        self.append(RecordKind::Create, name, 0);
    }

    fn raise(&mut self, name: u8) {
        let Some(queue) = self.queues.get_mut(&name) else {
            return;
        };
        self.token += 1;
        let claim = claim(queue.made, self.token);
        assert_eq!(queue.fence.admit(claim), Ok(()));
        self.claimed.push((queue.made, self.token));
        self.pending_raised.insert(name, self.token);
        let (queue, token) = ([name], claim.unwrap().to_wire());
        let record = Record {
            queue: &queue,
            data: token.as_bytes(),
            ..Record::new(RecordKind::Fence)
        };
        self.pending.extend(bytes_of(&record));
    }

    fn write(&mut self) {
        if self.files.may_append() {
            let bytes = std::mem::take(&mut self.pending);
            let at = self.files.size();
            self.disks[self.files.active()].write(at, &bytes);
            self.files.appended(bytes.len() as u64);
        }
    }

    fn commit(&mut self) {
        if self.files.may_append() {
            self.write();
            self.disks[self.files.active()].sync();
            self.told.extend(self.pending_told.drain(..));
            self.gone.extend(self.pending_gone.drain(..));
            self.raised.append(&mut self.pending_raised);
        }
    }

    /// Puts a part of the snapshot into the next file.
    fn put(&mut self, file: FileIndex, record: &Record<'_>) {
        let bytes = bytes_of(record);
        self.disks[file].write(self.files.snapshot_at(), &bytes);
        self.files.wrote_snapshot(bytes.len() as u64);
    }

    fn step(&mut self) {
        match self.files.step() {
            Step::Nothing => return,
            Step::Clear(file) => self.disks[file] = Disk::default(),
            Step::Snapshot(file) => {
                if self.files.snapshot_at() == 0 {
                    let seq = self.files.next_generation();
                    self.put(
                        file,
                        &Record {
                            seq,
                            priority: FORMAT,
                            ..Record::new(RecordKind::Begin)
                        },
                    );
                }
                if let Some(name) = self.snapshot.pop() {
                    // Gone meanwhile: its former state may be shown all the same.
                    let shown = self.queues.get(&name).cloned().unwrap_or_default();
                    let queue = [name];
                    let record = |kind, seq| Record {
                        seq,
                        queue: &queue,
                        ..Record::new(kind)
                    };
                    self.put(file, &record(RecordKind::Create, 0));
                    self.put(file, &record(RecordKind::Next, shown.next));
                    if let Some(claim) = shown.fence.seen() {
                        let token = claim.to_wire();
                        let fence = Record {
                            data: token.as_bytes(),
                            ..record(RecordKind::Fence, 0)
                        };
                        self.put(file, &fence);
                    }
                    for seq in shown.messages {
                        self.put(file, &record(RecordKind::Publish, seq));
                    }
                    return;
                }
            }
            Step::Copy { from, to, len } => {
                let at = from.1 as usize;
                let bytes = self.disks[from.0].cached[at..at + len as usize].to_vec();
                self.disks[to.0].write(to.1, &bytes);
            }
            Step::Sync(file) | Step::Seal(file) => self.disks[file].sync(),
            Step::Whole(file, at) => {
                let seq = self.files.next_generation();
                let record = Record {
                    seq,
                    ..Record::new(RecordKind::Whole)
                };
                self.disks[file].write(at, &bytes_of(&record));
            }
            // Not brought to disk: all of it may still be there.
            Step::Empty(file) => {
                self.disks[file].cached.clear();
                self.disks[file].unsynced.clear();
            }
        }
        self.files.done();
    }

    /// What a reader finds if the machine stops now.
    fn look(&self, dice: &mut impl FnMut(usize) -> usize) -> Result<Read, TestCaseError> {
        let disks = [self.disks[0].crash(dice), self.disks[1].crash(dice)];
        let (queues, choice, generation) = read(&disks);
        let there = messages(&queues);
        for message in &self.told {
            let kept = there.contains(message) || self.done.contains(message);
            prop_assert!(kept, "{message:?} is lost");
        }
        for message in &there {
            prop_assert!(self.published.contains(message), "{message:?} never was");
            prop_assert!(!self.gone.contains(message), "{message:?} has come back");
        }
        self.look_at_fences(&queues)?;
        Ok((disks, queues, choice, generation))
    }

    /// What a queue has seen, as somebody was told, it has seen: a smaller token is refused, and the latest
    /// is not. No lock of a deleted queue guards the next of its name.
    fn look_at_fences(&self, found: &Queues) -> Result<(), TestCaseError> {
        for (name, token) in &self.raised {
            let made = self.queues[name].made;
            let fence = found.get(name).map_or(Fence::OPEN, |queue| queue.fence);
            let admits = |claim| {
                let mut fence = fence;
                fence.admit(claim)
            };
            prop_assert_eq!(admits(claim(made, token - 1)), Err(Errno::ESTALE));
            prop_assert_eq!(admits(None), Err(Errno::ENOLCK));
            prop_assert_eq!(admits(claim(made, self.token)), Ok(()));
        }
        for (name, seq) in self.told.difference(&self.done) {
            let (queue, found) = (&self.queues[name], &found[name]);
            let of = found.fence.seen().map(|seen| self.queue_of(seen));
            prop_assert!(of.is_none_or(|of| of == queue.made), "{name} {seq}: {of:?}");
        }
        Ok(())
    }

    /// Which queue somebody came for with this claim.
    fn queue_of(&self, seen: FenceClaim) -> u64 {
        let mut claimed = self.claimed.iter();
        let found = claimed.find(|(made, token)| claim(*made, *token) == Some(seen));
        found.unwrap().0
    }

    /// The machine stops, and goes on with what there is.
    fn crash(&mut self, dice: &mut impl FnMut(usize) -> usize) -> Result<(), TestCaseError> {
        let (disks, mut queues, choice, generation) = self.look(dice)?;
        let there = messages(&queues);
        self.done = self.published.difference(&there).copied().collect();
        self.gone = self.done.clone();
        self.told = there;
        (self.pending_told, self.pending_gone) = (vec![], vec![]);
        self.pending.clear();
        self.pending_raised.clear();
        self.raised.clear();
        for (name, queue) in &mut queues {
            self.made += 1;
            queue.made = self.made;
            if let Some(seen) = queue.fence.seen() {
                queue.made = self.queue_of(seen);
                let token = |(made, token): &&(u64, u64)| claim(*made, *token) == Some(seen);
                self.raised
                    .insert(*name, self.claimed.iter().find(token).unwrap().1);
            }
        }
        self.queues = queues;
        let [first, second] = disks;
        self.disks = [first, second].map(|bytes| Disk {
            synced: bytes.clone(),
            cached: bytes,
            unsynced: vec![],
        });
        let size = self.disks[choice.active].synced.len() as u64;
        self.files = Files::new(choice.active, size, generation);
        self.rewrite();
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Queues are made, filled, emptied and deleted while rewrites begin, go on, are given up and
    /// the machine stops at any step: what somebody was told is there is there, no fence is behind what
    /// somebody was told of it, and nothing comes back of which it was on disk that it is gone.
    #[test]
    fn nothing_is_lost_at_any_moment(events in events(), seed: u64) {
        let mut random = seed | 1;
        let mut dice = |sides: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % sides as u64) as usize
        };
        let mut world = World::new();
        // A deleted queue's name is used again, with numbers that go on, which tells them apart.
        let mut numbers = [1u64; 3];
        for event in events.into_iter().chain([Event::Commit, Event::Crash]) {
            match event {
                Event::Create(name) => world.create(name),
                Event::Delete(name) => {
                    if let Some(queue) = world.queues.remove(&name) {
                        world.append(RecordKind::Delete, name, 0);
                        world.raised.remove(&name);
                        world.pending_raised.remove(&name);
                        let all = queue.messages.into_iter().map(|seq| (name, seq));
                        for message in all {
                            world.done.insert(message);
                            world.pending_gone.push(message);
                        }
                    }
                }
                Event::Publish(name) => {
                    if let Some(queue) = world.queues.get_mut(&name) {
                        let seq = numbers[usize::from(name)];
                        numbers[usize::from(name)] += 1;
                        queue.messages.insert(seq);
                        queue.next = seq + 1;
                        world.append(RecordKind::Publish, name, seq);
                        world.published.insert((name, seq));
                        world.pending_told.push((name, seq));
                    }
                }
                Event::Done(name) => {
                    let queue = world.queues.get_mut(&name);
                    if let Some(seq) = queue.and_then(|queue| queue.messages.pop_first()) {
                        world.append(RecordKind::Done, name, seq);
                        world.done.insert((name, seq));
                        world.pending_gone.push((name, seq));
                    }
                }
                Event::Raise(name) => world.raise(name),
                Event::Write => world.write(),
                Event::Commit => world.commit(),
                Event::Begin => {
                    world.files.give_up();
                    world.begin();
                }
                Event::Step => world.step(),
                Event::GiveUp => world.files.give_up(),
                Event::Crash => world.crash(&mut dice)?,
            }
            world.look(&mut dice)?;
        }
    }
}
