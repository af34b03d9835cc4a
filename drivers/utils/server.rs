// SPDX-License-Identifier: GPL-2.0

//! The server of a service: its port, its sessions, and the end of all of them.

use crate::{
    limit::LogLimit,
    limits,
    peers::Peers,
    service::Service,
    session::Session,
    stats::Stats, //
};
use kernel::{
    debugfs,
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    uaccess::UserSliceReader, //
};
use linux::{
    net::{
        Listener,
        Stream,
        Watch,
        Watched,
        Watcher, //
    },
    work::{
        Queue,
        Run,
        Task, //
    }, //
};
use virgo_config::Node;

/// Connections accepted in a row before others get their turn.
const ACCEPT_BUDGET: usize = 16;

/// Connections that may wait to be accepted.
const BACKLOG: c_int = 128;

/// Serves a [`Service`] for as long as it lives.
///
/// Fields are dropped in order: first no new connections, then no sessions, then what the
/// sessions used.
#[pin_data]
pub struct Server<S: Service> {
    #[pin]
    _stats: debugfs::File<Arc<Hub<S>>>,
    #[pin]
    _state: debugfs::File<Arc<S>>,
    #[pin]
    _peers: debugfs::File<Arc<S>>,
    #[pin]
    _listener: Watched<Acceptor<S>>,
    _sessions: Sessions<S>,
    _dir: debugfs::Dir,
}

/// What the sessions of a server share; its work is the janitor's.
pub(crate) type Hub<S> = Task<Shared<S>>;

/// The sessions of a server, the oldest first.
type Table<S> = KVec<Pin<KBox<Watched<Session<S>>>>>;

#[pin_data]
pub(crate) struct Shared<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) node: Arc<Node>,
    /// Random number of this server's life: with another one it has forgotten all requests.
    pub(crate) boot: u64,
    /// Challenges made: numbers the sessions of nodes in the order in which they were begun.
    pub(crate) challenges: Atomic<u64>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) peers: Pin<KBox<Peers>>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) log: Pin<KBox<LogLimit>>,
    /// How often work of this server has run: nothing may make an idle node do anything.
    pub(crate) runs: Atomic<u64>,
    #[pin]
    sessions: Mutex<Table<S>>,
}

impl<S: Service> Server<S> {
    /// Starts to serve `service`, counting what it does with `stats`. May sleep.
    ///
    /// # Errors
    ///
    /// [`EADDRINUSE`] if somebody has the port, [`ENODEV`], [`ENOMEM`].
    pub fn new(service: Arc<S>, stats: Arc<Stats>) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let node = virgo_config::node()?;
            let queue = Queue::new(S::NAME, limits::max_sessions() as c_int + 2)?;
            let shared = Shared::new(service.clone(), node.clone(), stats, queue.clone())?;
            let hub = Arc::pin_init(
                linux::new_task!(queue.clone(), shared, "virgo_janitor"),
                GFP_KERNEL,
            )?;
            let listener = Listener::bind(S::PORT, BACKLOG)
                .inspect_err(|e| pr_err!("port {} is not free: {e:?}\n", S::PORT))?;
            let dir = node.debugfs().subdir(S::NAME);
            Ok(try_pin_init!(Self {
                _stats <- dir.read_callback_file(c"stats", hub.clone(), &show_stats::<S>),
                _state <- dir.read_callback_file(c"state", service.clone(), &show_state::<S>),
                _peers <- dir.read_write_callback_file(
                    c"peers",
                    service,
                    &show_peers::<S>,
                    &control::<S>
                ),
                _listener <- linux::new_watched!(
                    queue,
                    listener,
                    Acceptor(hub.clone()),
                    "virgo_listener"
                ),
                _sessions: Sessions(hub),
                _dir: dir,
            }? Error))
        })
    }
}

fn show_stats<S: Service>(hub: &Arc<Hub<S>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sessions = hub.sessions.lock().len();
    writeln!(f, "# sessions {sessions} runs {}", hub.runs.load(Relaxed))?;
    hub.stats.show(f)
}

fn show_state<S: Service>(service: &Arc<S>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    service.show(f)
}

fn show_peers<S: Service>(service: &Arc<S>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match service.client() {
        Some(client) => client.show(f),
        None => Ok(()),
    }
}

/// Takes `stop`, which ends all calls that wait for other nodes, and `start`.
fn control<S: Service>(service: &Arc<S>, reader: &mut UserSliceReader) -> Result {
    let client = service.client().ok_or(EOPNOTSUPP)?;
    let mut word = [0; 16];
    let word = word.get_mut(..reader.len()).ok_or(EINVAL)?;
    reader.read_slice(word)?;
    match word.trim_ascii() {
        b"stop" => client.stop(),
        b"start" => client.start(),
        _ => return Err(EINVAL),
    }
    Ok(())
}

impl<S: Service> Shared<S> {
    fn new(
        service: Arc<S>,
        node: Arc<Node>,
        stats: Arc<Stats>,
        queue: Arc<Queue>,
    ) -> Result<impl PinInit<Self, Error>> {
        let peers = KBox::pin_init(Peers::new(), GFP_KERNEL)?;
        let log = KBox::pin_init(LogLimit::new(limits::log_burst()), GFP_KERNEL)?;
        Ok(try_pin_init!(Self {
            service,
            node,
            boot: linux::crypto::random_u64(),
            challenges: Atomic::new(0),
            stats,
            peers,
            queue,
            log,
            runs: Atomic::new(0),
            sessions <- linux::new_mutex!(KVec::new(), "virgo_sessions"),
        }? Error))
    }

    /// Takes the sessions that have ended out of the table, so that they can be dropped without
    /// its lock. The second value says whether one of the others has a time limit.
    fn ended(&self) -> (Table<S>, bool) {
        let (mut ended, mut limited) = (KVec::new(), false);
        let mut sessions = self.sessions.lock();
        let mut at = 0;
        while let Some(session) = sessions.get(at) {
            limited |= session.limited();
            // Without memory it stays until the next sweep.
            if session.expired() && ended.reserve(1, GFP_KERNEL).is_ok() {
                if let Ok(session) = sessions.remove(at) {
                    let _ = ended.push_within_capacity(session);
                    continue;
                }
            }
            at += 1;
        }
        (ended, limited)
    }
}

impl<S: Service> Run for Shared<S> {
    /// The janitor: ends sessions whose time is over and frees those that have ended.
    fn run(hub: &Hub<S>) {
        hub.runs.fetch_add(1, Relaxed);
        let (ended, limited) = hub.ended();
        drop(ended);
        if limited {
            hub.schedule_after_ms(limits::SWEEP_MS);
        }
    }
}

/// Ends all sessions when dropped. No session can begin any more then: the listener is gone.
struct Sessions<S: Service>(Arc<Hub<S>>);

impl<S: Service> Drop for Sessions<S> {
    fn drop(&mut self) {
        let sessions = core::mem::take(&mut *self.0.sessions.lock());
        drop(sessions);
    }
}

/// Takes connections.
pub(crate) struct Acceptor<S: Service>(Arc<Hub<S>>);

impl<S: Service> Watcher for Acceptor<S> {
    type Socket = Listener;

    fn news(watch: &Task<Watch<Self>>) {
        watch.0.runs.fetch_add(1, Relaxed);
        for _ in 0..ACCEPT_BUDGET {
            match watch.socket.accept() {
                Ok(Some(stream)) => {
                    if let Err(e) = watch.0.admit(stream) {
                        if watch.0.log.pass() {
                            pr_warn!("connection to port {} refused: {e:?}\n", S::PORT);
                        }
                    }
                }
                Ok(None) => return,
                Err(e) => {
                    if watch.0.log.pass() {
                        pr_warn!("accept on port {}: {e:?}\n", S::PORT);
                    }
                    watch.schedule_after_ms(limits::SWEEP_MS);
                    return;
                }
            }
        }
        watch.schedule();
    }
}

/// Admission of new connections.
trait Admit {
    fn admit(&self, stream: Stream) -> Result;
}

impl<S: Service> Admit for Arc<Hub<S>> {
    /// Begins a session, if the limits allow it. Of sessions that have not proven who they are
    /// the oldest makes room.
    fn admit(&self, stream: Stream) -> Result {
        let session = Session::new(self.clone(), &stream)?;
        let session = KBox::pin_init(
            linux::new_watched!(self.queue.clone(), stream, session, "virgo_session"),
            GFP_KERNEL,
        )?;
        let mut sessions = self.sessions.lock();
        if sessions.len() >= limits::max_sessions() {
            return Err(EUSERS);
        }
        let mut strangers = sessions.iter().filter(|s| s.is_stranger());
        if strangers.clone().count() >= limits::max_strangers() {
            if let Some(oldest) = strangers.next() {
                oldest.end(&oldest.socket);
            }
        }
        sessions.push(session, GFP_KERNEL)?;
        drop(sessions);
        self.schedule_after_ms(limits::SWEEP_MS);
        Ok(())
    }
}
