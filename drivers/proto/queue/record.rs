// SPDX-License-Identifier: GPL-2.0

//! What durable queues write to disk, and how it is read again.
//!
//! A file is records, one after the other, each at a multiple of [`ALIGN`]:
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0–3 | magic | `f6 56 51 32` |
//! | 4 | kind | [`RecordKind`] |
//! | 5 | priority | |
//! | 6 | bytes of the queue's name | |
//! | 7 | bytes of the subject | |
//! | 8–11 | bytes of data | |
//! | 12–15 | CRC-32C of name, subject and data | |
//! | 16–23 | number of the message; of a snapshot its generation | |
//! | 24–31 | when it was written, in milliseconds since 1970 | |
//! | 32–35 | delay, in milliseconds | |
//! | 36–39 | address that the message comes from | |
//! | 40–43 | uid that the message is of | |
//! | 44–51 | the log's cookie | |
//! | 52–55 | CRC-32C of the bytes before | |
//!
//! then name, subject and data, and zeros up to the next multiple. A file begins with a record
//! [`RecordKind::Begin`], whose priority is the [`FORMAT`] of the file and whose data are the cookie; what
//! all queues had then follows, up to [`RecordKind::Whole`], and what has happened since; see
//! [`super::rewrite`]. Begin and Whole both have the generation, so that it is known if one of them is
//! damaged.
//!
//! The head has a sum of its own, so that a flipped bit in the data does not hide what comes after.
//! Where no record begins, the next one is looked for, and what lies between is damaged. A record
//! whose head is whole but which goes on behind the end of the file is a torn tail, and so are fewer
//! bytes than a head has, or zeros: it was being written when the machine stopped, and nobody has
//! been told that it is there.
//!
//! The search for the next record may come into the data of a message, which may look like a record.
//! The cookie tells them apart: a random number of the log that no user knows (the files are
//! readable by root only), and what does not have it is no record. If Begin is damaged the cookie
//! is that of the record right behind it, where no message's content can stand. If the head of that
//! is damaged, too, nothing tells records from content: all of the file is damaged.
//!
//! Records of formats 0 and 1 have the magic `f6 56 51 4c`, and behind byte 39 their sum and four
//! zeros. Begin has that form in all formats, so that earlier versions see that the file is of a
//! later format. Files of these formats are read, never written: see [`Cookie::NONE`].
//!
//! Which lock guards a queue is a record, too ([`RecordKind::Fence`]), written before what it lets in, and by
//! [`super::rewrite`] with what the queue has. Logs from before there were fences have none of them; a version
//! that does not know them shows them as unknown, so that it moves the file aside when it rewrites the log.
//!
//! A reader keeps what it does not understand: records of a kind that it does not know are shown as
//! [`Scanned::Unknown`], and a file of a later format is shown as such by [`Survey::is_newer`].

mod layout;
mod scan;
mod survey;
#[cfg(test)]
mod tests;

pub use layout::{
    delay_left, Cookie, Crc, Record, RecordKind, ALIGN, FORMAT, HEAD, MAX_FENCE, MAX_RECORD, NOBODY,
};
pub use scan::{RecordSource, Scan, Scanned};
pub use survey::{Choice, Survey};
