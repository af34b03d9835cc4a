// SPDX-License-Identifier: GPL-2.0

//! Why something with a queue went wrong, for people: the same in text sessions, in the library and
//! on the command line.

use super::{options::Options, subject, MAX_MESSAGE, MAX_NAME};
use crate::errno::Errno;

/// Most bytes of options.
pub const MAX_OPTIONS: usize = 1024;

/// What a name is.
pub const NAME: &str =
    "expected a name: words of letters, digits and the like with dots between them";

/// What a pattern is.
pub const PATTERN: &str = "expected a name or a pattern such as orders.*.new or orders.>";

const NAME_TOO_LONG: &str = "a name has at most 128 bytes";
/// Words of options beyond [`MAX_OPTIONS`].
pub const OPTIONS_TOO_LONG: &str = "options have at most 1024 bytes";
const MESSAGE_TOO_LONG: &str = "a message has at most 65536 bytes";

// The texts name them.
const _: () = assert!(MAX_NAME == 128 && MAX_OPTIONS == 1024 && MAX_MESSAGE == 65536);

/// What an error means with queues.
pub const fn explain(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => {
            "no queue or topic of this name, and nobody has subscribed to it; create makes one"
        }
        Errno::EEXIST => "there is a queue or topic of this name",
        Errno::ENOBUFS => "the queue is full",
        Errno::ETIMEDOUT => "no room in the queue, or no answer of it or its disk, in time",
        Errno::EUSERS => "too many; the limits are parameters of virgo_queue",
        Errno::EMSGSIZE => MESSAGE_TOO_LONG,
        Errno::ESTALE => "the message is not (or no longer) with whoever says this of it",
        Errno::ENOLCK => "a lock guards the queue or topic, and not the one that was said, if any",
        Errno::EALREADY => "subscribed already",
        Errno::ESRCH => "nobody waits for the reply any more",
        Errno::EROFS => "there are no durable queues here; 'virgo queue status' says why",
        Errno::EIO => "the disk of the durable queues has failed; 'virgo queue status' says more",
        Errno::ENOSPC => {
            "the disk of the durable queues is full, or their log as long as it may be"
        }
        Errno::ENOMEM => "no memory left for messages; see max_bytes of virgo_queue",
        Errno::EDQUOT => {
            "you have a user's share, of this queue or of all messages, queues or requests; see \
             user_share of virgo_utils"
        }
        Errno::EPERM => "requests have no delay and no priority above 4, but for root's",
        Errno::EACCES => "the mode of the queue or topic does not allow it to you",
        errno => errno.text(),
    }
}

/// What an error means to who has said which lock guards the queue or topic that it changes.
pub const fn explain_fenced(errno: Errno) -> &'static str {
    match errno {
        Errno::ESTALE => "somebody else has had the lock since this token was granted",
        Errno::ENOLCK => {
            "another lock guards it; or none can: a subscription, the queue of requests, or a name that \
             nobody has created"
        }
        Errno::EACCES => {
            "the mode of the queue or topic does not allow it to you; who says a token needs the right \
             to delete, too"
        }
        errno => explain(errno),
    }
}

/// What is wrong with a name; `None` if nothing is.
pub fn of_name(name: &[u8]) -> Option<&'static str> {
    match name.len() {
        0..=MAX_NAME if subject::is_name(name) => None,
        0..=MAX_NAME => Some(NAME),
        _ => Some(NAME_TOO_LONG),
    }
}

/// What is wrong with a pattern; `None` if nothing is.
pub fn of_pattern(pattern: &[u8]) -> Option<&'static str> {
    match pattern.len() {
        0..=MAX_NAME if subject::is_pattern(pattern) => None,
        0..=MAX_NAME => Some(PATTERN),
        _ => Some(NAME_TOO_LONG),
    }
}

/// What is wrong with the options of a queue; `None` if nothing is, as far as this version knows.
pub fn of_options(options: &[u8]) -> Option<&'static str> {
    match options.len() {
        0..=MAX_OPTIONS => Options::DEFAULT.parse(options).err(),
        _ => Some(OPTIONS_TOO_LONG),
    }
}

/// What is wrong with a message; `None` if nothing is.
pub fn of_message(message: &[u8]) -> Option<&'static str> {
    (message.len() > MAX_MESSAGE).then_some(MESSAGE_TOO_LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_at_the_limit_itself() {
        assert_eq!(of_name(&[b'a'; MAX_NAME]), None);
        assert_eq!(of_name(&[b'a'; MAX_NAME + 1]), Some(NAME_TOO_LONG));
        assert_eq!(of_pattern(&[b'a'; MAX_NAME]), None);
        assert_eq!(of_pattern(&[b'a'; MAX_NAME + 1]), Some(NAME_TOO_LONG));
        assert_eq!(of_options(&[b' '; MAX_OPTIONS]), None);
        assert_eq!(of_options(&[b' '; MAX_OPTIONS + 1]), Some(OPTIONS_TOO_LONG));
        assert_eq!(of_message(&[0; MAX_MESSAGE]), None);
        assert_eq!(of_message(&[0; MAX_MESSAGE + 1]), Some(MESSAGE_TOO_LONG));
    }

    #[test]
    fn reasons_are_those_of_the_grammar() {
        assert_eq!(of_name(b"a..b"), Some(NAME));
        assert_eq!(of_name(b"a.*"), Some(NAME));
        assert_eq!(of_pattern(b"a.*"), None);
        assert_eq!(of_pattern(b">.a"), Some(PATTERN));
        assert_eq!(
            of_options(b"messages=0"),
            Some("messages: expected 1 to 1048576")
        );
    }

    #[test]
    fn errors_that_queues_do_not_have_keep_their_text() {
        assert_eq!(explain(Errno::EFAULT), Errno::EFAULT.text());
        assert_eq!(explain_fenced(Errno::ENOBUFS), explain(Errno::ENOBUFS));
        assert_ne!(explain(Errno::ENOENT), Errno::ENOENT.text());
    }
}
