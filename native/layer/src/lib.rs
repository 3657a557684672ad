//! The layer: a library that LD_PRELOAD puts into every program of a session (ld.so(8)).
//!
//! `table` lists every libc function that is hooked. `hooks` has the C signatures of those that need more than a path
//! replaced, and calls `ops`, which decides in safe Rust what the call becomes: the same call with another path or
//! address, as every result is a real file or socket (ARCHITECTURE.md). `session` asks the session, `state` holds what
//! is known from the start, `guard` makes a fault of ours look like an absent layer.
//!
//! We live in someone else's process: no heap in hooks, no lock across an original call, errno kept, fork and vfork
//! expected, cancellation points still cancellable (no frame of ours between them and their caller has a destructor).

mod guard;
mod hooks;
mod ops;
mod session;
mod state;
mod table;
