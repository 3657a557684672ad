//! The tracer: the place of the layer for programs that it cannot be in (static, Go, musl).
//!
//! `inpod-trace` (main.rs) puts a seccomp filter over itself, gives its listener to the session, and becomes the program.
//! The session serves the listener on threads of its own (this library, by its C interface): so nothing stands between
//! inpod and the program, whose process number, terminal, signals and exit status are as ever.
//!
//! `table` lists every system call that is trapped and why, `filter` makes the kernel's program of it. `call` is one
//! thread that waits; `sockets`, `datagrams`, `files` and `programs` decide, with `inpod_ops` as the layer does, and `serve` has the threads that do;
//! `closed` says who cannot be served, `known` remembers who is left alone, `opened` has pidfds, `callers` says who there is.
//!
//! A fault of ours means the original call, as it is.

mod asking;
mod call;
mod callers;
mod closed;
mod datagrams;
mod files;
pub mod filter;
mod interface;
mod known;
mod message;
mod names;
mod opened;
mod programs;
mod serve;
mod sockets;
pub mod table;
