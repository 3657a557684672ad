//! The layer's start, and what it knows from then on.

use std::sync::OnceLock;

use inpod_ops::session;
use inpod_ops::skipped::is_skipped;
use inpod_ops::state::{State, SESSION_VARIABLE};
use inpod_sys::process;

use crate::table;

static STATE: OnceLock<State> = OnceLock::new();

/// Returns the state; None before our start, and for good where there is no live session: the layer is inert.
#[inline]
pub fn state() -> Option<&'static State> {
    STATE.get()
}

/// Runs before `main`, after libc's own start.
extern "C" fn start() {
    // The default hook would print.
    std::panic::set_hook(Box::new(|_| {}));
    let state = std::panic::catch_unwind(|| {
        let mut state = State::read(process::variable(SESSION_VARIABLE)?)?;
        if is_skipped(&state.rules, None) {
            // What it starts is the session's all the same.
            state.rules.leave_alone();
        }
        Some(state)
    });
    if let Ok(Some(state)) = state {
        session::start();
        if STATE.set(state).is_ok() {
            // Now, as dlsym takes a lock that a forked child might find taken.
            table::find_originals();
        }
    }
}

#[used]
#[link_section = ".init_array"]
static START: extern "C" fn() = start;
