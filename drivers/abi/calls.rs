// SPDX-License-Identifier: GPL-2.0

//! Serving VIRGO's calls, at each door by which programs make them.
//!
//! C headers: [`include/linux/virgo_calls.h`](srctree/include/linux/virgo_calls.h), `served.h`

use crate::generated::{
    self,
    virgo_calls, //
};
use core::mem::size_of;
use kernel::{
    container_of,
    error::to_result,
    prelude::*,
    types::Opaque,
    uaccess::UserPtr, //
};

/// The system calls of the processor pool. All run in the task of the caller and may sleep.
///
/// Each returns 0 or a count.
pub trait CpupoolCalls: Send + Sync + 'static {
    /// Call 548: run the target that the string at `func` names.
    fn clone(&self, func: UserPtr) -> Result<usize>;
    /// Call 557, `struct virgo_clone_args`.
    fn clone2(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 558, `struct virgo_wait_args`.
    fn wait(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 559, `struct virgo_cancel_args`.
    fn cancel(&self, args: UserPtr, size: usize) -> Result<usize>;
}

/// The system calls of the memory pool. All run in the task of the caller and may sleep.
///
/// Each returns 0 or a count.
pub trait MempoolCalls: Send + Sync + 'static {
    /// Call 549: allocate `size` bytes, write the id to `id`.
    fn malloc(&self, size: c_int, id: UserPtr) -> Result<usize>;
    /// Call 550: copy the string at `data` into allocation `id`.
    fn set(&self, id: u64, data: UserPtr) -> Result<usize>;
    /// Call 551: copy the string in allocation `id` to `data`.
    fn get(&self, id: u64, data: UserPtr) -> Result<usize>;
    /// Call 552: free allocation `id`.
    fn free(&self, id: u64) -> Result<usize>;
    /// Call 560, `struct virgo_malloc_args`.
    fn malloc2(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 561, `struct virgo_data_args`.
    fn set2(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 562, `struct virgo_data_args`.
    fn get2(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 563, `struct virgo_free_args`.
    fn free2(&self, args: UserPtr, size: usize) -> Result<usize>;
}

/// The system calls of the file service. All run in the task of the caller and may sleep.
///
/// Each returns 0, a count, or a descriptor.
pub trait CloudfsCalls: Send + Sync + 'static {
    /// Call 553: open or create the file whose path is at `path`.
    fn open(&self, path: UserPtr) -> Result<usize>;
    /// Call 554: close descriptor `fd`.
    fn close(&self, fd: c_long) -> Result<usize>;
    /// Call 555: copy `size` bytes at `pos` of the file to `data`.
    fn read(&self, fd: c_long, data: UserPtr, size: c_int, pos: c_int) -> Result<usize>;
    /// Call 556: copy `size` bytes at `data` to `pos` of the file.
    fn write(&self, fd: c_long, data: UserPtr, size: c_int, pos: c_int) -> Result<usize>;
    /// Call 564, `struct virgo_open_args`.
    fn open2(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 565, `struct virgo_file_args`.
    fn read2(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 566, `struct virgo_file_args`.
    fn write2(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 567, `struct virgo_fsync_args`.
    fn fsync(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 568, `struct virgo_stat_args`.
    fn stat(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 569, `struct virgo_truncate_args`.
    fn truncate(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 570, `struct virgo_unlink_args`.
    fn unlink(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 571, `struct virgo_rename_args`.
    fn rename(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 572, `struct virgo_mkdir_args`.
    fn mkdir(&self, args: UserPtr, size: usize) -> Result<usize>;
    /// Call 573, `struct virgo_readdir_args`.
    fn readdir(&self, args: UserPtr, size: usize) -> Result<usize>;
}

/// The system call of the queue. It runs in the task of the caller and may sleep.
pub trait QueueCalls: Send + Sync + 'static {
    /// Call 574, `struct virgo_queue_args`. Returns 0, a count, a length or a descriptor.
    fn queue(&self, args: UserPtr, size: usize) -> Result<usize>;
}

/// The system call of cluster locks. It runs in the task of the caller and may sleep.
pub trait CloudsyncCalls: Send + Sync + 'static {
    /// Call 575, `struct virgo_lock_args`. Returns 0 or a descriptor.
    fn lock(&self, args: UserPtr, size: usize) -> Result<usize>;
}

/// Writes the registration of a service's calls: the type that keeps them registered, and for each
/// call the C function that finds the handler and calls its method of the same name.
macro_rules! registration {
    (
        $(#[$doc:meta])*
        $registration:ident, $trait:ident, $service:ident:
        $($name:ident($($arg:ident: $c:ty => $value:expr),*);)*
    ) => {
        $(#[$doc])*
        ///
        /// # Invariants
        ///
        /// `calls` is registered and does not change while it is.
        #[pin_data(PinnedDrop)]
        pub struct $registration<T: $trait> {
            #[pin]
            calls: Opaque<virgo_calls>,
            handler: T,
        }

        // SAFETY: `calls` is only read once registered, and `T` is `Send`.
        unsafe impl<T: $trait> Send for $registration<T> {}
        // SAFETY: `calls` is only read once registered, and `T` is `Sync`.
        unsafe impl<T: $trait> Sync for $registration<T> {}

        impl<T: $trait> $registration<T> {
            /// Serves the calls by `handler`, on behalf of `module`, which is pinned during each
            /// call.
            ///
            /// `module` must be the module that holds this registration in its state, so that it
            /// is dropped in the module's exit function at the latest.
            ///
            /// # Errors
            ///
            /// [`EBUSY`] if another module serves them; [`EINVAL`] if the kernel or virgo_config
            /// was built with another layout of `struct virgo_calls`.
            pub fn new(module: &'static ThisModule, handler: T) -> impl PinInit<Self, Error> {
                try_pin_init!(Self {
                    handler,
                    calls: Opaque::new(virgo_calls {
                        owner: module.as_ptr(),
                        size: size_of::<virgo_calls>(),
                        $($name: Some(Self::$name),)*
                        ..Default::default()
                    }),
                }? Error)
                .pin_chain(|this| {
                    // SAFETY: `calls` is pinned, and stays registered until `drop`.
                    // INVARIANT: Registered from here on. If it fails `drop` runs all the same,
                    // and withdrawing what is not registered does nothing.
                    to_result(unsafe {
                        generated::virgo_serve(generated::$service, this.calls.get())
                    })
                })
            }

            /// # Safety
            ///
            /// `calls` is the `calls` of a live registration: both doors pass what was
            /// registered, and pin the module that owns it.
            unsafe fn call(
                calls: *const virgo_calls,
                f: impl FnOnce(&T) -> Result<usize>,
            ) -> c_long {
                let calls = Opaque::cast_from(calls).cast_mut();
                // SAFETY: By the caller's promise.
                let this = unsafe { &*container_of!(calls, Self, calls) };
                match f(&this.handler) {
                    Ok(count) => c_long::try_from(count).unwrap_or(c_long::MAX),
                    Err(e) => e.to_errno() as c_long,
                }
            }

            $(
                /// # Safety
                ///
                /// As for [`Self::call`].
                unsafe extern "C" fn $name(calls: *const virgo_calls, $($arg: $c),*) -> c_long {
                    // SAFETY: By the caller's promise.
                    unsafe { Self::call(calls, |handler| $trait::$name(handler, $($value),*)) }
                }
            )*
        }

        #[pinned_drop]
        impl<T: $trait> PinnedDrop for $registration<T> {
            fn drop(self: Pin<&mut Self>) {
                // SAFETY: By the invariant `calls` is registered. Calls inside hold the module,
                // so there are none when its exit function drops this.
                unsafe { generated::virgo_unserve(generated::$service, self.calls.get()) };
            }
        }
    };
}

registration! {
    /// Keeps the processor pool's system calls registered; dropping it withdraws them.
    CpupoolRegistration, CpupoolCalls, virgo_service_VIRGO_CPUPOOLING:
    clone(func: *const c_char => UserPtr::from_ptr(func.cast_mut().cast()));
    clone2(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    wait(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    cancel(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
}

registration! {
    /// Keeps the memory pool's system calls registered; dropping it withdraws them.
    MempoolRegistration, MempoolCalls, virgo_service_VIRGO_MEMPOOL:
    malloc(size: c_int => size, id: *mut u64 => UserPtr::from_ptr(id.cast()));
    set(id: u64 => id, data: *const c_char => UserPtr::from_ptr(data.cast_mut().cast()));
    get(id: u64 => id, data: *mut c_char => UserPtr::from_ptr(data.cast()));
    free(id: u64 => id);
    malloc2(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    set2(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    get2(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    free2(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
}

registration! {
    /// Keeps the file service's system calls registered; dropping it withdraws them.
    CloudfsRegistration, CloudfsCalls, virgo_service_VIRGO_CLOUDFS:
    open(path: *const c_char => UserPtr::from_ptr(path.cast_mut().cast()));
    close(fd: c_long => fd);
    read(fd: c_long => fd, data: *mut c_char => UserPtr::from_ptr(data.cast()), size: c_int => size,
        pos: c_int => pos);
    write(fd: c_long => fd, data: *const c_char => UserPtr::from_ptr(data.cast_mut().cast()),
        size: c_int => size, pos: c_int => pos);
    open2(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    read2(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    write2(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    fsync(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    stat(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    truncate(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    unlink(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    rename(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    mkdir(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
    readdir(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
}

registration! {
    /// Keeps the system call of cluster locks registered; dropping it withdraws it.
    CloudsyncRegistration, CloudsyncCalls, virgo_service_VIRGO_CLOUDSYNC:
    lock(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
}

registration! {
    /// Keeps the queue's system call registered; dropping it withdraws it.
    QueueRegistration, QueueCalls, virgo_service_VIRGO_QUEUE:
    queue(args: *mut c_void => UserPtr::from_ptr(args), size: usize => size);
}
