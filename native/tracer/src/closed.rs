//! Programs that the kernel lets nobody look into: not dumpable (prctl(2), or a file that may not be read), and we have no
//! CAP_SYS_PTRACE. Their calls go on as they are; the session is told once for each.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use inpod_ops::session::ask;
use inpod_ops::state::State;
use inpod_wire::Request;

/// Of more programs nothing is said.
const MAX_NAMES: usize = 256;

/// The word in a WARN message.
const WHY: &str = "closed";

/// Those that were told of.
#[derive(Default)]
pub struct Closed {
    names: Mutex<HashSet<Vec<u8>>>,
}

impl Closed {
    /// Tells the session of the program of a thread, unless it was told.
    pub fn tell(&self, state: &State, thread: u32) {
        let Some(name) = name_of(thread) else { return };
        {
            let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            if names.len() >= MAX_NAMES || names.contains(&name) {
                return;
            }
        }
        let told = ask(state, &Request::Warn { why: WHY, path: &name }, None, |_, _| Some(()));
        if told.is_some() {
            self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
    }
}

/// What a program was called as. Its file nobody may ask for.
fn name_of(thread: u32) -> Option<Vec<u8>> {
    let words = std::fs::read(format!("/proc/{thread}/cmdline")).ok()?;
    let name = words.split(|byte| *byte == 0).next().filter(|name| !name.is_empty());
    Some(name?.to_vec())
}
