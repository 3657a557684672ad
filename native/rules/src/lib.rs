//! What is the pod's and what is this machine's: paths, addresses, programs. Pure: bytes in, decisions out.
//!
//! The only copy of these decisions. Nothing here allocates, so that all of it may run inside any libc call.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod addr;
pub mod elf;
pub mod environment;
mod facts;
pub mod net;
pub mod outgoing;
pub mod paths;
pub mod processes;
pub mod scripts;
pub mod table;
mod text;

pub use addr::{Addr, Family};
pub use facts::{FilesMode, Line, Owner, Rules};
pub use outgoing::{Destination, Leaves, Protocol};
