// SPDX-License-Identifier: GPL-2.0

//! Functions of kernel modules that may be called by name, from any node.
//!
//! A module keeps a [`Registration`] in its state. While one of its functions runs the module is
//! pinned, so that it cannot be unloaded under it.

use core::any::Any;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::{
    deadline::Deadline,
    module::Pinned, //
};
use virgo_proto::command::parse_i64;

/// Most arguments of a function.
pub const MAX_ARGS: usize = 16;

/// A function that may be called by name.
pub struct Function {
    /// Its name: no blanks, no slash at the start.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Its arguments.
    pub args: &'static [Arg],
    /// Whether it ends in microseconds: it is run at once, by the task that has received the
    /// request. Otherwise a worker runs it.
    pub quick: bool,
    /// Does it. Runs in process context, may sleep until the call's deadline.
    pub run: fn(&mut Call<'_>) -> Result<i64>,
}

/// An argument.
pub struct Arg {
    /// What it is called in messages.
    pub name: &'static str,
    /// What it may be.
    pub kind: ArgumentKind,
}

/// What an argument may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A decimal number of 64 bits, perhaps negative.
    Number,
    /// Any bytes but NUL.
    Text,
}

/// What the functions of a module work with.
pub type FunctionState = Arc<dyn Any + Send + Sync>;

/// A call of a function.
pub struct Call<'a> {
    /// What the function's module has given for its functions. [`PinnedFunction::run`] fills it in.
    pub state: Option<FunctionState>,
    /// The uid that calls.
    pub uid: u32,
    /// By when it has to end.
    pub deadline: Deadline,
    /// Set when nobody wants the result any more.
    pub cancelled: &'a Atomic<bool>,
    /// The arguments, as many and of the kinds that the function has declared.
    pub args: &'a [&'a [u8]],
    /// Where the output goes.
    pub output: &'a mut Output,
}

impl Call<'_> {
    /// The argument with this index as a number.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is none.
    pub fn number(&self, index: usize) -> Result<i64> {
        self.args
            .get(index)
            .and_then(|arg| parse_i64(arg))
            .ok_or(EINVAL)
    }

    /// What the function's module has given for its functions.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if it has given nothing, or something else.
    pub fn state<T: Any>(&self) -> Result<&T> {
        let state = self.state.as_ref().ok_or(ENODEV)?;
        (**state).downcast_ref().ok_or(ENODEV)
    }

    /// Whether it has to end now: cancelled, or too late.
    pub fn is_over(&self) -> bool {
        self.cancelled.load(Relaxed) || self.deadline.passed()
    }
}

/// Output of a call, up to a limit.
pub struct Output {
    /// What was printed.
    pub bytes: KVVec<u8>,
    /// There was more.
    pub truncated: bool,
    max: usize,
}

impl Output {
    /// No output; at most `max` bytes are kept.
    pub const fn new(max: usize) -> Self {
        Output {
            bytes: KVVec::new(),
            truncated: false,
            max,
        }
    }

    /// Adds `bytes`. What goes beyond the limit is lost, and the caller is told.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn print(&mut self, bytes: &[u8]) -> Result {
        let room = self.max.saturating_sub(self.bytes.len());
        let part = bytes.get(..room).unwrap_or(bytes);
        self.truncated |= part.len() < bytes.len();
        Ok(self.bytes.extend_from_slice(part, GFP_KERNEL)?)
    }
}

/// A module's functions.
struct Entry {
    functions: &'static [Function],
    state: Option<FunctionState>,
    module: &'static ThisModule,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, before any other module can use it: they load after this one.
    unsafe(uninit) static FUNCTIONS: Mutex<KVec<Entry>> = KVec::new();
}

/// Makes the registry usable. Called once, in the module's initialisation.
pub(crate) fn init() {
    // SAFETY: Called once in the life of the module.
    unsafe { FUNCTIONS.init() };
}

/// Keeps functions callable; dropping it withdraws them.
pub struct Registration(&'static [Function]);

impl Registration {
    /// Registers `functions` of `module`, which must hold this in its state. May sleep.
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if one of the names is taken, [`ENOMEM`].
    pub fn new(module: &'static ThisModule, functions: &'static [Function]) -> Result<Self> {
        Self::register(module, functions, None)
    }

    /// As [`Self::new`], for functions that work with `state`. It is given back when this is dropped.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub fn with_state(
        module: &'static ThisModule,
        functions: &'static [Function],
        state: FunctionState,
    ) -> Result<Self> {
        Self::register(module, functions, Some(state))
    }

    fn register(
        module: &'static ThisModule,
        functions: &'static [Function],
        state: Option<FunctionState>,
    ) -> Result<Self> {
        let mut entries = FUNCTIONS.lock();
        let mut known = entries.iter().flat_map(|entry| entry.functions);
        if known.any(|known| functions.iter().any(|new| new.name == known.name)) {
            return Err(EEXIST);
        }
        let entry = Entry {
            functions,
            state,
            module,
        };
        entries.push(entry, GFP_KERNEL)?;
        Ok(Registration(functions))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut entries = FUNCTIONS.lock();
        let mut state = None;
        entries.retain(|entry| {
            let stays = !core::ptr::eq(entry.functions, self.0);
            if !stays {
                state = entry.state.take();
            }
            stays
        });
        if entries.is_empty() {
            // A static is not dropped when its module goes: leave no allocation behind.
            *entries = KVec::new();
        }
        drop(entries);
        // Without the lock: its end may wait for calls that look for functions.
        drop(state);
    }
}

/// A function whose module stays loaded.
pub struct PinnedFunction {
    function: &'static Function,
    state: Option<FunctionState>,
    _pinned: Pinned,
}

/// The function of this name. May sleep.
pub fn find(name: &[u8]) -> Option<PinnedFunction> {
    let entries = FUNCTIONS.lock();
    entries.iter().find_map(|entry| {
        let mut functions = entry.functions.iter();
        let function = functions.find(|function| function.name.as_bytes() == name)?;
        Some(PinnedFunction {
            function,
            state: entry.state.clone(),
            _pinned: Pinned::new(entry.module)?,
        })
    })
}

/// Shows each function to `see`, until that fails. May sleep; `see` must not call this module.
///
/// # Errors
///
/// Those of `see`.
pub fn try_for_each<E>(see: impl FnMut(&Function) -> Result<(), E>) -> Result<(), E> {
    let entries = FUNCTIONS.lock();
    entries
        .iter()
        .flat_map(|entry| entry.functions)
        .try_for_each(see)
}

impl PinnedFunction {
    /// Whether it is to be run at once.
    pub fn is_quick(&self) -> bool {
        self.function.quick
    }

    /// What is wrong with `args`, if anything.
    ///
    /// # Errors
    ///
    /// What is expected.
    pub fn check(&self, args: &[&[u8]]) -> Result<(), &'static str> {
        if args.len() != self.function.args.len() {
            return Err("wrong number of arguments");
        }
        let mut pairs = self.function.args.iter().zip(args);
        match pairs
            .all(|(arg, given)| arg.kind != ArgumentKind::Number || parse_i64(given).is_some())
        {
            true => Ok(()),
            false => Err("an argument must be a number"),
        }
    }

    /// Runs it, with arguments that were checked.
    ///
    /// # Errors
    ///
    /// The function's own.
    pub fn run(&self, call: &mut Call<'_>) -> Result<i64> {
        call.state.clone_from(&self.state);
        (self.function.run)(call)
    }
}
