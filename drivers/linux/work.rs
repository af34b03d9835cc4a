// SPDX-License-Identifier: GPL-2.0

//! Own work queues, and work that is cancelled and waited for before its data goes away.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::{
    helpers,
    waker::{
        Target,
        WorkHandle, //
    }, //
};
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
        SetOnce, //
    },
    types::Opaque, //
};

/// A work queue of our own.
///
/// # Invariants
///
/// The pointer is a work queue that only this object destroys.
pub struct Queue(NonNull<bindings::workqueue_struct>);

// SAFETY: Work queues may be used from any thread.
unsafe impl Send for Queue {}
// SAFETY: Work queues do their own locking.
unsafe impl Sync for Queue {}

impl Queue {
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
            Queue(NonNull::new(queue).ok_or(ENOMEM)?),
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

impl Drop for Queue {
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
    queue: Arc<Queue>,
    waker: SetOnce<Arc<Target>>,
    #[pin]
    data: T,
}

// SAFETY: The work may be queued and cancelled from any thread, and `T` is `Send`.
unsafe impl<T: Run> Send for Task<T> {}
// SAFETY: As above, and `T` is `Sync`.
unsafe impl<T: Run> Sync for Task<T> {}

impl<T: Run> Task<T> {
    /// A task that is not queued yet. Use [`crate::new_task!`].
    pub fn new<E>(
        queue: Arc<Queue>,
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
            waker: SetOnce::new(),
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

    /// Runs the work in `ms` milliseconds. Does nothing if it is queued already.
    pub fn schedule_after_ms(&self, ms: u32) {
        // SAFETY: As in `schedule`.
        unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                self.queue.as_ptr(),
                self.work.get(),
                bindings::__msecs_to_jiffies(ms),
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
                bindings::__msecs_to_jiffies(ms),
            )
        };
    }

    /// Cancels the work and waits for it; it cannot be queued any more. For a task whose work may
    /// hold the last reference on it: dropping it there would wait for itself. Not to be called by
    /// the work. May sleep.
    pub fn stop(&self) {
        if let Some(target) = self.waker.as_ref() {
            target.clear();
        }
        // SAFETY: The work is initialised. After this it does not run and cannot be queued.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }

    /// Means to run the work for somebody who does not hold the task. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`EAGAIN`] while another task gets its first one.
    pub fn waker(&self) -> Result<WorkHandle> {
        if self.waker.as_ref().is_none() {
            self.waker.populate(Target::new(self)?);
        }
        let target = self.waker.as_ref().ok_or(EAGAIN)?;
        Ok(WorkHandle::new(target.clone()))
    }

    pub(crate) fn delayed_work_ptr(&self) -> *mut bindings::delayed_work {
        self.work.get()
    }

    pub(crate) fn work_ptr(&self) -> *mut bindings::work_struct {
        // SAFETY: `work` points at a live delayed_work; only the address of a field is taken.
        unsafe { &raw mut (*self.work.get()).work }
    }

    pub(crate) fn queue(&self) -> &Queue {
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
