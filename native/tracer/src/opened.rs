//! The pidfds of threads that have made calls: to open one takes longer than all else that is asked of it.
//!
//! A number (gettid(2)) is given again only when its thread has ended, which who looks at the pidfd is told. Who is not told
//! so looks at the thread that has the number at this time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use inpod_sys::files::OwnedFd;
use inpod_sys::{other, Errno};

/// Of more threads none is kept; then all are closed.
const MOST: usize = 64;

/// Those of one listener. None: before Linux 6.9 a pidfd is that of a process, whose threads' numbers say nothing.
pub struct Opened(Option<Mutex<HashMap<u32, OwnedFd>>>);

impl Opened {
    /// None yet.
    pub fn new() -> Self {
        Self(other::threads_have_inodes().then(Mutex::default))
    }

    /// Has `look` look at the pidfd of a thread, of which it says ESRCH when that has ended. `is_waiting` says whether it
    /// still waits in the call that is decided: so long its number is its own.
    pub fn look<T>(
        &self,
        number: u32,
        is_waiting: impl FnOnce() -> bool,
        look: impl Fn(&OwnedFd) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut kept = self.0.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner));
        match kept.as_ref().and_then(|kept| kept.get(&number)).map(&look) {
            None | Some(Err(Errno(libc::ESRCH))) => {}
            Some(found) => return found,
        }
        let thread = other::open_thread(number)?;
        if !is_waiting() {
            return Err(Errno(libc::ESRCH));
        }
        let found = look(&thread);
        if let Some(kept) = &mut kept {
            if kept.len() >= MOST {
                kept.clear();
            }
            kept.insert(number, thread);
        }
        found
    }
}
