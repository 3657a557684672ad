//! What an intercepted call becomes, in safe Rust. The calls themselves are closures of the hooks.

pub mod exec;
pub mod files;
pub mod hosts;
pub mod incoming;
pub mod outgoing;
pub mod place;
