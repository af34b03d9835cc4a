// SPDX-License-Identifier: GPL-2.0

//! The files of a service in debugfs, `/sys/kernel/debug/virgo/SERVICE`.

use crate::{
    server::hub::Hub,
    service::Service, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
    uaccess::UserSliceReader, //
};
use linux::debugfs::Content;
use virgo_proto::command::parse_u64;

/// `stats`: the counters.
pub(crate) struct StatsFile<S: Service>(pub(crate) Arc<Hub<S>>);

impl<S: Service> Content for StatsFile<S> {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hub = &self.0;
        let sessions = hub.roster.len();
        let runs = hub.runs.load(Relaxed);
        let refused = hub.datagrams.refused.load(Relaxed);
        writeln!(
            f,
            "# sessions {sessions} runs {runs} refused_datagrams {refused}"
        )?;
        hub.stats.show(f)
    }
}

/// `state`: what the service has.
pub(crate) struct StateFile<S: Service>(pub(crate) Arc<S>);

impl<S: Service> Content for StateFile<S> {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}

/// `peers`: the connections to other nodes. Takes `stop`, which ends all calls that wait for other
/// nodes, and `start`.
pub(crate) struct PeersFile<S: Service>(pub(crate) Arc<S>);

impl<S: Service> Content for PeersFile<S> {
    const WRITABLE: bool = true;

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.client() {
            Some(client) => client.show(f),
            None => Ok(()),
        }
    }

    fn write(&self, text: &mut UserSliceReader) -> Result {
        self.0.client().ok_or(EOPNOTSUPP)?;
        let mut word = [0; 16];
        let word = word.get_mut(..text.len()).ok_or(EINVAL)?;
        text.read_slice(word)?;
        match word.trim_ascii() {
            b"stop" => self.0.set_stopped(true),
            b"start" => self.0.set_stopped(false),
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

/// `sessions`: who is connected. Takes `end NUMBER`.
pub(crate) struct SessionsFile<S: Service>(pub(crate) Arc<Hub<S>>);

impl<S: Service> Content for SessionsFile<S> {
    const WRITABLE: bool = true;

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.roster.show(f)
    }

    fn write(&self, text: &mut UserSliceReader) -> Result {
        let mut line = [0; 32];
        let line = line.get_mut(..text.len()).ok_or(EINVAL)?;
        text.read_slice(line)?;
        let number = line.trim_ascii().strip_prefix(b"end ");
        let number = number.and_then(parse_u64).ok_or(EINVAL)?;
        match self.0.roster.end(number, |_| true) {
            true => Ok(()),
            false => Err(ENOENT),
        }
    }
}
