// SPDX-License-Identifier: GPL-2.0

//! Requests to a memory pool.

use crate::{
    node::{MEMPOOL, Node},
    peer::{Answer, Peer},
    text::Text,
};
use std::io;
use virgo_proto::{
    errno::Errno,
    mempool::{
        AllocArgs, AllocManyArgs, AllocManyReply, AllocReply, FreeObjectArgs, GetSetArgs, ListArgs,
        LookupArgs, ManyArgs, Part, SetManyArgs, op,
    },
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Who a request speaks for; makes the bodies of requests.
#[derive(Clone, Copy)]
pub(crate) struct User(pub(crate) u32);

/// Who text sessions act as, unless the node's configuration says otherwise.
pub(crate) const TEXT: User = User(65534);

/// Root.
pub(crate) const ROOT: User = User(0);

/// Somebody else.
pub(crate) const OTHER: User = User(1000);

impl User {
    /// Body of a request to allocate.
    pub(crate) fn alloc(self, size: u64, flags: u32) -> Vec<u8> {
        let args = AllocArgs {
            size: size.into(),
            uid: self.0.into(),
            flags: flags.into(),
        };
        args.as_bytes().to_vec()
    }

    /// Body of a request to copy `data` into object `id`.
    pub(crate) fn set(self, id: u64, offset: u64, data: &[u8]) -> Vec<u8> {
        [&self.get(id, offset, data.len() as u32), data].concat()
    }

    /// Body of a request to copy bytes out of object `id`.
    pub(crate) fn get(self, id: u64, offset: u64, len: u32) -> Vec<u8> {
        let args = GetSetArgs {
            id: id.into(),
            offset: offset.into(),
            len: len.into(),
            uid: self.0.into(),
        };
        args.as_bytes().to_vec()
    }

    /// Body of a request to free object `id`.
    pub(crate) fn free(self, id: u64, flags: u32) -> Vec<u8> {
        let args = FreeObjectArgs {
            id: id.into(),
            uid: self.0.into(),
            flags: flags.into(),
        };
        args.as_bytes().to_vec()
    }

    /// Body of a request to allocate `count` objects of `size` bytes.
    pub(crate) fn alloc_many(self, size: u64, count: u32, flags: u32) -> Vec<u8> {
        let args = AllocManyArgs {
            size: size.into(),
            uid: self.0.into(),
            flags: flags.into(),
            count: count.into(),
        };
        args.as_bytes().to_vec()
    }

    /// Body of a request to free objects.
    pub(crate) fn free_many(self, ids: &[u64]) -> Vec<u8> {
        let ids = ids.iter().flat_map(|id| id.to_le_bytes());
        self.many().into_iter().chain(ids).collect()
    }

    /// Body of a request to copy bytes out of objects: id, first byte and length of each.
    pub(crate) fn get_many(self, parts: &[(u64, u64, u32)]) -> Vec<u8> {
        let part = |&(id, offset, len): &(u64, u64, u32)| Part {
            id: id.into(),
            offset: offset.into(),
            len: len.into(),
        };
        let parts = parts.iter().map(part);
        let parts = parts.flat_map(|part| part.as_bytes().to_vec());
        self.many().into_iter().chain(parts).collect()
    }

    /// Body of a request to write to several objects.
    pub(crate) fn set_many(self, parts: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let args = SetManyArgs {
            uid: self.0.into(),
            count: (parts.len() as u32).into(),
        };
        let mut body = args.as_bytes().to_vec();
        for &(id, offset, data) in parts {
            let part = Part {
                id: id.into(),
                offset: offset.into(),
                len: (data.len() as u32).into(),
            };
            body.extend_from_slice(part.as_bytes());
        }
        parts
            .iter()
            .for_each(|(_, _, data)| body.extend_from_slice(data));
        body
    }

    /// Body of a request to list the objects of user `of`.
    pub(crate) fn list(self, of: u32, from: u32) -> Vec<u8> {
        let args = ListArgs {
            uid: self.0.into(),
            of: of.into(),
            from: from.into(),
        };
        args.as_bytes().to_vec()
    }

    fn many(self) -> Vec<u8> {
        let uid = self.0.into();
        ManyArgs { uid }.as_bytes().to_vec()
    }

    /// Body of a request for the map of allocation `id`.
    pub(crate) fn lookup(self, id: u64, first: u32) -> Vec<u8> {
        let args = LookupArgs {
            id: id.into(),
            first: first.into(),
            uid: self.0.into(),
        };
        args.as_bytes().to_vec()
    }
}

/// The id in the answer to a request to allocate.
pub(crate) fn allocated(answer: Answer) -> u64 {
    let body = answer.expect("the pool has room");
    let reply = AllocReply::read_from_bytes(&body).expect("an id and what is left");
    reply.id.get()
}

/// What the answer to a request to allocate many says is left, for all and for the user; and the ids.
pub(crate) fn all_allocated(answer: Answer) -> (AllocManyReply, Vec<u64>) {
    let body = answer.expect("the pool has room");
    let (reply, ids) = AllocManyReply::read_from_prefix(&body).expect("what is left");
    let ids = ids.chunks(8).map(|id| id.try_into().expect("8 bytes"));
    (reply, ids.map(u64::from_le_bytes).collect())
}

impl Peer {
    /// Allocates `size` bytes.
    pub(crate) fn alloc(&mut self, size: u64, flags: u32) -> io::Result<u64> {
        Ok(allocated(self.ask(op::ALLOC, &TEXT.alloc(size, flags))?))
    }

    /// Copies `data` into object `id`.
    pub(crate) fn set(&mut self, id: u64, offset: u64, data: &[u8]) -> io::Result<Answer> {
        self.ask(op::SET, &TEXT.set(id, offset, data))
    }

    /// Copies `len` bytes out of object `id`.
    pub(crate) fn get(&mut self, id: u64, offset: u64, len: u32) -> io::Result<Answer> {
        self.ask(op::GET, &TEXT.get(id, offset, len))
    }

    /// Frees object `id`.
    pub(crate) fn free(&mut self, id: u64) -> io::Result<Result<(), Errno>> {
        let answer = self.ask(op::FREE, &TEXT.free(id, 0))?;
        Ok(answer.map(|body| assert_eq!(body, b"", "body of the answer to free")))
    }
}

impl Text {
    /// Allocates `size` bytes of cluster memory.
    pub(crate) fn malloc(&mut self, size: u64) -> io::Result<Allocation> {
        let id = self.ask(format!("virgo_cloud_malloc({size})"))?;
        let digits = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(digits, "the id of {size} bytes is '{id}'");
        Ok(Allocation(id))
    }

    /// Frees an allocation.
    pub(crate) fn free(&mut self, allocation: Allocation) -> io::Result<()> {
        let Allocation(id) = allocation;
        let reply = self.ask(format!("virgo_cloud_free({id})"))?;
        assert_eq!(reply, "kernel memory freed");
        Ok(())
    }
}

/// The id of an allocation, as people see it. To be freed.
#[must_use]
pub(crate) struct Allocation(pub(crate) String);

impl Allocation {
    /// The number.
    pub(crate) fn number(&self) -> u64 {
        u64::from_str_radix(&self.0, 16).expect("checked by malloc")
    }
}

/// Bytes that the node's pool has given out.
pub(crate) fn used(node: &Node) -> io::Result<u64> {
    let stats = Text::open(node, MEMPOOL)?.stats()?;
    Ok(stats["used"])
}
