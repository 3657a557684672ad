//! C signatures of the hooks that need more than another path. Thin: they read C's arguments, let `ops` decide, and make
//! the original call.

pub mod actions;
pub mod catalogues;
pub mod datagrams;
pub mod exec;
pub mod files;
pub mod fts;
pub mod hosts;
pub mod libraries;
pub mod names;
pub mod resolver;
pub mod reverse;
pub mod shell;
pub mod sockets;
pub mod syscall;
pub mod users;
pub mod walk;
pub mod words;
