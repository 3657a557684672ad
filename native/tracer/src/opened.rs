//! The pidfds of threads that have made calls: to open one takes longer than all else that is asked of it.
//!
//! A number (gettid(2)) is given again only when its thread has ended, which the pidfd says. So one that says nothing is
//! of the thread that has the number at this time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use inpod_sys::files::OwnedFd;
use inpod_sys::other;

/// Of more threads none is kept; then all are closed.
const MOST: usize = 64;

/// Those of one listener. None: before Linux 6.9 a pidfd is that of a process, whose threads' numbers say nothing.
pub struct Opened(Option<Mutex<HashMap<u32, Arc<OwnedFd>>>>);

impl Opened {
    /// None yet.
    pub fn new() -> Self {
        Self(other::threads_have_inodes().then(Mutex::default))
    }

    /// Returns the pidfd of a thread. `is_waiting` says whether that still waits in the call that is decided: so long its
    /// number is its own. None: it does not.
    pub fn thread(&self, number: u32, is_waiting: impl FnOnce() -> bool) -> Option<Arc<OwnedFd>> {
        let open = || other::open_thread(number).ok().filter(|_| is_waiting()).map(Arc::new);
        let Some(kept) = &self.0 else { return open() };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = kept.get(&number).filter(|thread| !other::has_ended(thread)) {
            return Some(Arc::clone(thread));
        }
        let thread = open()?;
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(number, Arc::clone(&thread));
        Some(thread)
    }
}
