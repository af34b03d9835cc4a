// SPDX-License-Identifier: GPL-2.0

//! The server of a service: its port, its sessions, and the end of all of them.

pub(crate) mod brief;
pub(crate) mod datagrams;
pub(crate) mod debug_files;
pub(crate) mod deferred;
pub(crate) mod frame;
pub(crate) mod frames;
pub(crate) mod handshake;
pub(crate) mod next;
pub(crate) mod outbox;
pub(crate) mod output;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod standing;
pub(crate) mod text;

use crate::{
    budget::Budget,
    params,
    ratelimit::LogLimit,
    server::{
        brief::DatagramReceiver,
        datagrams::Datagrams,
        debug_files::{
            PeersFile,
            SessionsFile,
            StateFile,
            StatsFile, //
        },
        peers::Peers,
        sessions::Sessions, //
    },
    service::Service,
    stats::Stats, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::{
    datagram::Port,
    debugfs::{
        DebugFile,
        Dir, //
    },
    net::{
        Listener,
        SocketHandler,
        SocketWork,
        WatchedSocket, //
    },
    work::{
        Run,
        Task,
        WorkQueue, //
    }, //
};
use virgo_config::{
    Config,
    Node,
    Reloaded,
    Subscription, //
};
use virgo_proto::datagram::MAX_LEN;

/// Connections accepted in a row before others get their turn.
const ACCEPT_BUDGET: usize = 16;

/// Connections that may wait to be accepted; beyond that the kernel loses the first packets of friends
/// and others alike.
const BACKLOG: c_int = 1024;

/// Pieces of work besides those of text sessions that run at a time.
const OTHERS: c_int = 32;

/// Serves a [`Service`] for as long as it lives.
///
/// Fields are dropped in order: first no new connections, then no sessions, then what the
/// sessions used.
#[pin_data]
pub struct Server<S: Service> {
    #[pin]
    _stats: DebugFile<StatsFile<S>>,
    #[pin]
    _state: DebugFile<StateFile<S>>,
    #[pin]
    _peers: DebugFile<PeersFile<S>>,
    #[pin]
    _session_list: DebugFile<SessionsFile<S>>,
    _datagrams: Option<DatagramPort<S>>,
    #[pin]
    _listener: SocketWork<Acceptor<S>>,
    _revocation: Subscription,
    _sessions: Ending<S>,
    _dir: Dir,
}

/// What the sessions of a server share; its work is the reaper's.
pub(crate) type Hub<S> = Task<ServerState<S>>;

#[pin_data]
pub(crate) struct ServerState<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) node: Arc<Node>,
    /// Random number of this server's incarnation: with another one it has forgotten all requests.
    pub(crate) boot: u64,
    /// Challenges made: numbers the sessions of nodes in the order in which they were begun.
    pub(crate) challenges: Atomic<u64>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) peers: Pin<KBox<Peers>>,
    pub(crate) datagrams: Pin<KBox<Datagrams>>,
    pub(crate) queue: Arc<WorkQueue>,
    pub(crate) log: Pin<KBox<LogLimit>>,
    /// How often work of this server has run: nothing may make an idle node do anything.
    pub(crate) runs: Atomic<u64>,
    #[pin]
    pub(crate) sessions: Sessions<S>,
    /// Sessions begun: their numbers.
    pub(crate) begun: Atomic<u64>,
    /// Of those who type, by uid.
    pub(crate) text_sessions: Pin<KBox<Budget>>,
}

impl<S: Service> Server<S> {
    /// Starts to serve `service`, counting what it does with `stats`. The server is part of the state
    /// of `module`. May sleep.
    ///
    /// # Errors
    ///
    /// [`EADDRINUSE`] if somebody has the port, [`ENODEV`], [`ENOMEM`].
    pub fn new(
        module: &'static ThisModule,
        service: Arc<S>,
        stats: Arc<Stats>,
    ) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let node = virgo_config::node()?;
            // Text sessions may wait, all at once; nodes and unauthenticated peers must not wait for them.
            let queue = WorkQueue::new(S::NAME, params::max_sessions() as c_int + OTHERS)?;
            let shared = ServerState::new(service.clone(), node.clone(), stats, queue.clone())?;
            let hub = Arc::pin_init(
                linux::new_task!(queue.clone(), shared, "virgo_reaper"),
                GFP_KERNEL,
            )?;
            let listener = Listener::bind(S::PORT, BACKLOG)
                .inspect_err(|e| pr_err!("port {} is not free: {e:?}\n", S::PORT))?;
            let revocation = Arc::new(Revocation(hub.clone()), GFP_KERNEL)?;
            let datagrams = DatagramPort::open(&hub)?;
            let dir = node.debugfs().subdir(S::NAME)?;
            Ok(try_pin_init!(Self {
                // First, so that it ends what the others begin if one of them fails.
                _sessions: Ending(hub.clone()),
                _revocation: node.subscribe(revocation)?,
                _stats <- DebugFile::new(module, &dir, c"stats", StatsFile(hub.clone())),
                _state <- DebugFile::new(module, &dir, c"state", StateFile(service.clone())),
                _peers <- DebugFile::new(module, &dir, c"peers", PeersFile(service)),
                _session_list <- DebugFile::new(module, &dir, c"sessions", SessionsFile(hub.clone())),
                _datagrams: datagrams,
                _listener <- linux::new_socket_work!(
                    queue,
                    listener,
                    Acceptor(hub),
                    "virgo_listener"
                ),
                _dir: dir,
            }? Error))
        })
    }
}

impl<S: Service> ServerState<S> {
    fn new(
        service: Arc<S>,
        node: Arc<Node>,
        stats: Arc<Stats>,
        queue: Arc<WorkQueue>,
    ) -> Result<impl PinInit<Self, Error>> {
        let peers = KBox::pin_init(Peers::new(), GFP_KERNEL)?;
        let datagrams = KBox::pin_init(Datagrams::new(), GFP_KERNEL)?;
        let log = LogLimit::new()?;
        Ok(try_pin_init!(Self {
            service,
            node,
            boot: linux::crypto::random_u64(),
            challenges: Atomic::new(0),
            stats,
            peers,
            datagrams,
            queue,
            log,
            runs: Atomic::new(0),
            sessions <- Sessions::new(),
            begun: Atomic::new(0),
            text_sessions: Budget::new(params::max_sessions() as u64)?,
        }? Error))
    }
}

impl<S: Service> Run for ServerState<S> {
    /// The reaper: ends sessions whose time is over and frees those that have ended and are idle.
    fn run(hub: &Hub<S>) {
        hub.runs.fetch_add(1, Relaxed);
        let (ended, limited) = hub.sessions.ended();
        drop(ended);
        if limited {
            hub.schedule_after_ms(params::SWEEP_MS);
        }
    }
}

/// The port for datagrams, while it is open: nodes are told so in the handshake.
struct DatagramPort<S: Service> {
    hub: Arc<Hub<S>>,
    _port: Port<DatagramReceiver<S>>,
}

impl<S: Service> DatagramPort<S> {
    /// Opens it. `None` if somebody else has the port: then there are only connections. May sleep.
    fn open(hub: &Arc<Hub<S>>) -> Result<Option<Self>> {
        let receiver = Arc::new(DatagramReceiver(hub.clone()), GFP_KERNEL)?;
        let port = match Port::open(S::PORT, MAX_LEN, receiver) {
            Err(ENOMEM) => return Err(ENOMEM),
            Err(e) => {
                pr_warn!("no datagrams: UDP port {} is not free: {e:?}\n", S::PORT);
                return Ok(None);
            }
            Ok(port) => port,
        };
        let port = DatagramPort {
            hub: hub.clone(),
            _port: port,
        };
        port.announce(true);
        Ok(Some(port))
    }

    fn announce(&self, is_open: bool) {
        self.hub.datagrams.set_open(is_open);
        if let Some(client) = self.hub.service.client() {
            client.set_datagrams(is_open);
        }
    }
}

impl<S: Service> Drop for DatagramPort<S> {
    fn drop(&mut self) {
        self.announce(false);
    }
}

/// Ends all sessions when dropped. No session can begin any more then: the listener is gone.
struct Ending<S: Service>(Arc<Hub<S>>);

impl<S: Service> Drop for Ending<S> {
    fn drop(&mut self) {
        // The sessions that it is about to free refer to the hub: the last of them would have the
        // reaper wait for its own end.
        self.0.stop();
        self.0.sessions.clear();
    }
}

/// Ends the sessions that another configuration does not let in.
struct Revocation<S: Service>(Arc<Hub<S>>);

impl<S: Service> Reloaded for Revocation<S> {
    fn reloaded(&self, config: &Config) {
        self.0.sessions.revoke(config);
        if !config.datagrams {
            self.0.datagrams.end_all();
        }
    }
}

/// Takes connections.
pub(crate) struct Acceptor<S: Service>(Arc<Hub<S>>);

impl<S: Service> SocketHandler for Acceptor<S> {
    type Socket = Listener;

    fn socket_ready(watch: &Task<WatchedSocket<Self>>) {
        watch.0.runs.fetch_add(1, Relaxed);
        for _ in 0..ACCEPT_BUDGET {
            match watch.socket.accept() {
                Ok(Some(stream)) => {
                    if let Err(e) = watch.0.sessions.admit(&watch.0, stream) {
                        if watch.0.log.pass() {
                            pr_warn!("connection to port {} refused: {e:?}\n", S::PORT);
                        }
                    }
                    watch.0.schedule_after_ms(params::SWEEP_MS);
                }
                Ok(None) => return,
                Err(e) => {
                    if watch.0.log.pass() {
                        pr_warn!("accept on port {}: {e:?}\n", S::PORT);
                    }
                    watch.schedule_after_ms(params::SWEEP_MS);
                    return;
                }
            }
        }
        watch.schedule();
    }
}
