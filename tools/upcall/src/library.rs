// SPDX-License-Identifier: GPL-2.0
//! A library and its functions.
#![expect(unsafe_code, reason = "foreign code is loaded and called")]

use crate::failure::CallFailure;
use libloading::os::unix;
use std::{
    ffi::{CStr, CString, c_void},
    io,
    mem::MaybeUninit,
    os::fd::AsRawFd as _,
    path::Path,
    thread,
};

/// Threads of C have such a stack, unless they ask for another.
const STACK_LEN: usize = 8 << 20;

/// `void *function(void *text)`; it may be C++, and throw.
type Pointer = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// A library that stays loaded until the program ends.
pub(crate) struct Library {
    library: unix::Library,
    /// What the dynamic linker knows it by.
    name: String,
    /// What people do.
    path: String,
}

impl Library {
    /// Loads the library that is exactly at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, CallFailure> {
        let file = virgo_exact_path::open(path);
        let path = path.display().to_string();
        let file = file.map_err(|errno| {
            let reason = format!("{path}: {}", errno.desc());
            match io::Error::from(errno).kind() {
                io::ErrorKind::NotFound => CallFailure::missing(reason),
                _ => CallFailure::unusable(reason),
            }
        })?;
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: Its constructors run. The operator has allowed the library, and this process
        // has no rights to lose.
        let library = unsafe { unix::Library::open(Some(&name), unix::RTLD_NOW) };
        let library = library.map_err(|error| {
            CallFailure::unusable(format!("{path}: {error}").replace(&name, &path))
        })?;
        Ok(Library {
            library,
            name,
            path,
        })
    }

    /// The function `symbol`: of C, or of C++ with the arguments that the original's have.
    pub(crate) fn function(&self, symbol: &str) -> Result<Function, CallFailure> {
        let mangled = format!("_Z{}{symbol}Pv", symbol.len());
        let found = self.find(symbol).or_else(|| self.find(&mangled));
        found.ok_or_else(|| {
            CallFailure::missing(format!(
                "{} has no function {symbol} or {mangled}",
                self.path
            ))
        })
    }

    fn find(&self, symbol: &str) -> Option<Function> {
        // SAFETY: This is the type of all functions that the library was allowed for.
        let found = unsafe { self.library.get::<Option<Pointer>>(symbol.as_bytes()) };
        let pointer = (*found.ok()?)?;
        // The libraries that it needs are searched, too; but nobody has allowed to call `system`.
        self.has(pointer).then_some(Function(pointer))
    }

    /// Whether a function lies in the library itself.
    fn has(&self, pointer: Pointer) -> bool {
        let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: `info` is there to be written.
        let found = unsafe { libc::dladdr(pointer as *const c_void, info.as_mut_ptr()) };
        // SAFETY: All of its fields may be zero.
        let info = unsafe { info.assume_init() };
        // SAFETY: When found, it is a C string, for as long as the library is loaded.
        found != 0 && unsafe { CStr::from_ptr(info.dli_fname) }.to_bytes() == self.name.as_bytes()
    }
}

/// A function of a library.
pub(crate) struct Function(Pointer);

impl Function {
    /// Calls it in a thread, and returns the pointer that it returns, as a number.
    pub(crate) fn call(self, text: CString) -> Result<i64, CallFailure> {
        let call = move || {
            let text = text.into_raw().cast();
            // SAFETY: The text is the function's, to be changed or kept. What else it does, the
            // operator has allowed.
            unsafe { self.0(text) }.addr()
        };
        let thread = thread::Builder::new().stack_size(STACK_LEN).spawn(call);
        let cannot = |error| CallFailure::unusable(format!("no thread: {error}"));
        let value = thread.map_err(cannot)?.join();
        // Nothing above panics, and what the function throws ends the program.
        let value = value.map_err(|_| CallFailure::unusable("the function was unwound"))?;
        Ok(value as i64)
    }
}
