//! What stands between us and the program.

use inpod_sys::errno;

/// Runs `decide` for one intercepted call, of which errno tells nothing; None: the original call, as it is.
///
/// A fault of ours must look like an absent layer, never like a crash: so `decide` says None wherever something is not
/// as expected, and the layer has no code that panics (tests/layer/test_library.py). In the session's thread, which has,
/// panics are caught by its loop.
pub fn guarded<T>(decide: impl FnOnce() -> Option<T>) -> Option<T> {
    let before = errno::get();
    let verdict = decide();
    errno::set(before);
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
    const FAILURE: Self = core::ptr::null_mut();
    fn has_failed(self) -> bool {
        self.is_null()
    }
}

/// Returns the failure value, with errno set.
pub fn fail<R: Outcome>(number: i32) -> R {
    errno::set(number);
    R::FAILURE
}
