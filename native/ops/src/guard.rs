//! What stands between our faults and the program.

use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};

use inpod_sys::errno;

thread_local! {
    // Without a destructor and without lazy set-up: usable at any time of a thread's life.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `decide` for one intercepted call; None: the original call, as it is.
///
/// So it is when the layer itself made the call (or a signal handler that interrupted it did), and when `decide`
/// panics: a fault of ours must look like an absent layer, never like a crash. Never wrap an original call: it may not
/// return here (exec after vfork, cancellation), and hooks inside it would be passed by.
pub fn guarded<T>(decide: impl FnOnce() -> Option<T>) -> Option<T> {
    if INSIDE.replace(true) {
        return None;
    }
    let before = errno::get();
    let verdict = catch_unwind(AssertUnwindSafe(decide)).unwrap_or(None);
    errno::set(before);
    INSIDE.set(false);
    verdict
}

/// What a libc function returns when it failed, and says why in errno.
pub trait Outcome: Copy {
    /// The value that means failure.
    const FAILURE: Self;
    /// Whether this is it.
    fn has_failed(self) -> bool;
}

impl Outcome for i32 {
    const FAILURE: Self = -1;
    fn has_failed(self) -> bool {
        self == -1
    }
}

impl Outcome for isize {
    const FAILURE: Self = -1;
    fn has_failed(self) -> bool {
        self == -1
    }
}

impl Outcome for i64 {
    const FAILURE: Self = -1;
    fn has_failed(self) -> bool {
        self == -1
    }
}

impl<T> Outcome for *mut T {
    const FAILURE: Self = std::ptr::null_mut();
    fn has_failed(self) -> bool {
        self.is_null()
    }
}

/// Returns the failure value, with errno set.
pub fn fail<R: Outcome>(number: i32) -> R {
    errno::set(number);
    R::FAILURE
}
