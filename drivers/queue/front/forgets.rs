// SPDX-License-Identifier: GPL-2.0

//! Telling other nodes that nobody waits for a pull any more.
//!
//! A task that is being killed does not wait, so it leaves that to a worker: one for each node, on a
//! work queue of its own. What waits for a node that does not answer is bounded, for each user and for
//! each node; what finds no room is not said, and others get what was taken when its time is over.

use core::mem::take;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::{
    bytes::copy,
    deadline::Deadline,
    work::WorkQueue, //
};
use virgo_proto::{
    config::MAX_NODES,
    queue::wire::{
        op,
        ForgetArgs, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    budget::{
        Budget,
        Charge, //
    },
    Client,
    Data,
    ReplyDeadline,
    Request, //
};

/// What waits at most, for all nodes; a user other than root has a share.
const MAX: u64 = 1024;

/// What waits for one node.
const MAX_OF_NODE: usize = 128;

/// A pull that nobody waits for.
struct Forget {
    node: NodeId,
    uid: u32,
    name: KVVec<u8>,
    number: u32,
    /// It is not said after that.
    deadline: Deadline,
    _charge: Charge,
}

/// What waits, and for which nodes a worker is under way.
struct State {
    waiting: KVec<Forget>,
    /// A bit for each node.
    busy: u64,
}

const _: () = assert!(MAX_NODES <= u64::BITS as usize);

/// What workers use, which may outlive who has begun them.
#[pin_data]
struct Shared {
    client: Arc<Client>,
    #[pin]
    state: Mutex<State>,
}

/// See the module.
pub(crate) struct Forgets {
    shared: Arc<Shared>,
    budget: Pin<KBox<Budget>>,
    /// Destroyed when its work is done.
    work: Arc<WorkQueue>,
}

fn bit(node: NodeId) -> u64 {
    // Nodes are numbered from 1 on.
    1u64.wrapping_shl(u32::from(node).wrapping_sub(1))
}

impl Forgets {
    /// Nothing waits.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(client: Arc<Client>) -> Result<Self> {
        let state = State {
            waiting: KVec::new(),
            busy: 0,
        };
        let shared = pin_init!(Shared {
            client,
            state <- kernel::new_mutex!(state, "virgo_forgets"),
        });
        Ok(Forgets {
            shared: Arc::pin_init(shared, GFP_KERNEL)?,
            budget: Budget::new(MAX)?,
            work: WorkQueue::unbound(c"virgo_queue_forget", MAX_NODES as c_int)?,
        })
    }

    /// Has `node` told that nobody waits for pull `number` of its queue `name` any more, which was made
    /// for `uid`. May sleep, not for the node.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`], [`ENOBUFS`] and [`ENOMEM`]: it is not told.
    pub(crate) fn add(
        &self,
        node: NodeId,
        uid: u32,
        name: &[u8],
        number: u32,
        timeout_ms: u32,
    ) -> Result {
        let forget = Forget {
            node,
            uid,
            name: copy(name, GFP_KERNEL)?,
            number,
            deadline: Deadline::after_ms(timeout_ms),
            _charge: self.budget.charge(uid, 1)?,
        };
        let mut state = self.shared.state.lock();
        let of_node = state.waiting.iter().filter(|other| other.node == node);
        if of_node.count() >= MAX_OF_NODE {
            return Err(ENOBUFS);
        }
        state.waiting.push(forget, GFP_KERNEL)?;
        if state.busy & bit(node) != 0 {
            return Ok(());
        }
        let shared = self.shared.clone();
        self.work.spawn(move || shared.tell(node))?;
        state.busy |= bit(node);
        Ok(())
    }
}

impl Drop for Forgets {
    /// What is not being said yet is not waited for.
    fn drop(&mut self) {
        let waiting = take(&mut self.shared.state.lock().waiting);
        drop(waiting);
    }
}

impl Shared {
    /// The next one for `node`; if there is none its worker ends.
    fn next(&self, node: NodeId) -> Option<Forget> {
        let mut state = self.state.lock();
        let at = state.waiting.iter().position(|other| other.node == node);
        let next = at.and_then(|at| state.waiting.remove(at).ok());
        if next.is_none() {
            state.busy &= !bit(node);
        }
        next
    }

    /// Tells `node` all that waits for it.
    fn tell(&self, node: NodeId) {
        while let Some(forget) = self.next(node) {
            if forget.deadline.passed() {
                continue;
            }
            let args = ForgetArgs {
                uid: forget.uid.into(),
                number: forget.number.into(),
            };
            let request = Request {
                op: op::FORGET,
                args: args.as_bytes(),
                data: Data::Bytes(&forget.name),
                uid: forget.uid,
                retry_after_restart: true,
                reply_deadline: ReplyDeadline::Soon,
                brief: None,
            };
            // Otherwise others get it when its time is over.
            let _ = self.client.call(node, &request, &mut [], forget.deadline);
        }
    }
}
