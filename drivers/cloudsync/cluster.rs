// SPDX-License-Identifier: GPL-2.0

//! This node's part in the cluster: its membership, fed with messages and time.
//!
//! # Locking
//!
//! The membership has a mutex of its own, held while what it has promised is written to disk, so that
//! locks go on meanwhile. Nobody who holds it waits for the mutex of the names, so that other nodes' heartbeats do
//! not wait for users: [`Installer`] and [`Lapse`] carry over what changes.
//!
//! # Stack
//!
//! A message about a view has half a kilobyte and stack frames are summed up, so messages are in boxes here,
//! and the functions that make them are not part of their callers' frames.

use crate::{
    inbox::Inbox,
    lease::Lease,
    names::Names,
    storage, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce, //
    }, //
};
use linux::{
    deadline::now_ms,
    work::{
        Run,
        Task,
        WorkHandle, //
    }, //
};
use virgo_config::Node;
use virgo_proto::{
    cloudsync::{
        membership::{
            self,
            Durable,
            Timing, //
        },
        view::View,
        wire::op,
        MAX_NODES, //
    },
    vuid::{
        bit,
        NodeId, //
    }, //
};
use virgo_utils::Client;

pub(crate) type ClusterAsk = membership::Ask<MAX_NODES>;
pub(crate) type ClusterTold = membership::Told<MAX_NODES>;
type Membership = membership::Membership<MAX_NODES>;

struct State {
    /// In a box, so that the state may be moved to its place.
    membership: KBox<Membership>,
    /// What is on disk. `None` as long as that is not known: then this node agrees to nothing.
    stored: Option<Durable>,
    /// The log says that nothing can be written.
    has_warned: bool,
    /// The number of the view that the names have.
    view: u64,
    /// Nobody has used locks since then.
    idle_since: Option<u64>,
}

/// See the module.
#[pin_data]
pub(crate) struct Cluster {
    pub(crate) node: Arc<Node>,
    pub(crate) client: Arc<Client>,
    pub(crate) timing: Timing,
    /// Whether beats are sent.
    is_active: Atomic<bool>,
    clock: SetOnce<WorkHandle>,
    lapse: SetOnce<WorkHandle>,
    installer: SetOnce<WorkHandle>,
    beaters: SetOnce<KVec<WorkHandle>>,
    readers: SetOnce<KVec<WorkHandle>>,
    /// What each node has said of locks, by number from 1.
    inboxes: KVec<Arc<Inbox>>,
    lease: Arc<Lease>,
    /// There is a lease again, and the names do not know it.
    has_resumed: Atomic<bool>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    pub(crate) names: Mutex<KBox<Names>>,
}

/// Copied from a constant to its box: it has 3 KB, too much for the stack.
fn new_membership(me: NodeId, boot: u64, timing: Timing) -> Result<KBox<Membership>> {
    let mut new = KBox::new(Membership::BLANK, GFP_KERNEL)?;
    new.begin(me, boot, timing);
    Ok(new)
}

impl State {
    /// Says once that the disk does not do its part.
    fn warn(&mut self, what: &str, e: Error) {
        if !core::mem::replace(&mut self.has_warned, true) {
            pr_warn!(
                "/var/log/virgo_cloudsync/view cannot be {what}: {e:?}; \
                 this node agrees to no view meanwhile\n"
            );
        }
    }
}

impl Cluster {
    /// May sleep.
    pub(crate) fn new(
        node: Arc<Node>,
        client: Arc<Client>,
        timing: Timing,
        boot: u64,
        names: KBox<Names>,
    ) -> Result<Arc<Self>> {
        let me = node.config().me;
        let mut inboxes = KVec::new();
        for _ in 0..MAX_NODES {
            inboxes.push(Inbox::new()?, GFP_KERNEL)?;
        }
        let state = State {
            membership: new_membership(me, boot, timing)?,
            stored: None,
            has_warned: false,
            view: 0,
            idle_since: None,
        };
        Arc::pin_init(
            pin_init!(Self {
                node,
                client,
                timing,
                is_active: Atomic::new(false),
                clock: SetOnce::new(),
                lapse: SetOnce::new(),
                installer: SetOnce::new(),
                has_resumed: Atomic::new(false),
                beaters: SetOnce::new(),
                readers: SetOnce::new(),
                inboxes,
                lease: names.lease.clone(),
                state <- kernel::new_mutex!(state, "virgo_membership"),
                names <- kernel::new_mutex!(names, "virgo_lock_names"),
            }),
            GFP_KERNEL,
        )
    }

    /// Who runs when the time has come, who ends leases, who installs views, and who speaks to each node and
    /// reads what it says, by number from 1.
    pub(crate) fn set_workers(
        &self,
        clock: WorkHandle,
        lapse: WorkHandle,
        installer: WorkHandle,
        beaters: KVec<WorkHandle>,
        readers: KVec<WorkHandle>,
    ) {
        self.clock.populate(clock);
        self.lapse.populate(lapse);
        self.installer.populate(installer);
        self.beaters.populate(beaters);
        self.readers.populate(readers);
    }

    /// What a node has said of locks.
    pub(crate) fn inbox(&self, node: NodeId) -> Option<&Inbox> {
        let index = usize::from(node).checked_sub(1)?;
        self.inboxes.get(index).map(|inbox| &**inbox)
    }

    /// Has read what a node has said.
    pub(crate) fn wake_reader(&self, node: NodeId) {
        let index = usize::from(node).wrapping_sub(1);
        let readers = self.readers.as_ref();
        if let Some(reader) = readers.and_then(|readers| readers.get(index)) {
            reader.wake_now();
        }
    }

    /// Another node has said something.
    pub(crate) fn heard(&self, op: u16) {
        if op == op::REPORTS {
            // Perhaps it is only to be waited for now.
            self.wake_clock();
        }
    }

    /// Has the clock looked at.
    pub(crate) fn wake_clock(&self) {
        if let Some(clock) = self.clock.as_ref() {
            clock.wake_now();
        }
    }

    /// Has somebody look when the lease of this node's programs ends: they have locks again, or a lease.
    pub(crate) fn watch_lease(&self) {
        if let Some(lapse) = self.lapse.as_ref() {
            lapse.wake_now();
        }
    }

    /// Somebody uses locks.
    pub(crate) fn be_active(&self) {
        if !self.is_active.load(Relaxed) {
            self.wake_clock();
        }
    }

    /// Works with the membership, and then does what follows from it. Returns what `f` does, if what it
    /// may say is on disk.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn with<T>(&self, f: impl FnOnce(&mut Membership, u64) -> T) -> Result<T> {
        let mut state = self.state.lock();
        let config = self.node.config();
        if state.stored.is_none() {
            let stored = storage::read().inspect_err(|e| state.warn("read", *e))?;
            state.membership.restore(stored);
            state.stored = Some(stored);
        }
        let nodes = config
            .nodes
            .iter()
            .fold(0, |bits, (node, _)| bits | bit(node));
        state.membership.configure(nodes, config.quorum);
        let now = now_ms();
        let before = state.membership.view().number;
        let result = f(&mut state.membership, now);
        let durable = state.membership.durable();
        if state.stored != Some(durable) {
            storage::write(durable).inspect_err(|e| state.warn("written", *e))?;
            state.has_warned = false;
            state.stored = Some(durable);
        }
        let has_names = state.membership.view().number == state.view;
        // The names get each view, one after the other.
        state.membership.set_busy(!has_names);
        let membership = &state.membership;
        let (lease, hold) = match membership.quorum() {
            0 | 1 if membership.is_member() => (u64::MAX, u64::MAX),
            _ => (membership.lease_until(now), membership.holds_until(now)),
        };
        let view = membership.view();
        if view.number != before {
            self.wake_beaters();
        }
        if !has_names {
            if let Some(installer) = self.installer.as_ref() {
                installer.wake_now();
            }
        } else {
            let had_no_end = self.lease.hold_until() == u64::MAX;
            let has_resumed = self.lease.set(lease, hold, view.lease_ms);
            if has_resumed {
                self.has_resumed.store(true, Relaxed);
            }
            if has_resumed || had_no_end && hold != u64::MAX {
                self.watch_lease();
            }
        }
        Ok(result)
    }

    /// Tells the names of a view that they have not got. Until then they go on as before: this is as if the view
    /// had come later.
    fn install(&self) -> Result {
        let mut view = KBox::new(View::NONE, GFP_KERNEL)?;
        let state = self.state.lock();
        *view = *state.membership.view();
        let is_stored = state.stored == Some(state.membership.durable());
        if view.number == state.view || !is_stored {
            return Ok(());
        }
        let opens_at = state.membership.opens_at();
        drop(state);
        self.names.lock().install(&view, opens_at);
        let mut state = self.state.lock();
        state.view = view.number;
        state.membership.set_busy(false);
        drop(state);
        self.wake_clock();
        self.watch_lease();
        Ok(())
    }

    /// Answers another node. May sleep. Kernel threads only.
    ///
    /// # Errors
    ///
    /// As for [`Self::with`].
    #[inline(never)]
    pub(crate) fn handle(&self, from: NodeId, ask: &ClusterAsk) -> Result<KBox<ClusterTold>> {
        self.with(|membership, now| KBox::new(membership.handle(from, ask, now), GFP_KERNEL))?
            .map_err(Error::from)
    }

    /// What is to be said to a node now; or when there may be something, in milliseconds.
    #[inline(never)]
    pub(crate) fn poll(&self, node: NodeId) -> Result<KBox<ClusterAsk>, Option<u32>> {
        let polled = self.with(|membership, now| {
            let ask = membership.poll(node, now);
            let next = membership.next_poll(node);
            let ask = ask.ok_or_else(|| next.map(|at| wait_ms(at, now)))?;
            // What there is no memory for is said in the next beat.
            KBox::new(ask, GFP_KERNEL).map_err(|_| Some(self.timing.beat_ms))
        });
        // What cannot be stored is tried again.
        polled.unwrap_or(Err(Some(self.timing.dead_ms)))
    }

    /// What a node has answered to what was sent at `sent`.
    #[inline(never)]
    pub(crate) fn told(
        &self,
        node: NodeId,
        ask: &ClusterAsk,
        sent: u64,
        told: Result<&ClusterTold>,
    ) {
        let waits = self.with(|membership, now| {
            match told {
                Ok(told) => membership.told(node, ask, sent, told, now),
                Err(_) => membership.failed(node, ask, now),
            }
            // A promise or a failure may be what a proposal waits for, and who hears whom what a view does.
            !membership.is_member() || !matches!(ask, ClusterAsk::Beat { .. })
        });
        if waits.is_ok_and(|waits| waits) {
            self.wake_clock();
        }
    }

    /// Does what the time demands. Returns when to do so again, in milliseconds.
    fn tick(&self) -> Option<u32> {
        let in_use = self.names.lock().users > 0;
        let now = now_ms();
        let mut state = self.state.lock();
        match (in_use, state.idle_since) {
            (true, _) => state.idle_since = None,
            (false, None) => state.idle_since = Some(now),
            (false, Some(_)) => (),
        }
        // For a while after the last lock was given back, so that the next one finds the lease.
        let linger = u64::from(self.timing.lease_ms);
        let is_active = state
            .idle_since
            .is_none_or(|since| now < since.saturating_add(linger))
            && (in_use || self.is_active.load(Relaxed));
        let began = is_active && !self.is_active.xchg(is_active, Relaxed);
        self.is_active.store(is_active, Relaxed);
        drop(state);
        let next = self.with(|membership, now| {
            membership.set_active(is_active, now);
            membership.tick(now)
        });
        let proposes = matches!(next, Ok(Some(_)));
        if began || proposes {
            self.wake_beaters();
        }
        let mut names = self.names.lock();
        let opens = names.open_if_due();
        if !is_active && names.users > 0 {
            // It has begun to while this was on its way to sleep.
            return Some(1);
        }
        drop(names);
        let next = next.unwrap_or(Some(now.saturating_add(self.timing.dead_ms.into())));
        // To see whether somebody still uses locks.
        let look = is_active.then(|| now.saturating_add(self.timing.lease_ms.into()));
        let times = [next, opens, look].into_iter().flatten();
        times.min().map(|at| wait_ms(at, now_ms()))
    }

    fn wake_beaters(&self) {
        let beaters = self.beaters.as_ref().map_or(&[][..], |beaters| beaters);
        let config = self.node.config();
        for (node, _) in config.nodes.iter().filter(|(node, _)| *node != config.me) {
            if let Some(beater) = beaters.get(usize::from(node).wrapping_sub(1)) {
                beater.wake_now();
            }
        }
    }

    /// A line for the view and one for each node.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (membership, now) = (&state.membership, now_ms());
        let view = membership.view();
        let active = if membership.is_active() {
            "active"
        } else {
            "idle"
        };
        let lease = membership.lease_until(now).saturating_sub(now);
        writeln!(
            f,
            "view {} quorum {} {active} lease_ms {lease}",
            view.number,
            membership.quorum()
        )?;
        for (node, _) in self.node.config().nodes.iter() {
            let member = view.member(node);
            let word = if member.boot != 0 { "member" } else { "out" };
            write!(f, "node {node} {word}")?;
            match membership.silent_ms(node, now) {
                Some(ms) => writeln!(f, " heard_ms {ms}")?,
                None => writeln!(f, " heard_ms -")?,
            }
        }
        Ok(())
    }
}

fn wait_ms(at: u64, now: u64) -> u32 {
    at.saturating_sub(now).try_into().unwrap_or(u32::MAX)
}

/// The work that looks at the clock.
pub(crate) struct Clock(pub(crate) Arc<Cluster>);

impl Run for Clock {
    fn run(task: &Task<Self>) {
        if let Some(ms) = task.0.tick() {
            // Unless it was woken meanwhile: then it looks at once.
            task.schedule_after_ms(ms.max(1));
        }
    }
}

/// The work that tells the names of views.
pub(crate) struct Installer(pub(crate) Arc<Cluster>);

impl Run for Installer {
    fn run(task: &Task<Self>) {
        if task.0.install().is_err() {
            // There was no memory.
            task.schedule_after_ms(task.0.timing.beat_ms);
        }
    }
}

/// The work that takes the locks from all programs when this node's lease ends. It waits for no disk and no
/// node, as the clock does: others count on it.
pub(crate) struct Lapse(pub(crate) Arc<Cluster>);

impl Run for Lapse {
    fn run(task: &Task<Self>) {
        let mut names = task.0.names.lock();
        if task.0.has_resumed.xchg(false, Relaxed) {
            names.resume();
        }
        let next = names.lapse_if_due();
        drop(names);
        if let Some(at) = next {
            let ms = wait_ms(at, now_ms()).max(1);
            // The kernel's timers are the less exact the longer they are: the last part is waited for anew.
            // Who was woken meanwhile looks at once.
            task.schedule_after_ms(ms - ms / 8);
        }
    }
}

/// The work that does to many names what need not be done at once.
pub(crate) struct Sweeper(pub(crate) Arc<Cluster>);

impl Run for Sweeper {
    fn run(task: &Task<Self>) {
        let more = task.0.names.lock().sweep();
        if more {
            task.schedule();
        }
    }
}
