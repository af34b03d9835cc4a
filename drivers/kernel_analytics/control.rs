// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/virgo/analytics`: what root sees and sets.

use crate::local::Analytics;
use kernel::{
    fmt,
    prelude::*,
    sync::Arc,
    uaccess::UserSliceReader, //
};
use linux::{
    bytes::Fill,
    debugfs::Content,
    user, //
};
use virgo_proto::analytics::source::ValueSource;
use virgo_utils::{
    from_wire,
    variables::{
        Refused,
        ValueOrigin, //
    }, //
};

/// Bytes that are taken at a time.
const MAX_TEXT: usize = 64 * 1024;

/// What the file shows and takes: `set PAIRS`, `reset KEY`, `reload`.
pub(crate) struct AnalyticsControl(pub(crate) Arc<Analytics>);

impl Content for AnalyticsControl {
    const WRITABLE: bool = true;

    /// Lines whose fields have tabs between them, which no field has:
    ///
    /// - `variable KEY TYPE UNIT MIN MAX DEFAULT SOURCE UID SINCE_MS READER ABOUT VALUE`, with `-` for what
    ///   an undeclared one does not have;
    /// - `change NUMBER MS KEY SOURCE UID VALUE`, the oldest first;
    /// - `rejected REASON`, if what was tried last was refused.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let analytics = &self.0;
        analytics.setter.try_for_each(|key, value, declaration| {
            write!(f, "variable\t{key}\t")?;
            match declaration {
                Some(declaration) => {
                    write!(f, "{}\t{}", declaration.kind.name(), declaration.unit)?;
                    for number in [declaration.min, declaration.max, declaration.default] {
                        match declaration.is_number() {
                            true => f.write_fmt(format_args!("\t{}", declaration.shown(number)))?,
                            false => f.write_str("\t-")?,
                        }
                    }
                }
                None => f.write_str("-\t-\t-\t-\t-")?,
            }
            let source = value.origin.source.name();
            write!(f, "\t{source}\t{}\t{}", value.origin.uid, value.since_ms())?;
            let (reader, about) = declaration.map_or(("-", "-"), |d| (d.reader, d.about));
            writeln!(f, "\t{reader}\t{about}\t{}", value.text())
        })?;
        analytics.history.try_for_each(|record| {
            let (number, ms, key) = (record.number, record.ms, record.key());
            let (source, uid, value) = (record.source(), record.uid(), record.value());
            writeln!(f, "change\t{number}\t{ms}\t{key}\t{source}\t{uid}\t{value}")
        })?;
        analytics.with_rejected(|rejected| match rejected {
            Some(why) => f.write_fmt(fmt!("rejected\t{why}\n")),
            None => Ok(()),
        })
    }

    fn write(&self, reader: &mut UserSliceReader) -> Result {
        // The reason that is shown is that of this text.
        self.0.forget_rejected();
        let len = reader.len();
        if len > MAX_TEXT {
            return Err(EMSGSIZE);
        }
        let mut text = KVVec::new();
        text.put_zeros(len, GFP_KERNEL_ACCOUNT)?;
        reader.read_slice(&mut text)?;
        let text = text.trim_ascii();
        let end = text.iter().position(|byte| *byte == b' ');
        let (word, rest) = end
            .and_then(|end| text.split_at_checked(end))
            .unwrap_or((text, b""));
        let origin = ValueOrigin::new(ValueSource::Cli, user::current_uid());
        let result = match word {
            b"set" => self.0.set(rest, origin),
            b"reload" => self.0.reload(),
            b"reset" => return self.0.reset(rest.trim_ascii(), origin),
            _ => return Err(EINVAL),
        };
        match result {
            Ok(_) => Ok(()),
            Err(Refused::Text { errno, .. }) => Err(from_wire(errno.to_wire())),
            Err(Refused::Error(error)) => Err(error),
        }
    }
}
