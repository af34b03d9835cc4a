// SPDX-License-Identifier: GPL-2.0

//! Own work queues, and work that is cancelled and waited for before its data goes away.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::helpers;
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::AllocError,
    bindings,
    container_of,
    prelude::*,
    sync::{
        Arc,
        LockClassKey,
        SetOnce,
        SpinLockIrq, //
    },
    time::msecs_to_jiffies,
    types::Opaque, //
};

/// A work queue of our own.
///
/// # Invariants
///
/// The pointer is a work queue that only this object destroys.
pub struct WorkQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: Work queues may be used from any thread.
unsafe impl Send for WorkQueue {}
// SAFETY: Work queues do their own locking.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// Creates a queue that runs its work on the processor where it was queued; work that sleeps
    /// makes room for other work. At most `max_active` pieces are under way on a processor.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(name: &CStr, max_active: c_int) -> Result<Arc<Self>> {
        Self::with_flags(name, bindings::wq_flags_WQ_PERCPU, max_active)
    }

    /// Creates a queue for work that takes long: the scheduler chooses the processor. At most
    /// `max_active` pieces are under way.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn unbound(name: &CStr, max_active: c_int) -> Result<Arc<Self>> {
        Self::with_flags(name, bindings::wq_flags_WQ_UNBOUND, max_active)
    }

    fn with_flags(name: &CStr, flags: bindings::wq_flags, max_active: c_int) -> Result<Arc<Self>> {
        // SAFETY: The name is copied; "%s" matches the one variable argument.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                flags,
                max_active,
                name.as_char_ptr(),
            )
        };
        // INVARIANT: Just created, and nobody else knows it.
        Ok(Arc::new(
            WorkQueue(NonNull::new(queue).ok_or(ENOMEM)?),
            GFP_KERNEL,
        )?)
    }

    /// Queues a piece of work that owns itself. It has run before the queue is destroyed, so its
    /// code has to stay until then, and it must not hold the last reference on the queue. Any
    /// context.
    pub fn enqueue<W, const ID: u64>(&self, work: W) -> W::EnqueueOutput
    where
        W: kernel::workqueue::RawWorkItem<ID> + Send + 'static,
    {
        // SAFETY: By the invariant the queue is valid as long as `self`.
        unsafe { kernel::workqueue::Queue::from_raw(self.0.as_ptr()) }.enqueue(work)
    }

    /// Has `function` run as [`Self::enqueue`] does work. May sleep.
    ///
    /// # Errors
    ///
    /// No memory; then `function` is dropped.
    pub fn spawn(&self, function: impl FnOnce() + Send + 'static) -> Result<(), AllocError> {
        // SAFETY: By the invariant the queue is valid as long as `self`.
        let queue = unsafe { kernel::workqueue::Queue::from_raw(self.0.as_ptr()) };
        queue.try_spawn(GFP_KERNEL, function)
    }

    /// Creates a queue for work that others wait for: it goes before other work. At most
    /// `max_active` pieces are under way on a processor.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn urgent(name: &CStr, max_active: c_int) -> Result<Arc<Self>> {
        let flags = bindings::wq_flags_WQ_PERCPU | bindings::wq_flags_WQ_HIGHPRI;
        Self::with_flags(name, flags, max_active)
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        self.0.as_ptr()
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: By the invariant it is ours. Each `Task` holds a reference on the queue until
        // its work is cancelled, so nothing is queued any more.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// Lets other tasks run, if it is their turn. May sleep.
pub fn yield_now() {
    // SAFETY: Has no preconditions but that it may sleep.
    unsafe { helpers::virgo_yield() };
}

/// Whether the present task is being killed, so that it is not to go on.
pub fn is_killed() -> bool {
    // SAFETY: Has no preconditions: it looks at the present task.
    unsafe { helpers::virgo_is_killed() }
}

/// What a [`Task`] does.
pub trait Run: Send + Sync + Sized + 'static {
    /// Runs in process context, never twice at once for one task. May sleep. `task` is `self`
    /// with the means to run again.
    ///
    /// Must not drop the task itself: dropping waits for `run` to end.
    fn run(task: &Task<Self>);
}

/// Data with a piece of work on it, to be queued now or later, any number of times.
///
/// Dropping a task cancels its work and waits for it; only then the data is dropped.
///
/// # Invariants
///
/// `work` is initialised with [`Task::entry`], and embedded in a `Task<T>` for all its life.
#[pin_data(PinnedDrop)]
pub struct Task<T: Run> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    queue: Arc<WorkQueue>,
    handle: SetOnce<Arc<WorkTarget>>,
    #[pin]
    data: T,
}

// SAFETY: The work may be queued and cancelled from any thread, and `T` is `Send`.
unsafe impl<T: Run> Send for Task<T> {}
// SAFETY: As above, and `T` is `Sync`.
unsafe impl<T: Run> Sync for Task<T> {}

/// Times of 2³¹ milliseconds and more mean for ever to the kernel.
fn jiffies(ms: u32) -> c_ulong {
    msecs_to_jiffies(ms.min(i32::MAX as u32))
}

impl<T: Run> Task<T> {
    /// A task that is not queued yet. Use [`crate::new_task!`].
    pub fn new<E>(
        queue: Arc<WorkQueue>,
        data: impl PinInit<T, E>,
        name: &'static CStr,
        work_key: Pin<&'static LockClassKey>,
        timer_key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        try_pin_init!(Self {
            data <- data,
            queue,
            handle: SetOnce::new(),
            // INVARIANT: Initialised with `entry`; the field pins it into the task.
            work <- Opaque::ffi_init(|slot: *mut bindings::delayed_work| {
                // SAFETY: `slot` is valid for the closure; name and keys live for ever.
                unsafe {
                    bindings::init_work_with_key(
                        &raw mut (*slot).work,
                        Some(Self::entry),
                        false,
                        name.as_char_ptr(),
                        work_key.as_ptr(),
                    );
                    bindings::timer_init_key(
                        &raw mut (*slot).timer,
                        Some(bindings::delayed_work_timer_fn),
                        bindings::TIMER_IRQSAFE,
                        name.as_char_ptr(),
                        timer_key.as_ptr(),
                    );
                }
            }),
        }? Error)
    }

    /// Runs the work as soon as a worker is free. Does nothing if it is queued already.
    ///
    /// May be called in any context.
    pub fn schedule(&self) {
        // SAFETY: By the invariant the work is initialised, and it lives until `drop` has
        // cancelled it. It goes to one queue only.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                self.queue.as_ptr(),
                self.work_ptr(),
            )
        };
    }

    /// Runs the work in `ms` milliseconds. Does nothing if it is queued already: work that runs and calls this
    /// does not undo what has woken it since it began.
    pub fn schedule_after_ms(&self, ms: u32) {
        // SAFETY: As in `schedule`.
        unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                self.queue.as_ptr(),
                self.work.get(),
                jiffies(ms),
            )
        };
    }

    /// Runs the work as soon as a worker is free, also if it was to run later.
    pub fn schedule_now(&self) {
        // SAFETY: As in `schedule`.
        unsafe {
            bindings::mod_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                self.queue.as_ptr(),
                self.work.get(),
                0,
            )
        };
    }

    /// Runs the work in `ms` milliseconds, also if it was to run at another time.
    pub fn reschedule_after_ms(&self, ms: u32) {
        // SAFETY: As in `schedule`.
        unsafe {
            bindings::mod_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                self.queue.as_ptr(),
                self.work.get(),
                jiffies(ms),
            )
        };
    }

    /// Waits until the work has run, if it is queued; at once if it was to run later. Not to be called by
    /// the work. May sleep.
    pub fn wait_for_run(&self) {
        // SAFETY: By the invariant the work is initialised, and it lives as long as `self`.
        unsafe { bindings::flush_delayed_work(self.work.get()) };
    }

    /// Cancels the work and waits for it; it cannot be queued any more. For a task whose work may
    /// hold the last reference on it: dropping it there would wait for itself. Not to be called by
    /// the work. May sleep.
    pub fn stop(&self) {
        // SAFETY: The work is initialised. After this it does not run and cannot be queued.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
        // Not before: the work may have made the first handle. One that wakes in between queues nothing.
        if let Some(target) = self.handle.as_ref() {
            target.clear();
        }
    }

    /// Means to run the work for somebody who does not hold the task. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`EAGAIN`] while another task gets its first one.
    pub fn handle(&self) -> Result<WorkHandle> {
        if self.handle.as_ref().is_none() {
            self.handle.populate(WorkTarget::new(self)?);
        }
        let target = self.handle.as_ref().ok_or(EAGAIN)?;
        Ok(WorkHandle(target.clone()))
    }

    pub(crate) fn delayed_work_ptr(&self) -> *mut bindings::delayed_work {
        self.work.get()
    }

    pub(crate) fn work_ptr(&self) -> *mut bindings::work_struct {
        // SAFETY: `work` points at a live delayed_work; only the address of a field is taken.
        unsafe { &raw mut (*self.work.get()).work }
    }

    pub(crate) fn queue(&self) -> &WorkQueue {
        &self.queue
    }

    /// # Safety
    ///
    /// `work` is the `work` of a live task's delayed work, as the work queue passes it.
    unsafe extern "C" fn entry(work: *mut bindings::work_struct) {
        // SAFETY: By the invariant the work is embedded in a `Task<T>`, which is not freed
        // before `drop` has waited for this function.
        let task = unsafe {
            let delayed = container_of!(work, bindings::delayed_work, work);
            &*container_of!(Opaque::cast_from(delayed), Self, work)
        };
        T::run(task);
    }
}

impl<T: Run> Deref for Task<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

#[pinned_drop]
impl<T: Run> PinnedDrop for Task<T> {
    fn drop(self: Pin<&mut Self>) {
        self.stop();
    }
}

/// Runs a task's work as soon as a worker is free, from any context; does nothing once the task is
/// dropped.
#[derive(Clone)]
pub struct WorkHandle(Arc<WorkTarget>);

/// What a handle refers to.
#[pin_data]
struct WorkTarget {
    #[pin]
    work: SpinLockIrq<Option<Work>>,
}

/// # Invariants
///
/// While it is in a [`WorkTarget`] the work is initialised and its task alive: [`WorkTarget::clear`] comes
/// before the task's end, and after the last run of the work, which may make the target. The queue is the one that the task holds.
struct Work {
    queue: NonNull<bindings::workqueue_struct>,
    work: NonNull<bindings::delayed_work>,
}

// SAFETY: Work may be queued from any thread.
unsafe impl Send for Work {}

impl WorkTarget {
    fn new<T: Run>(task: &Task<T>) -> Result<Arc<Self>> {
        // INVARIANT: The task is alive, and clears this when it is dropped.
        let work = Work {
            queue: NonNull::new(task.queue().as_ptr()).ok_or(EINVAL)?,
            work: NonNull::new(task.delayed_work_ptr()).ok_or(EINVAL)?,
        };
        Arc::pin_init(
            pin_init!(Self { work <- crate::new_spinlock_irq!(Some(work), "virgo_work_handle") }),
            GFP_KERNEL,
        )
    }

    /// The task is about to go. On return no handle touches it.
    fn clear(&self) {
        *self.work.lock() = None;
    }
}

impl WorkHandle {
    /// Runs the work; one that is to run later runs later. Any context.
    pub fn wake(&self) {
        let work = self.0.work.lock();
        if let Some(work) = &*work {
            // SAFETY: By the invariant both are valid while the lock is held.
            unsafe {
                bindings::queue_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                    work.queue.as_ptr(),
                    &raw mut (*work.work.as_ptr()).work,
                )
            };
        }
    }

    /// Runs the work, also if it was to run later. Any context.
    pub fn wake_now(&self) {
        let work = self.0.work.lock();
        if let Some(work) = &*work {
            // SAFETY: As in `wake`.
            unsafe {
                bindings::mod_delayed_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                    work.queue.as_ptr(),
                    work.work.as_ptr(),
                    0,
                )
            };
        }
    }

    /// Runs the work in `ms` milliseconds, unless it is to run at another time already. Any context.
    pub fn wake_after_ms(&self, ms: u32) {
        let work = self.0.work.lock();
        if let Some(work) = &*work {
            // SAFETY: As in `wake`.
            unsafe {
                bindings::queue_delayed_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                    work.queue.as_ptr(),
                    work.work.as_ptr(),
                    jiffies(ms),
                )
            };
        }
    }

    /// Whether its task is there, and not stopped. Any context.
    pub fn has_task(&self) -> bool {
        self.0.work.lock().is_some()
    }

    /// Whether it wakes the same task as `other`.
    pub fn is(&self, other: &WorkHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Initialises a [`Task`] with lockdep classes of its own: for the work and for its timer.
#[macro_export]
macro_rules! new_task {
    ($queue:expr, $data:expr, $name:literal) => {
        $crate::work::Task::new(
            $queue,
            $data,
            $crate::lock_name!($name),
            ::kernel::static_lock_class!(),
            ::kernel::static_lock_class!(),
        )
    };
}
