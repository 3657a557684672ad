//! The program's errno.

/// Returns it.
pub fn get() -> i32 {
    // SAFETY: the function takes nothing.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: libc gives this thread's errno, valid for the thread's life.
    unsafe { *place }
}

/// Sets it.
pub fn set(value: i32) {
    // SAFETY: the function takes nothing.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: libc gives this thread's errno, valid for the thread's life.
    unsafe { *place = value };
}
