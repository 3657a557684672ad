//! What an intercepted call becomes, for both interceptors: the layer, in the program, and the tracer, beside it.
//!
//! In safe Rust: a call becomes the same call with another path or address, as every result is a real file or socket
//! (ARCHITECTURE.md). `session` asks the session, `state` holds what is known from the start, `guard` makes a fault of
//! ours look like an absent interceptor.
//!
//! This code runs in someone else's process: no heap in operations, no lock across an original call, errno kept, fork
//! and vfork expected.

#![no_std]

pub mod datagrams;
pub mod files;
pub mod guard;
pub mod hosts;
pub mod incoming;
pub mod outgoing;
pub mod place;
pub mod plan;
pub mod programs;
pub mod questions;
pub mod session;
pub mod skipped;
pub mod state;
pub mod unix_streams;
