//! The unsafe fence: system calls, memory and C data behind safe signatures.
//!
//! System calls are made by the instruction itself, never by libc's functions: those are hooked, set errno, and may not
//! be there yet. So nothing here touches errno, but [`errno`].

#![no_std]

#[cfg(test)]
extern crate std;

mod call;
pub mod errno;
pub mod exec;
pub mod files;
pub mod hosts;
pub mod jump;
pub mod memory;
pub mod messages;
pub mod next;
pub mod other;
mod poll;
pub mod proc;
pub mod process;
pub mod ptrace;
pub mod random;
pub mod seccomp;
pub mod sockaddr;
pub mod sockets;
pub mod status;
pub mod text;
mod variadic;

pub use call::Errno;
