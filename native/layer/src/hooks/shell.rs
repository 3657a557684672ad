//! system and popen: libc starts the shell by itself, with the program's environment as it is.
//!
//! Where the program has taken our variables out of it, its command is put into one that puts them back for the shell. All
//! else (signals, cancellation, the stream) stays libc's own, and nothing is written where another thread may read it.

use core::ffi::{c_char, c_int, c_void, CStr};

use inpod_ops::guard::guarded;
use inpod_ops::state::{PRELOAD_VARIABLE, SESSION_VARIABLE};
use inpod_sys::exec::Change;
use inpod_sys::memory::Scratch;
use inpod_sys::process;
use inpod_sys::text::{c_text, until_nul};

use crate::exec::{changes, Child, Planned, Wanted};
use crate::start;
use crate::table::original;

/// # Safety
/// As system(3).
pub unsafe fn system(command: *const c_char) -> c_int {
    // SAFETY: the program's own call, or with a command that runs its own.
    let call = |command| unsafe { original::system(command) };
    // SAFETY: system(3): a C string, or NULL.
    unsafe { with_layer(command, call) }
}

/// # Safety
/// As popen(3).
pub unsafe fn popen(command: *const c_char, mode: *const c_char) -> *mut c_void {
    // SAFETY: the program's own call, or with a command that runs its own.
    let call = |command| unsafe { original::popen(command, mode) };
    // SAFETY: popen(3): a C string.
    unsafe { with_layer(command, call) }
}

/// A thread that is cancelled in system(3) leaves the enclosed command's memory behind: forced unwinding runs no destructor
/// here.
///
/// # Safety
/// `command` is NULL or a C string.
unsafe fn with_layer<R>(command: *const c_char, call: impl FnOnce(*const c_char) -> R) -> R {
    // SAFETY: the caller's promise.
    let text = unsafe { c_text(command) };
    let mut room = None;
    match guarded(|| enclosed(text?.to_bytes(), &mut room)) {
        Some(enclosed) => call(enclosed.as_ptr()),
        None => call(command),
    }
}

/// Returns "export 'NAME=value'; exec /bin/sh -c -- 'COMMAND' sh". None: nothing is missing, or there is no memory.
///
/// The last word is what the shell calls itself, as libc's does; and as in glibc since 2.38 no command is an option.
fn enclosed<'r>(command: &[u8], room: &'r mut Option<Scratch>) -> Option<&'r CStr> {
    let state = start::state()?;
    let wanted = Wanted { preload: process::variable(PRELOAD_VARIABLE), session: process::variable(SESSION_VARIABLE) };
    let (planned, mut text) = (Planned::default(), None);
    let changes = changes(state, Child::Reachable, wanted, &planned, &mut text);
    let set = changes.iter().filter_map(|(_, change)| match change {
        Change::Set(entry) => Some(entry.to_bytes()),
        Change::Keep | Change::Remove => None,
    });
    set.clone().next()?;
    let exports = set.flat_map(|entry| b"export '".iter().chain(quoted(entry)).chain(b"';"));
    let whole = exports.chain(b"exec /bin/sh -c -- '").chain(quoted(command)).chain(b"' sh");
    let room = room.insert(Scratch::new(whole.clone().count() + 1)?);
    for (to, from) in room.bytes().iter_mut().zip(whole) {
        *to = *from;
    }
    until_nul(room.bytes())
}

/// As it stands between single quotes of a shell.
fn quoted(text: &[u8]) -> impl Iterator<Item = &u8> + Clone {
    text.iter().flat_map(|byte| match byte {
        b'\'' => b"'\\''".iter(),
        other => core::slice::from_ref(other).iter(),
    })
}
