// SPDX-License-Identifier: GPL-2.0

//! The stream: a connection to a host that sends values as they are learnt.
//!
//! A work of the module connects, and connects again when the connection has ended, ever later up to
//! 30 s. What comes is read by the work of the connection ([`crate::stream_input`]).

use crate::{
    stream_input::StreamInput,
    stream_status::StreamStatus, //
};
use core::net::{
    Ipv4Addr,
    SocketAddrV4, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        Mutex, //
    }, //
};
use linux::{
    deadline::Deadline,
    net::{
        SocketWork,
        Stream, //
    },
    work::{
        Run,
        Task,
        WorkQueue, //
    }, //
};
use virgo_proto::analytics::{
    check,
    list::unquoted,
    variable::{
        Declaration,
        ValueType, //
    },
    STREAM_HOST,
    STREAM_PORT,
    STREAM_START,
    STREAM_SWITCH, //
};
use virgo_utils::variables::{
    Changed,
    Setter,
    Variable,
    VariableValue, //
};

/// How long a connection may take to come about. Unloading the module waits as long, at most.
const CONNECT_MS: u32 = 3000;

/// Pauses between connections, in milliseconds: the first, and the longest.
const PAUSE_MS: u32 = 1000;
const MAX_PAUSE_MS: u32 = 30_000;

const SWITCH: Declaration = Declaration {
    name: STREAM_SWITCH,
    kind: ValueType::Boolean,
    unit: "",
    min: 0,
    max: 1,
    default: 0,
    check: None,
    reader: "kernel_analytics",
    about: "whether variables are taken from the stream of a host",
};

const HOST: Declaration = Declaration {
    name: STREAM_HOST,
    kind: ValueType::Text,
    unit: "",
    min: 0,
    max: 0,
    default: 0,
    check: Some(check::address),
    reader: "kernel_analytics",
    about: "IPv4 address of the host of the stream; this machine if it is empty",
};

/// What the configuration wants.
#[derive(Clone, Copy)]
struct Wanted {
    on: bool,
    /// `None` if it is no address, which no value is.
    host: Option<Ipv4Addr>,
    /// It is no use to connect any more.
    stopped: bool,
    /// How often this has changed.
    version: u64,
}

/// Connects; the data of a task.
#[pin_data]
pub(crate) struct StreamConnector {
    setter: Arc<Setter>,
    rate: u32,
    queue: Arc<WorkQueue>,
    status: Arc<StreamStatus>,
    #[pin]
    wanted: Mutex<Wanted>,
    /// The connection, and the version of what is wanted that it was made for. Replaced by the task's
    /// work only, and when that has been stopped.
    #[pin]
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    watched: Pin<KBox<SocketWork<StreamInput>>>,
    version: u64,
}

impl StreamConnector {
    fn wanted(&self) -> Wanted {
        *self.wanted.lock()
    }

    /// Takes the connection, and waits for its work when it drops it. Only the connection's own work must
    /// not call this.
    fn hang_up(&self) {
        let old = self.connection.lock().take();
        drop(old);
        self.status.connected.store(false, Relaxed);
    }

    /// Whether there is a connection that has not ended, as it is wanted.
    fn is_connected(&self, wanted: &Wanted) -> bool {
        match &*self.connection.lock() {
            Some(connection) => {
                connection.version == wanted.version && !connection.watched.has_ended()
            }
            None => false,
        }
    }

    /// Connects to `host`. Sleeps until it is done.
    fn connect(&self, task: &Task<Self>, host: Ipv4Addr, version: u64) -> Result {
        let deadline = Deadline::after_ms(CONNECT_MS);
        let stream = Stream::connect(SocketAddrV4::new(host, STREAM_PORT), deadline)?;
        // A new connection has room for so few bytes.
        match stream.send(STREAM_START, b"", false)? {
            Some(sent) if sent == STREAM_START.len() => (),
            _ => return Err(EPIPE),
        }
        let input = StreamInput::new(
            self.setter.clone(),
            self.status.clone(),
            task.handle()?,
            self.rate,
        )?;
        let watched = KBox::pin_init(
            linux::new_socket_work!(self.queue.clone(), stream, input, "virgo_analytics_stream"),
            GFP_KERNEL,
        )?;
        *self.connection.lock() = Some(Connection { watched, version });
        self.status.connections.fetch_add(1, Relaxed);
        self.status.connected.store(true, Relaxed);
        Ok(())
    }

    /// How long to wait for the next try.
    fn pause_ms(&self) -> u32 {
        let failures = self.status.failures.load(Relaxed);
        PAUSE_MS
            .saturating_mul(1 << failures.saturating_sub(1).min(5))
            .min(MAX_PAUSE_MS)
    }
}

impl Run for StreamConnector {
    /// Makes what there is what is wanted.
    fn run(task: &Task<Self>) {
        let wanted = task.wanted();
        if task.is_connected(&wanted) && wanted.on && !wanted.stopped {
            return;
        }
        let ended = task
            .connection
            .lock()
            .as_ref()
            .is_some_and(|connection| connection.version == wanted.version);
        task.hang_up();
        let Some(host) = wanted.host.filter(|_| wanted.on && !wanted.stopped) else {
            return;
        };
        if ended {
            // Wait before the next one: a host that ends each connection at once costs little.
            task.status.failures.fetch_add(1, Relaxed);
            task.schedule_after_ms(task.pause_ms());
            return;
        }
        if let Err(error) = task.connect(task, host, wanted.version) {
            if task.status.failures.fetch_add(1, Relaxed) == 0 && task.status.log.pass() {
                pr_info!("stream from {host:?}: {error:?}; tried again from time to time\n");
            }
            task.schedule_after_ms(task.pause_ms());
        }
        if task.wanted().version != wanted.version {
            task.schedule_now();
        }
    }
}

/// What the module holds: the stream ends when this is dropped.
pub(crate) struct Streaming(Arc<Task<StreamConnector>>);

impl Streaming {
    /// A stream that is not wanted yet. Its lines set variables by `setter`, at most `rate` values a second.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(setter: Arc<Setter>, rate: u32) -> Result<Self> {
        let queue = WorkQueue::unbound(c"virgo_analytics", 2)?;
        let status = Arc::new(StreamStatus::new()?, GFP_KERNEL)?;
        let wanted = Wanted {
            on: false,
            host: Some(Ipv4Addr::LOCALHOST),
            stopped: false,
            version: 0,
        };
        let own = queue.clone();
        let connector = pin_init!(StreamConnector {
            setter,
            rate,
            queue: own,
            status,
            wanted <- kernel::new_mutex!(wanted, "virgo_analytics_wanted"),
            connection <- kernel::new_mutex!(None, "virgo_analytics_connection"),
        });
        let connector = Arc::pin_init(
            linux::new_task!(queue, connector, "virgo_analytics_connector"),
            GFP_KERNEL,
        )?;
        Ok(Streaming(connector))
    }

    pub(crate) fn status(&self) -> Arc<StreamStatus> {
        self.0.status.clone()
    }

    /// Declares the variables that say what is wanted.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn declare(&self) -> Result<[Variable; 2]> {
        let switch = Arc::new(Switch(self.0.clone()), GFP_KERNEL)?;
        let host = Arc::new(Host(self.0.clone()), GFP_KERNEL)?;
        Ok([
            Variable::declare_and_tell(&SWITCH, Some(switch))?,
            Variable::declare_and_tell(&HOST, Some(host))?,
        ])
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.wanted.lock().stopped = true;
        self.0.stop();
        self.0.hang_up();
    }
}

/// Changes what is wanted, and has the work see to it.
fn change(connector: &Task<StreamConnector>, change: impl FnOnce(&mut Wanted)) {
    let mut wanted = connector.wanted.lock();
    change(&mut wanted);
    wanted.version = wanted.version.wrapping_add(1);
    drop(wanted);
    connector.status.failures.store(0, Relaxed);
    connector.schedule_now();
}

struct Switch(Arc<Task<StreamConnector>>);

impl Changed for Switch {
    fn changed(&self, value: &VariableValue) {
        change(&self.0, |wanted| wanted.on = value.integer() == Some(1));
    }
}

struct Host(Arc<Task<StreamConnector>>);

impl Changed for Host {
    fn changed(&self, value: &VariableValue) {
        let host = match unquoted(value.text()) {
            "" => Some(Ipv4Addr::LOCALHOST),
            text => text.parse().ok(),
        };
        change(&self.0, |wanted| wanted.host = host);
    }
}
