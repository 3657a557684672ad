//! The layer: a library that LD_PRELOAD puts into every program of a session (ld.so(8)).
//!
//! `table` lists every libc function that is hooked. `hooks` has the C signatures of those that need more than a path
//! replaced, and calls `inpod_ops`, which decides what the call becomes. `exec` decides about children, `start` runs
//! before the program's main.
//!
//! We live in someone else's process: nothing of Rust's library that needs an allocator, a thread's storage or unwinding,
//! no lock across an original call, errno kept, fork and vfork
//! expected, cancellation points still cancellable (no frame of ours between them and their caller has a destructor, but that
//! of system, which leaves memory behind: `hooks::shell`).

#![cfg_attr(panic = "abort", no_std)]

mod exec;
mod files;
mod hooked;
mod hooks;
mod plain;
mod start;
mod table;

/// Never linked: nothing here can panic, as far as the compiler sees (tests/layer/test_library.py looks for the text).
#[cfg(panic = "abort")]
#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    inpod_sys::process::end("inpod: the layer has code that panics\n")
}
