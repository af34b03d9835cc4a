// SPDX-License-Identifier: GPL-2.0

//! KUnit suites of what only a kernel can run: the `linux` crate, and what services are made of.
//! They run when the module is loaded (with `kunit.enable=1 kunit.autorun=1`); results are in debugfs, under
//! `kunit/`.

mod backlog;
mod bakery;
mod budget;
mod variables;

use kernel::prelude::*;

module! {
    type: Module,
    name: "virgo_test_kunit",
    authors: ["The VIRGO developers"],
    description: "VIRGO: KUnit suites",
    license: "GPL",
}

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Module)
    }
}

/// A task that counts its runs.
struct Counter {
    runs: kernel::sync::atomic::Atomic<u32>,
    sleep_ms: u32,
}

impl linux::work::Run for Counter {
    fn run(task: &linux::work::Task<Self>) {
        kernel::time::delay::fsleep(kernel::time::Delta::from_millis(task.sleep_ms.into()));
        task.runs.fetch_add(1, kernel::sync::atomic::Relaxed);
    }
}

/// A task that offers a handle on itself, after a while.
struct HandleOffer(kernel::sync::Arc<kernel::sync::SetOnce<linux::work::WorkHandle>>);

impl linux::work::Run for HandleOffer {
    fn run(task: &linux::work::Task<Self>) {
        kernel::time::delay::fsleep(kernel::time::Delta::from_millis(50));
        if let Ok(handle) = task.handle() {
            task.0.populate(handle);
        }
    }
}

#[kunit_tests(virgo_linux)]
mod linux_tests {
    use super::{
        Counter,
        HandleOffer, //
    };
    use core::net::{
        Ipv4Addr,
        SocketAddrV4, //
    };
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc,
            SetOnce, //
        },
        time::{
            delay::fsleep,
            Delta,
            Instant,
            Monotonic, //
        }, //
    };
    use linux::{
        bytes::{
            memory_of,
            Fill, //
        },
        crypto,
        deadline::Deadline,
        file,
        net::{
            is_local,
            Listener,
            Stream, //
        },
        rwlock::RwLock,
        secret::{
            wipe,
            Secret, //
        },
        skbuff::SocketQueue,
        wait::WaitQueue,
        work::{
            Task,
            WorkHandle, //
            WorkQueue,
        }, //
    };

    fn ms_since(start: Instant<Monotonic>) -> i64 {
        start.elapsed().as_millis()
    }

    #[test]
    fn deadline_passes_when_its_time_is_over() {
        let deadline = Deadline::after_ms(40);
        assert!(!deadline.passed());
        assert!(deadline.left_ms() >= 36 && deadline.left_ms() <= 50);
        fsleep(Delta::from_millis(60));
        assert!(deadline.passed());
        assert_eq!(deadline.left_ms(), 0);
        assert!(deadline.min(Deadline::after_ms(1000)).passed());
    }

    #[test]
    fn wait_ends_at_the_deadline_and_not_before() -> Result {
        let queue = KBox::pin_init(linux::new_wait_queue!("test"), GFP_KERNEL)?;
        let queue: &WaitQueue = &queue;
        let start = Instant::now();
        let waited = queue.wait(Deadline::after_ms(50), || None::<()>)?;
        assert!(waited.is_none());
        assert!(ms_since(start) >= 49);
        assert_eq!(queue.wait(Deadline::after_ms(0), || Some(7))?, Some(7));
        Ok(())
    }

    #[test]
    fn task_runs_and_is_waited_for_when_dropped() -> Result {
        let queue = WorkQueue::new(c"virgo_test", 4)?;
        let counter = Counter {
            runs: Atomic::new(0),
            sleep_ms: 30,
        };
        let task: Pin<KBox<Task<Counter>>> =
            KBox::pin_init(linux::new_task!(queue, counter, "test"), GFP_KERNEL)?;
        task.schedule();
        fsleep(Delta::from_millis(100));
        assert_eq!(task.runs.load(Relaxed), 1);
        // In the middle of a run, and with one more far in the future.
        task.schedule();
        fsleep(Delta::from_millis(10));
        task.schedule_after_ms(60_000);
        let start = Instant::now();
        drop(task);
        assert!(ms_since(start) < 5_000);
        Ok(())
    }

    #[test]
    fn stopped_task_does_not_run() -> Result {
        let queue = WorkQueue::new(c"virgo_test", 4)?;
        let counter = Counter {
            runs: Atomic::new(0),
            sleep_ms: 30,
        };
        let task: Pin<KBox<Task<Counter>>> =
            KBox::pin_init(linux::new_task!(queue, counter, "test"), GFP_KERNEL)?;
        let waker = task.handle()?;
        task.schedule();
        fsleep(Delta::from_millis(10));
        task.stop();
        // It was waited for.
        assert_eq!(task.runs.load(Relaxed), 1);
        task.schedule();
        task.schedule_now();
        waker.wake();
        assert!(!waker.has_task());
        fsleep(Delta::from_millis(100));
        assert_eq!(task.runs.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_handle_made_while_its_task_is_dropped_wakes_nothing() -> Result {
        let queue = WorkQueue::new(c"virgo_test", 4)?;
        let handle: Arc<SetOnce<WorkHandle>> = Arc::new(SetOnce::new(), GFP_KERNEL)?;
        let offer = HandleOffer(handle.clone());
        let task: Pin<KBox<Task<HandleOffer>>> =
            KBox::pin_init(linux::new_task!(queue, offer, "test"), GFP_KERNEL)?;
        task.schedule();
        fsleep(Delta::from_millis(10));
        // It is waited for, and makes its first handle meanwhile.
        drop(task);
        let handle = SetOnce::as_ref(&handle).ok_or(ENOENT)?;
        assert!(!handle.has_task());
        handle.wake();
        Ok(())
    }

    #[test]
    fn too_many_bytes_are_refused_without_a_warning() {
        let mut bytes = KVVec::new();
        assert!(bytes.put_zeros(1 << 31, GFP_KERNEL).is_err());
        assert!(bytes.put_zeros(usize::MAX, GFP_KERNEL).is_err());
        assert!(bytes.put_zeros(10, GFP_KERNEL).is_ok());
        assert!(bytes.put_zeros(usize::MAX, GFP_KERNEL).is_err());
        assert_eq!(bytes.len(), 10);
    }

    #[test]
    fn memory_is_what_the_allocator_takes() {
        let memory = [0, 1, 50, 129, 8192, 8193, 50_000, 4 << 20].map(memory_of);
        assert_eq!(memory, [0, 8, 64, 192, 8192, 16_384, 65_536, 4 << 20]);
        // Pages, by vmalloc().
        assert_eq!(memory_of((4 << 20) + 1), (4 << 20) + 1);
    }

    #[test]
    fn secrets_are_wiped() -> Result {
        let mut bytes = *b"0123456789";
        wipe(bytes.get_mut(2..5).ok_or(EINVAL)?);
        assert_eq!(&bytes, b"01\0\0\x0056789");
        assert_eq!(&*Secret::copy_of(&bytes)?, &bytes);
        Ok(())
    }

    #[test]
    fn delayed_task_runs_at_once_when_told() -> Result {
        let queue = WorkQueue::new(c"virgo_test", 4)?;
        let counter = Counter {
            runs: Atomic::new(0),
            sleep_ms: 0,
        };
        let task: Pin<KBox<Task<Counter>>> =
            KBox::pin_init(linux::new_task!(queue, counter, "test"), GFP_KERNEL)?;
        task.schedule_after_ms(60_000);
        fsleep(Delta::from_millis(20));
        assert_eq!(task.runs.load(Relaxed), 0);
        task.schedule_now();
        fsleep(Delta::from_millis(100));
        assert_eq!(task.runs.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn rwlock_is_shared_by_readers() -> Result {
        let lock: Pin<KBox<RwLock<u32>>> =
            KBox::pin_init(linux::new_rwlock!(1u32, "test"), GFP_KERNEL)?;
        *lock.write() += 1;
        let first = lock.read();
        assert_eq!(*first, 2);
        Ok(())
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        // Test case 2.
        let mac = crypto::hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(&mac[..8], &[0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
        assert!(crypto::equal(b"same", b"same"));
        assert!(!crypto::equal(b"same", b"sane"));
        assert!(!crypto::equal(b"same", b"sam"));
        assert!(crypto::random_u64() != crypto::random_u64());
    }

    /// The suite runs in a kernel thread, whose own root is empty.
    #[test]
    fn files_are_read_within_their_limit() {
        assert_eq!(file::read(c"/nowhere", 10).err(), Some(ENOENT));
        assert_eq!(file::read(c"/", 10).err(), Some(EINVAL));
        assert_eq!(file::read(c"/init", 10).err(), Some(EFBIG));
        let init = file::read(c"/init", 1 << 20);
        assert!(init.is_ok_and(|file| file.bytes.starts_with(b"#!") && file.uid == 0));
    }

    #[test]
    fn loopback_is_local_and_the_documentation_net_is_not() {
        assert!(is_local(Ipv4Addr::LOCALHOST));
        assert!(!is_local(Ipv4Addr::new(192, 0, 2, 1)));
    }

    #[test]
    fn bytes_go_through_a_connection_and_the_end_is_seen() -> Result {
        let listener = Listener::bind(7999, 4)?;
        assert!(listener.accept()?.is_none());
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7999);
        let client = Stream::connect(to, Deadline::after_ms(1000))?;
        let server = listener.accept()?.ok_or(ENOTCONN)?;
        assert_eq!(*server.peer()?.ip(), Ipv4Addr::LOCALHOST);
        assert_eq!(client.send(b"ab", b"c", false)?, Some(3));
        assert!(server.wait_readable(Deadline::after_ms(1000))?);
        let mut received = KVVec::new();
        assert_eq!(server.receive(&mut received, 2)?, Some(2));
        assert_eq!(server.receive(&mut received, 100)?, Some(1));
        assert_eq!(&received[..], b"abc");
        assert_eq!(server.receive(&mut received, 100)?, None);
        assert!(!server.wait_readable(Deadline::after_ms(20))?);
        client.shutdown();
        assert!(server.wait_readable(Deadline::after_ms(1000))?);
        assert_eq!(server.receive(&mut received, 100)?, Some(0));
        assert_eq!(received.len(), 3);
        Ok(())
    }

    #[test]
    fn what_the_other_end_has_taken_is_known() -> Result {
        let listener = Listener::bind(7996, 1)?;
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7996);
        let client = Stream::connect(to, Deadline::after_ms(1000))?;
        let before = client.sent();
        assert!(client.has_acked(before));
        // More than the other end takes while nobody reads there.
        let bytes = KVVec::from_elem(0, 1 << 20, GFP_KERNEL)?;
        while client.send(&bytes, b"", false)?.is_some() {}
        let after = client.sent();
        assert!(client.has_acked(before) && !client.has_acked(after));
        let server = listener.accept()?.ok_or(ENOTCONN)?;
        let mut received = KVVec::new();
        let deadline = Deadline::after_ms(10_000);
        while !client.has_acked(after) && server.wait_readable(deadline)? {
            received.clear();
            server.receive(&mut received, bytes.len())?;
        }
        assert!(client.has_acked(after) && client.sent() == after);
        Ok(())
    }

    #[test]
    fn queues_have_what_was_sent_and_not_read() -> Result {
        let listener = Listener::bind(7995, 1)?;
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7995);
        let client = Stream::connect(to, Deadline::after_ms(1000))?;
        let server = listener.accept()?.ok_or(ENOTCONN)?;
        assert_eq!(client.send(&[7; 300], b"", false)?, Some(300));
        assert!(server.wait_readable(Deadline::after_ms(1000))?);
        let queues = server.queues(GFP_KERNEL)?;
        let receive = queues.get(SocketQueue::Receive).ok_or(EBUSY)?;
        assert_eq!(
            (receive.length, receive.bytes, queues.unread()),
            (1, 300, 300)
        );
        assert!(!receive.has_more);
        let head = receive.head.ok_or(ENOENT)?;
        let (start, end) = head.sequence.ok_or(ENOENT)?;
        assert_eq!((end.wrapping_sub(start), head.len), (300, 300));
        let queues = client.queues(GFP_KERNEL)?;
        // The other end may acknowledge a little later.
        assert!(queues.unsent() == 0 && queues.unacknowledged() <= 300);
        let send = queues.get(SocketQueue::Send).ok_or(EBUSY)?;
        assert_eq!((send.length, send.head), (0, None));
        let mut received = KVVec::new();
        assert_eq!(server.receive(&mut received, 1000)?, Some(300));
        assert_eq!(server.queues(GFP_KERNEL)?.unread(), 0);
        virgo_utils::skbuff::virgo_skbuff_debug(&server);
        Ok(())
    }

    #[test]
    fn nobody_listening_is_an_error_at_once() {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7998);
        let result = Stream::connect(to, Deadline::after_ms(1000));
        assert_eq!(result.err(), Some(ECONNREFUSED));
    }

    #[test]
    fn a_port_is_taken_once() -> Result {
        let _first = Listener::bind(7997, 1)?;
        assert_eq!(Listener::bind(7997, 1).err(), Some(EADDRINUSE));
        let _unused = Arc::new(0, GFP_KERNEL)?;
        Ok(())
    }
}

#[kunit_tests(virgo_table)]
mod table_tests {
    use kernel::{
        prelude::*,
        sync::Arc, //
    };
    use virgo_utils::table::{
        Place,
        Table, //
    };

    fn table() -> Result<Pin<KBox<Table<u32>>>> {
        KBox::pin_init(Table::new(5), GFP_KERNEL)
    }

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken_out() -> Result {
        let table = table()?;
        let place = table.insert(Arc::new(7, GFP_KERNEL)?)?;
        assert_eq!(table.get(place).map(|v| *v), Some(7));
        assert_eq!(table.count(), 1);
        assert_eq!(table.remove(place).map(|v| *v), Some(7));
        assert!(table.get(place).is_none());
        assert!(table.remove(place).is_none());
        assert_eq!(table.count(), 0);
        Ok(())
    }

    #[test]
    fn a_place_used_again_has_another_generation() -> Result {
        let table = table()?;
        let old = table.insert(Arc::new(1, GFP_KERNEL)?)?;
        table.remove(old);
        let new = loop {
            let place = table.insert(Arc::new(2, GFP_KERNEL)?)?;
            if place.slot == old.slot {
                break place;
            }
            table.remove(place);
        };
        assert!(old.generation != new.generation);
        assert!(table.get(old).is_none());
        assert_eq!(table.get(new).map(|v| *v), Some(2));
        Ok(())
    }

    #[test]
    fn all_free_places_are_used_before_one_is_used_again() -> Result {
        let table = table()?;
        let first = table.insert(Arc::new(0, GFP_KERNEL)?)?;
        table.remove(first);
        let mut others = 0;
        loop {
            let place = table.insert(Arc::new(1, GFP_KERNEL)?)?;
            table.remove(place);
            if place.slot == first.slot {
                break;
            }
            others += 1;
        }
        assert_eq!(others, 127);
        Ok(())
    }

    #[test]
    fn places_that_never_were_are_empty() -> Result {
        let table = table()?;
        for slot in [0, 127, 128, u32::MAX] {
            let place = Place {
                slot,
                generation: 5,
            };
            assert!(table.get(place).is_none());
            assert!(table.remove(place).is_none());
        }
        Ok(())
    }

    #[test]
    fn many_objects_keep_their_places() -> Result {
        let table = table()?;
        let mut places = KVVec::new();
        for value in 0..1000 {
            places.push(table.insert(Arc::new(value, GFP_KERNEL)?)?, GFP_KERNEL)?;
        }
        for place in places.iter().step_by(3) {
            table.remove(*place);
        }
        for (value, place) in places.iter().enumerate() {
            let found = table.get(*place).map(|v| *v as usize);
            assert_eq!(found, (value % 3 != 0).then_some(value));
        }
        Ok(())
    }

    #[test]
    fn wanted_objects_are_taken_out_in_one_pass() -> Result {
        let table = table()?;
        for value in 0..300 {
            table.insert(Arc::new(value, GFP_KERNEL)?)?;
        }
        let (mut from, mut taken) = (0, 0);
        while let Some((value, next)) = table.remove_next(from, |value| value % 2 == 0) {
            assert_eq!(*value % 2, 0);
            from = next;
            taken += 1;
        }
        assert_eq!(taken, 150);
        assert_eq!(table.count(), 150);
        Ok(())
    }
}
