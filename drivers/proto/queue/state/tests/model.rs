// SPDX-License-Identifier: GPL-2.0

//! Whatever is done with a queue, it does what a simple model of it does.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push { priority: u8, delay: u64 },
    Take(u64),
    TakeAcked,
    Ack(usize),
    GiveBack(usize, u64),
    Untake(usize),
    Gone(u64),
    Wait(u64),
    Replay,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, prop_oneof![3 => Just(0), 1 => 1..20u64])
            .prop_map(|(priority, delay)| Step::Push { priority, delay }),
        3 => (0..3u64).prop_map(Step::Take),
        1 => Just(Step::TakeAcked),
        2 => any::<usize>().prop_map(Step::Ack),
        1 => (any::<usize>(), 0..5u64).prop_map(|(i, d)| Step::GiveBack(i, d)),
        1 => any::<usize>().prop_map(Step::Untake),
        1 => (0..3u64).prop_map(Step::Gone),
        2 => (0..15u64).prop_map(Step::Wait),
        1 => Just(Step::Replay),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Ready,
    Delayed(u64),
    Leased {
        consumer: u64,
        until: u64,
        order: usize,
        id: u64,
    },
    Kept,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    priority: u8,
    deliveries: u32,
    at: At,
}

/// A queue as one would explain it: all messages in one vector, those that are ready in the order
/// in which they go out.
struct Model {
    all: Vec<Entry>,
    next: u64,
    order: usize,
    limits: QueueLimits,
    dead: u64,
}

impl Model {
    fn live(&self) -> usize {
        self.all.iter().filter(|e| e.at != At::Kept).count()
    }

    fn leased(&self) -> usize {
        self.all
            .iter()
            .filter(|e| matches!(e.at, At::Leased { .. }))
            .count()
    }

    fn ready(&mut self, index: usize) {
        let mut entry = self.all.remove(index);
        entry.at = At::Ready;
        let older = |e: &Entry| {
            e.at != At::Ready
                || e.priority != entry.priority
                || (e.deliveries > 0 && e.seq < entry.seq)
        };
        let place = match entry.deliveries {
            0 => self.all.len(),
            _ => self
                .all
                .iter()
                .position(|e| !older(e))
                .unwrap_or(self.all.len()),
        };
        self.all.insert(place, entry);
    }

    fn priorities(&self) -> impl Iterator<Item = u8> + '_ {
        let ready = self.all.iter().filter(|e| e.at == At::Ready);
        ready.map(|e| e.priority)
    }

    fn first_of(&self, priority: u8) -> Option<usize> {
        self.all
            .iter()
            .position(|e| e.at == At::Ready && e.priority == priority)
    }

    fn next(&self) -> Option<usize> {
        self.first_of(self.priorities().max()?)
    }

    /// A delivery that did not come about: the message is the first of its kind again.
    fn untake(&mut self, index: usize) {
        let mut entry = self.all.remove(index);
        entry.deliveries -= 1;
        entry.at = At::Ready;
        let first = |e: &Entry| {
            e.at == At::Ready
                && e.priority == entry.priority
                && match entry.deliveries {
                    0 => e.deliveries == 0,
                    _ => e.deliveries == 0 || e.seq > entry.seq,
                }
        };
        let place = self.all.iter().position(first);
        self.all.insert(place.unwrap_or(self.all.len()), entry);
    }

    fn drop_oldest(&mut self) -> Option<u32> {
        let index = self.first_of(self.priorities().min()?)?;
        Some(self.all.remove(index).seq as u32)
    }

    fn back(&mut self, index: usize, now: u64, delay: u64) {
        let entry = &mut self.all[index];
        if entry.deliveries >= self.limits.deliveries {
            self.all.remove(index);
            self.dead += 1;
        } else if delay == 0 {
            self.ready(index);
        } else {
            entry.at = At::Delayed(now + delay);
        }
    }

    fn acked(&mut self, index: usize) {
        let mut entry = self.all.remove(index);
        entry.at = At::Kept;
        self.all.push(entry);
        let kept = |e: &Entry| e.at == At::Kept;
        while self.all.iter().filter(|e| kept(e)).count() > self.limits.keep as usize {
            let first = self.all.iter().position(kept).unwrap();
            self.all.remove(first);
        }
    }

    /// Those that are out, in the order in which they went out: consumer, number, delivery.
    fn leases(&self) -> Vec<(u64, u64, u64)> {
        let mut leases: Vec<_> = self
            .all
            .iter()
            .filter_map(|e| match e.at {
                At::Leased {
                    consumer,
                    order,
                    id,
                    ..
                } => Some((order, consumer, e.seq, id)),
                _ => None,
            })
            .collect();
        leases.sort_unstable();
        leases
            .iter()
            .map(|&(_, consumer, seq, id)| (consumer, seq, id))
            .collect()
    }

    fn index(&self, seq: u64) -> usize {
        self.all.iter().position(|e| e.seq == seq).unwrap()
    }

    fn tick(&mut self, now: u64) {
        loop {
            let due = self.all.iter().filter_map(|e| match e.at {
                At::Delayed(due) if due <= now => Some((due, e.seq)),
                _ => None,
            });
            let Some((_, seq)) = due.min() else { break };
            self.ready(self.index(seq));
        }
        for (_, seq, _) in self.leases() {
            let index = self.index(seq);
            if matches!(self.all[index].at, At::Leased { until, .. } if until <= now) {
                self.back(index, now, 0);
            }
        }
    }
}

proptest! {
    #[test]
    fn does_what_the_model_does(
        steps in prop::collection::vec(step(), 0..200),
        policy in prop::sample::select(&[OverflowPolicy::Reject, OverflowPolicy::DropOldest]),
    ) {
        let limits = QueueLimits {
            messages: 12,
            bytes: 1 << 20,
            leased: 4,
            policy,
            ack_ms: 10,
            deliveries: 3,
            keep: 4,
        };
        let mut q = queue(limits);
        let mut m = Model { all: vec![], next: 1, order: 0, limits, dead: 0 };
        let mut now = 0;
        for step in steps {
            match step {
                Step::Push { priority, delay } => {
                    let mut gone = None;
                    let room = q.make_room(10, OWNER, |item| gone = Some(item)) == Room::Yes;
                    let full = m.live() >= limits.messages as usize;
                    let expected = match (full, policy) {
                        (true, OverflowPolicy::DropOldest) => m.drop_oldest(),
                        _ => None,
                    };
                    prop_assert_eq!((gone, room), (expected, !full || expected.is_some()));
                    if room {
                        let push = Push { priority, delay_ms: delay, ..plain(m.next as u32) };
                        prop_assert_eq!(q.push(now, push), Ok(m.next));
                        let at = At::Delayed(now + delay);
                        m.all.push(Entry { seq: m.next, priority, deliveries: 0, at });
                        if delay == 0 {
                            m.ready(m.all.len() - 1);
                        }
                        m.next += 1;
                    }
                }
                Step::Take(consumer) => {
                    let expected = m.next().filter(|_| m.leased() < limits.leased as usize);
                    let taken = q.take(now, consumer);
                    let id = taken.as_ref().map_or(0, |t| t.id);
                    prop_assert_eq!(
                        taken.map(|t| (t.seq, t.deliveries)),
                        expected.map(|i| (m.all[i].seq, m.all[i].deliveries + 1))
                    );
                    if let Some(index) = expected {
                        let until = now + u64::from(limits.ack_ms);
                        m.order += 1;
                        m.all[index].deliveries += 1;
                        m.all[index].at = At::Leased { consumer, until, order: m.order, id };
                    }
                }
                Step::TakeAcked => {
                    let expected = m.next();
                    let taken = q.take_acked();
                    prop_assert_eq!(taken.map(|t| t.seq), expected.map(|i| m.all[i].seq));
                    if let Some(index) = expected {
                        m.all[index].deliveries += 1;
                        m.acked(index);
                    }
                }
                Step::Ack(which) => {
                    let leases = m.leases();
                    if let Some(&(consumer, seq, id)) = leases.get(which % leases.len().max(1)) {
                        prop_assert_eq!(q.ack(consumer + 100, id), Err(NotHeld));
                        prop_assert_eq!(q.ack(consumer, id), Ok((seq, None)));
                        prop_assert_eq!(q.ack(consumer, id), Err(NotHeld));
                        m.acked(m.index(seq));
                    }
                }
                Step::GiveBack(which, delay) => {
                    let leases = m.leases();
                    if let Some(&(consumer, seq, id)) = leases.get(which % leases.len().max(1)) {
                        prop_assert_eq!(q.give_back(now, consumer, id, delay), Ok(()));
                        m.back(m.index(seq), now, delay);
                    }
                }
                Step::Untake(which) => {
                    let leases = m.leases();
                    if let Some(&(consumer, seq, id)) = leases.get(which % leases.len().max(1)) {
                        prop_assert_eq!(q.untake(consumer, id), Ok(()));
                        m.untake(m.index(seq));
                    }
                }
                Step::Gone(consumer) => {
                    let held = m.leases().into_iter().filter(|&(h, ..)| h == consumer);
                    let held: Vec<_> = held.collect();
                    prop_assert_eq!(give_all_back(&mut q, now, consumer), held.len() as u32);
                    for (_, seq, _) in held {
                        m.back(m.index(seq), now, 0);
                    }
                }
                Step::Wait(ms) => {
                    now += ms;
                    tick(&mut q, now);
                    m.tick(now);
                }
                Step::Replay => {
                    let kept = m.all.iter().filter(|e| e.at == At::Kept).map(|e| e.seq);
                    let room = limits.messages as usize - m.live();
                    let kept: Vec<_> = kept.take(room).collect();
                    prop_assert_eq!(replay(&mut q, 0), kept.len() as u32);
                    for seq in kept {
                        m.ready(m.index(seq));
                    }
                }
            }
            while q.forget().is_some() {}
            while q.take_dead().is_some() {}
            prop_assert_eq!(q.len() as usize, m.live());
            prop_assert_eq!(q.leased() as usize, m.leased());
            prop_assert_eq!(q.kept() as usize, m.all.len() - m.live());
            prop_assert_eq!(q.bytes(), m.all.len() as u64 * 10);
            prop_assert_eq!(q.counts().dead, m.dead);
        }
        while q.remove_any().is_some() {}
        prop_assert_eq!((q.len(), q.kept(), q.bytes()), (0, 0, 0));
    }
}
