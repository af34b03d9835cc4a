// SPDX-License-Identifier: GPL-2.0

//! The server of a service: its port, its sessions, and the end of all of them.

pub(crate) mod brief;
pub(crate) mod datagrams;
pub(crate) mod debug_files;
pub(crate) mod deferred;
pub(crate) mod enrolled;
pub(crate) mod frame;
pub(crate) mod frames;
pub(crate) mod handshake;
pub(crate) mod hub;
pub(crate) mod next;
pub(crate) mod outbox;
pub(crate) mod output;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod roster;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod standing;
pub(crate) mod text;

use crate::{
    params,
    server::{
        brief::DatagramReceiver,
        debug_files::{
            PeersFile,
            SessionsFile,
            StateFile,
            StatsFile, //
        },
        hub::Hub,
        sessions::{
            Reaper,
            Sessions, //
        }, //
    },
    service::Service,
    stats::Stats, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
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
        Task,
        WorkQueue, //
    }, //
};
use virgo_config::{
    Config,
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
/// sessions used. The listener has the other reference on the sessions: that of this server is the last one.
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
    /// Ends all and waits for them: see [`Sessions`].
    _sessions: Arc<Reaper<S>>,
    _dir: Dir,
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
            let hub = Hub::new(service.clone(), node.clone(), stats)?;
            let sessions = Sessions::new(hub.clone(), queue.clone())?;
            let listener = Listener::bind(S::PORT, BACKLOG)
                .inspect_err(|e| pr_err!("port {} is not free: {e:?}\n", S::PORT))?;
            let revocation = Arc::new(Revocation(hub.clone()), GFP_KERNEL)?;
            let datagrams = DatagramPort::open(&hub)?;
            let dir = node.debugfs().subdir(S::NAME)?;
            Ok(try_pin_init!(Self {
                _sessions: sessions.clone(),
                _revocation: node.subscribe(revocation)?,
                _stats <- DebugFile::new(module, &dir, c"stats", StatsFile(hub.clone())),
                _state <- DebugFile::new(module, &dir, c"state", StateFile(service.clone())),
                _peers <- DebugFile::new(module, &dir, c"peers", PeersFile(service)),
                _session_list <- DebugFile::new(module, &dir, c"sessions", SessionsFile(hub)),
                _datagrams: datagrams,
                // Last of what can fail: no session has begun when something does.
                _listener <- linux::new_socket_work!(
                    queue,
                    listener,
                    Acceptor(sessions),
                    "virgo_listener"
                ),
                _dir: dir,
            }? Error))
        })
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

/// Ends the sessions that another configuration does not let in.
struct Revocation<S: Service>(Arc<Hub<S>>);

impl<S: Service> Reloaded for Revocation<S> {
    fn reloaded(&self, config: &Config) {
        self.0.roster.revoke(config);
        self.0.peers.revoke(config);
        if !config.datagrams {
            self.0.datagrams.end_all();
        }
    }
}

/// Takes connections.
pub(crate) struct Acceptor<S: Service>(Arc<Reaper<S>>);

impl<S: Service> SocketHandler for Acceptor<S> {
    type Socket = Listener;

    fn socket_ready(watch: &Task<WatchedSocket<Self>>) {
        let reaper = &watch.0;
        let hub = &reaper.hub;
        hub.runs.fetch_add(1, Relaxed);
        for _ in 0..ACCEPT_BUDGET {
            match watch.socket.accept() {
                Ok(Some(stream)) => {
                    if let Err(e) = Sessions::admit(reaper, stream) {
                        if hub.log.pass() {
                            pr_warn!("connection to port {} refused: {e:?}\n", S::PORT);
                        }
                    }
                    reaper.schedule_after_ms(params::SWEEP_MS);
                }
                Ok(None) => return,
                Err(e) => {
                    if hub.log.pass() {
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
