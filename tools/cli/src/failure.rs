// SPDX-License-Identifier: GPL-2.0
//! Telling people what went wrong and what to do.

use crate::{
    call_error::CallError,
    net::NetError,
    output::{Printer, StdoutError, note, printable},
};
use serde_json::json;
use std::io::ErrorKind;
use virgo::status;

/// Prints an error to standard error. That the reader of standard output has enough is none.
pub(crate) fn report(output: Printer, error: &anyhow::Error) {
    if error
        .downcast_ref()
        .is_some_and(StdoutError::is_closed_pipe)
    {
        return;
    }
    let errno = match error.downcast_ref::<CallError>() {
        Some(failed) => Some(failed.errno),
        None => error.downcast_ref().map(virgo::Error::errno),
    };
    let advice = advice(error);
    if output.json {
        let error = format!("{error:#}");
        let report = json!({ "error": error, "errno": errno, "advice": advice });
        note(format_args!("{report}"));
        return;
    }
    let error = printable(&format!("{error:#}"));
    note(format_args!("virgo: {error}"));
    if let Some(advice) = advice {
        note(format_args!("virgo: {advice}"));
    }
}

/// What can be done about an error.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(failed) = error.downcast_ref::<CallError>() {
        return failed.advice();
    }
    if let Some(error) = error.downcast_ref::<virgo::Error>() {
        return if error.is_of_fence() {
            fence_advice(error.errno())
        } else if error.is_of_file() {
            match error.file() {
                Some(name) if error.errno() == libc::EACCES => {
                    Some(access_advice(virgo::symlink_metadata(name).is_ok()))
                }
                _ => file_advice(error.errno()),
            }
        } else if error.is_of_queue() {
            queue_advice(error.errno())
        } else if error.is_of_call() {
            job_advice(error.errno())
        } else if error.is_of_lock() {
            lock_advice(error.errno())
        } else {
            memory_advice(error.errno(), error.id().is_some())
        };
    }
    if let Some(error) = error.downcast_ref::<NetError>() {
        return error.advice();
    }
    match error.downcast_ref()? {
        status::StatusError::Io { error, .. } => match error.kind() {
            ErrorKind::NotFound => Some(
                "is its module loaded (lsmod), and debugfs mounted \
                 (mount -t debugfs debugfs /sys/kernel/debug)?",
            ),
            ErrorKind::PermissionDenied if error.raw_os_error() == Some(libc::EPERM) => Some(
                "a kernel under lockdown (Secure Boot) opens no file of debugfs that can be \
                 written; 'virgo doctor' says more",
            ),
            ErrorKind::PermissionDenied => Some("only root may use this file"),
            _ => None,
        },
        status::StatusError::Rejected(_) => Some("the configuration stays as it was"),
        status::StatusError::Format { .. } => {
            Some("this program and the modules are of different versions")
        }
        _ => None,
    }
}

/// What can be done about the error of a system call about calls.
fn job_advice(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::ENOSYS => {
            "the module virgo_cpupooling is not loaded (insmod it after virgo_config and \
             virgo_utils), or this is not a kernel with the VIRGO system calls"
        }
        libc::ESRCH => "its result was taken or it was never started; 'virgo jobs' lists jobs",
        libc::EPERM => "run this as the user who has started it",
        libc::ETIMEDOUT => "it still runs: wait again, or end it with 'virgo cancel'",
        libc::EINVAL => "the timeout may be at most 300s, and no argument may have a NUL",
        libc::E2BIG => "name and arguments may have 32 KiB together",
        libc::EAGAIN => {
            "too many results were not taken: take them with 'virgo wait', or load \
             virgo_cpupooling with a larger max_jobs"
        }
        libc::ENODEV => "'virgo nodes' shows the nodes",
        _ => return None,
    })
}

/// What can be done about the error of a system call about locks.
fn lock_advice(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::ENOSYS => {
            "the module virgo_cloudsync is not loaded (insmod it after virgo_config and \
             virgo_utils), or this is not a kernel with the VIRGO system calls"
        }
        libc::EAGAIN | libc::ETIMEDOUT => "'virgo locks' shows who has it and who waits",
        libc::EHOSTDOWN => "'virgo nodes --ping' shows which nodes answer",
        libc::EDQUOT => {
            "you have your share of the locks: give some back, or have virgo_cloudsync loaded with \
             larger max_names and max_locks"
        }
        libc::ENOMEM => {
            "give locks back, or load virgo_cloudsync with larger max_names and max_locks"
        }
        libc::ESHUTDOWN => {
            "somebody has stopped the service: write 'start' to \
             /sys/kernel/debug/virgo/cloudsync/peers"
        }
        _ => return None,
    })
}

/// What can be done about a file that must not be used so. If it can be looked at, it is in an export.
fn access_advice(is_exported: bool) -> &'static str {
    match is_exported {
        true => {
            "its owner and permissions ('virgo ls -l') do not let the user that the node's 'export' \
             line names do this"
        }
        false => {
            "add the directory to /etc/virgo_cloud.conf of that node, 'export = DIRECTORY rw UID', \
             and say 'virgo config reload' there; if it is there, the user it names must be \
             allowed to enter the directories on the way"
        }
    }
}

/// What can be done about the error of a system call about files.
fn file_advice(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::ENOSYS => {
            "the module virgo_cloudfs is not loaded (insmod it after virgo_config and \
             virgo_utils), or this is not a kernel with the VIRGO system calls"
        }
        libc::EROFS => "the node exports it as 'ro'",
        libc::EXDEV => {
            "a path cannot lead out of its export, by '..', a link or a mount, nor a file be \
             renamed to another export or node"
        }
        libc::EMFILE => {
            "close files, or load virgo_cloudfs on that node with a larger max_open; here, ulimit \
             -n counts, too"
        }
        libc::EINVAL => "a name is /PATH, NODE:/PATH, NODE,NODE:/PATH or POLICY:/PATH",
        libc::ESTALE => "its node has restarted; open it again",
        libc::ENFILE => "close files, or load virgo_cloudfs here with a larger max_files",
        libc::EOPNOTSUPP => {
            "its file system has no extended attributes, where the token is kept, or its node an \
             earlier version"
        }
        libc::EDQUOT => {
            "one user has a share only of the files that may be open, here and there: close some, or \
             have virgo_utils loaded with a larger user_share; or it is a disk quota"
        }
        libc::EPERM => {
            "a program must be allowed to open /dev/virgo; there, the file or its directory may not be \
             changed so (chattr, sticky directories)"
        }
        libc::ENODEV => "'virgo nodes' shows the nodes",
        libc::EHOSTDOWN | libc::EHOSTUNREACH | libc::ETIMEDOUT | libc::ECONNRESET => {
            "'virgo nodes --ping' shows which nodes answer; 'virgo cp --resume' goes on"
        }
        libc::EKEYREJECTED => "all nodes need the same /etc/virgo.key",
        libc::ESHUTDOWN => {
            "somebody has stopped the service: write 'start' to \
             /sys/kernel/debug/virgo/cloudfs/peers"
        }
        _ => return None,
    })
}

/// What can be done about the error of a system call about a queue.
fn queue_advice(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::ENOSYS => {
            "the module virgo_queue is not loaded (insmod it after virgo_config and virgo_utils), \
             or this is not a kernel with the VIRGO system calls"
        }
        libc::ENOENT => {
            "'virgo queue create' makes a queue; 'virgo queue list' shows those of this node"
        }
        libc::EACCES => {
            "its owner can let others take, publish or delete: 'mode=' of 'virgo queue create'"
        }
        libc::ENOBUFS => "take messages out, or create it with a larger messages= or bytes=",
        libc::ESTALE => "it was acknowledged already, or its time was over and others may have it",
        libc::EUSERS => "load virgo_queue with a larger max_queues or max_bound",
        libc::ENOMEM => "take messages out, or load virgo_queue with a larger max_bytes",
        libc::EDQUOT => "you have your share of the node's queues: take messages out",
        libc::ETIMEDOUT => "--timeout gives it longer",
        libc::ENODEV => "'virgo nodes' shows the nodes",
        libc::EHOSTDOWN | libc::EHOSTUNREACH => "'virgo nodes --ping' shows which nodes answer",
        libc::ECONNRESET => "the node has restarted; nobody knows whether it was done",
        libc::EKEYREJECTED => "all nodes need the same /etc/virgo.key",
        libc::ESHUTDOWN => {
            "somebody has stopped the service: write 'start' to \
             /sys/kernel/debug/virgo/queue/peers"
        }
        _ => return None,
    })
}

/// What can be done about the error of a system call about memory, perhaps about an id.
fn memory_advice(errno: i32, id: bool) -> Option<&'static str> {
    Some(match errno {
        libc::ENOSYS => {
            "the module virgo_mempool is not loaded (insmod it after virgo_config and \
             virgo_utils), or this is not a kernel with the VIRGO system calls"
        }
        libc::EINVAL if id => "no node has issued this id: ids are what 'virgo malloc' prints",
        libc::EINVAL => "the size must be at least 1, the timeout at most 300s",
        libc::ESTALE => "its memory is gone; allocate anew",
        libc::EPERM => "run this as its owner, or allocate with --shared",
        libc::EFBIG => "the allocation ends before the data does",
        libc::ENOMEM => {
            "free allocations, ask for less or for another --place, or load virgo_mempool with a \
             larger pool_bytes"
        }
        libc::EDQUOT => "you have your share of the pool: free allocations, or ask another --place",
        libc::ENODEV => "'virgo nodes' shows the nodes",
        libc::EHOSTDOWN | libc::EHOSTUNREACH | libc::ETIMEDOUT => {
            "'virgo nodes --ping' shows which nodes answer"
        }
        libc::ECONNRESET => "the node has restarted; nobody knows whether it was done",
        libc::EKEYREJECTED => "all nodes need the same /etc/virgo.key",
        libc::ESHUTDOWN => {
            "somebody has stopped the service: write 'start' to \
             /sys/kernel/debug/virgo/mempool/peers"
        }
        _ => return None,
    })
}

/// What can be done if the lock that guards what was to be changed keeps somebody out.
fn fence_advice(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::ESTALE => "lock it again: its content may have changed, and the token has",
        libc::ENOLCK => {
            "'virgo lock NAME -- COMMAND' gives the command VIRGO_LOCK_FENCE, which --fence takes; \
             the owner of an allocation or queue can free or delete it without"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_is_not_loaded_is_named() {
        assert!(job_advice(libc::ENOSYS).is_some_and(|text| text.contains("virgo_cpupooling")));
        assert!(lock_advice(libc::ENOSYS).is_some_and(|text| text.contains("virgo_cloudsync")));
        assert!(
            memory_advice(libc::ENOSYS, true).is_some_and(|text| text.contains("virgo_mempool"))
        );
    }

    #[test]
    fn a_bad_id_is_told_from_a_bad_size() {
        assert_ne!(
            memory_advice(libc::EINVAL, true),
            memory_advice(libc::EINVAL, false)
        );
    }

    #[test]
    fn permissions_are_told_from_what_is_not_exported() {
        assert!(access_advice(false).contains("virgo_cloud.conf"));
        assert!(!access_advice(true).contains("virgo_cloud.conf"));
    }

    #[test]
    fn advice_is_found_through_context() {
        let rejected =
            status::StatusError::Rejected("/etc/virgo_cloud.conf:1: unknown key".to_owned());
        let error = anyhow::Error::new(rejected).context("cannot reload");
        assert_eq!(advice(&error), Some("the configuration stays as it was"));
    }
}
