// SPDX-License-Identifier: GPL-2.0

//! Whether requests to a node go as datagrams: not before one has got there and back, and no more when
//! several in a row were lost. Then they go by the connection, and datagrams are tried again later.
//!
//! Trying costs no request: a probe goes beside one that takes the connection. So a network that lets no
//! datagrams through costs one small packet now and then, and an idle node sends nothing.

/// Time between a probe and the next, in milliseconds: doubled with each that is not answered, up to the
/// second.
const PROBE_MS: u64 = 500;
const MAX_PROBE_MS: u64 = 60_000;

/// Datagrams without an answer in a row after which none are used.
const LOSSES: u32 = 4;

/// How a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a datagram.
    Datagram,
    /// By the connection.
    Connection,
    /// By the connection, and a probe goes, too.
    Probe,
}

/// What is known of the way to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrier {
    works: bool,
    /// When the next probe goes, in milliseconds of any clock.
    next_probe: u64,
    /// Time to the one after that.
    pause: u64,
    /// Datagrams that were not answered since one was.
    losses: u32,
}

impl Carrier {
    /// Nothing is known: the first request takes a probe along.
    pub const fn new() -> Self {
        Carrier {
            works: false,
            next_probe: 0,
            pause: PROBE_MS,
            losses: 0,
        }
    }

    /// How a request goes at this time.
    pub fn choose(&mut self, now_ms: u64) -> Way {
        if self.works {
            return Way::Datagram;
        }
        if now_ms < self.next_probe {
            return Way::Connection;
        }
        self.next_probe = now_ms.saturating_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(MAX_PROBE_MS);
        Way::Probe
    }

    /// Whether datagrams are used.
    pub fn works(&self) -> bool {
        self.works
    }

    /// A probe was answered.
    pub fn answered(&mut self) {
        self.works = true;
        self.losses = 0;
    }

    /// A request has got its reply as a datagram: if datagrams are lost later, that is news.
    pub fn delivered(&mut self) {
        self.pause = PROBE_MS;
        self.losses = 0;
    }

    /// A request was sent as so many datagrams, and not answered in the time that it had for that, which may
    /// have been too short. With [`LOSSES`] in a row datagrams do not seem to get through. It is soon tried
    /// again for the first time, later and later if that happens again before a request has got through.
    pub fn lost(&mut self, datagrams: u32, now_ms: u64) {
        self.losses = self.losses.saturating_add(datagrams);
        if self.losses >= LOSSES && core::mem::take(&mut self.works) {
            self.losses = 0;
            self.next_probe = now_ms.saturating_add(self.pause);
            self.pause = self.pause.saturating_mul(2).min(MAX_PROBE_MS);
        }
    }

    /// A request goes by the connection since a datagram may take longer than it has time. Returns whether a
    /// probe goes, too: its answer says how long they take now, which no request would find out.
    pub fn too_slow(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.next_probe;
        if is_due {
            self.next_probe = now_ms.saturating_add(PROBE_MS);
        }
        is_due
    }
}

impl Default for Carrier {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn datagrams_are_used_once_a_probe_was_answered() {
        let mut carrier = Carrier::new();
        assert_eq!(carrier.choose(1000), Way::Probe);
        assert_eq!(carrier.choose(1001), Way::Connection);
        carrier.answered();
        assert_eq!(carrier.choose(1002), Way::Datagram);
        carrier.lost(LOSSES, 2000);
        assert_eq!(carrier.choose(2001), Way::Connection);
        assert_eq!(carrier.choose(1_000_000), Way::Probe);
    }

    #[test]
    fn a_network_without_datagrams_is_asked_less_and_less() {
        let mut carrier = Carrier::new();
        let probes = (0..3_600_000).filter(|&now| carrier.choose(now) == Way::Probe);
        let probes = probes.count();
        assert!((60..80).contains(&probes), "{probes}");
    }

    #[test]
    fn a_way_that_takes_only_probes_is_tried_less_and_less() {
        let mut carrier = Carrier::new();
        let mut losses = 0;
        for now in 0..3_600_000 {
            match carrier.choose(now) {
                Way::Probe => carrier.answered(),
                Way::Datagram => {
                    carrier.lost(LOSSES, now);
                    losses += 1;
                }
                Way::Connection => (),
            }
        }
        assert!(losses < 80, "{losses}");
        carrier.answered();
        carrier.delivered();
        carrier.lost(LOSSES, 3_600_000);
        assert_eq!(carrier.choose(3_600_000 + PROBE_MS), Way::Probe);
    }

    #[test]
    fn requests_with_little_time_do_not_end_datagrams_that_get_through() {
        let mut carrier = Carrier::new();
        carrier.answered();
        for now in 0..1000 {
            carrier.lost(1, now);
            if now % 3 == 0 {
                carrier.delivered();
            }
            assert_eq!(carrier.choose(now), Way::Datagram);
        }
        for now in 1000..1004 {
            carrier.lost(1, now);
        }
        assert_eq!(carrier.choose(1004), Way::Connection);
    }

    #[test]
    fn datagrams_that_are_too_slow_are_measured_now_and_then() {
        let mut carrier = Carrier::new();
        carrier.answered();
        let probes = (0..60_000).filter(|&now| carrier.too_slow(now)).count();
        assert_eq!(probes, 120);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Choose(u64),
        Answered,
        Delivered,
        Lost(u32),
        TooSlow,
    }

    proptest! {
        /// Whatever happens: datagrams are used only between an answer and a loss, and a probe goes within
        /// a minute.
        #[test]
        fn it_is_never_stuck(steps in prop::collection::vec(prop_oneof![
            (0..100_000u64).prop_map(Step::Choose),
            Just(Step::Answered),
            Just(Step::Delivered),
            (1..5u32).prop_map(Step::Lost),
            Just(Step::TooSlow),
        ], 1..300)) {
            let (mut carrier, mut now, mut works) = (Carrier::new(), 0, false);
            let mut losses = 0;
            for step in steps {
                match step {
                    Step::Choose(later) => {
                        now += later;
                        let way = carrier.choose(now);
                        prop_assert_eq!(way == Way::Datagram, works);
                    }
                    Step::Answered => {
                        carrier.answered();
                        (works, losses) = (true, 0);
                    }
                    Step::Delivered => {
                        carrier.delivered();
                        losses = 0;
                    }
                    Step::Lost(datagrams) => {
                        carrier.lost(datagrams, now);
                        losses += datagrams;
                        if losses >= LOSSES {
                            works = false;
                        }
                    }
                    Step::TooSlow => drop(carrier.too_slow(now)),
                }
            }
            if !works {
                prop_assert_eq!(carrier.choose(now + MAX_PROBE_MS), Way::Probe);
            }
        }
    }
}
