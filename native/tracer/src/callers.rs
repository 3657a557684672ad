//! Which threads have made calls, and when last: by that the session finds what a program leaves behind, also where that has
//! cleared its environment and has left its group.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use inpod_sys::process;

/// Of more threads those that are gone are forgotten.
const MANY: usize = 4096;

/// Of all listeners: a program's children have their own where the layer is in it.
static CALLERS: Mutex<Option<Callers>> = Mutex::new(None);

struct Callers {
    /// gettid(2) -> nanoseconds since the machine's start. A number is given again, so a thread is that of an entry only
    /// if it began before.
    seen: HashMap<u32, u64>,
    /// With how many the next look comes at which are gone.
    look_at: usize,
}

/// One of them.
#[repr(C)]
pub struct Seen {
    thread: u32,
    at_ns: u64,
}

/// Takes note of a thread that waits in a call.
pub fn saw(thread: u32) {
    let mut callers = callers();
    let Callers { seen, look_at } = callers.get_or_insert_with(|| Callers { seen: HashMap::new(), look_at: MANY });
    seen.insert(thread, process::since_boot_ns());
    if seen.len() >= *look_at {
        seen.retain(|thread, _| Path::new(&format!("/proc/{thread}")).exists());
        *look_at = MANY.max(2 * seen.len());
    }
}

/// Writes as many of them as there is room for; returns how many.
pub fn tell(room: &mut [Seen]) -> usize {
    let callers = callers();
    let seen = callers.iter().flat_map(|callers| &callers.seen);
    room.iter_mut().zip(seen).map(|(to, (&thread, &at_ns))| *to = Seen { thread, at_ns }).count()
}

fn callers() -> MutexGuard<'static, Option<Callers>> {
    CALLERS.lock().unwrap_or_else(PoisonError::into_inner)
}
