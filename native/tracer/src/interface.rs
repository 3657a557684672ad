//! What the session calls, by ctypes (src/inpod/session/tracer.py).

use core::ffi::{c_char, c_int, c_uint};
use core::slice;
use std::sync::OnceLock;

use inpod_ops::session;
use inpod_ops::state::{Origin, State};
use inpod_sys::other;
use inpod_sys::seccomp;
use inpod_sys::sockets;
use inpod_sys::text::c_text;
use inpod_sys::Errno;

use crate::asking::may_ask;
use crate::callers::{tell, Seen};
use crate::serve::{listeners, serve};

/// One session to a process.
static STATE: OnceLock<&State> = OnceLock::new();

/// Takes the listener with number `fd` out of a process and serves it on threads, whose signal mask is the caller's.
/// A copy goes to the unix socket `holder`, for who is to have it open when we are gone; -1: to nobody. Without room there
/// it goes nowhere. Returns 0 or an errno.
///
/// # Safety
/// `folder` is a C string: the session's folder.
#[no_mangle]
pub unsafe extern "C" fn inpod_tracer_serve(folder: *const c_char, process: c_uint, fd: c_int, holder: c_int) -> c_int {
    // SAFETY: the caller's promise.
    let Some(folder) = (unsafe { c_text(folder) }) else { return libc::EINVAL };
    if STATE.get().is_none() {
        session::take_seats();
        session::prepare_for_fork();
        if let Some(state) = State::read(Origin { folder, own_name: None, layer: None, may_ask }) {
            let _ = STATE.set(state);
        }
    }
    let Some(state) = STATE.get() else { return libc::ENOENT };
    let listener = match other::open_thread(process).and_then(|process| other::copy_fd(&process, fd)) {
        Ok(listener) => listener,
        Err(Errno(number)) => return number,
    };
    // Nothing is there, but only who may look is told so.
    match other::read_memory(process, 0, &mut [0]) {
        Ok(_) | Err(Errno(libc::EFAULT)) => {}
        Err(Errno(number)) => return number,
    }
    seccomp::take_turns(&listener);
    if holder >= 0 {
        let _ = sockets::send(holder, &[0], Some(listener.raw()));
    }
    serve(state, listener).map_or_else(|Errno(number)| number, |()| 0)
}

/// Writes the threads that have made trapped calls, as many as there is room for; returns how many.
///
/// # Safety
/// `to` points to room for so many.
#[no_mangle]
pub unsafe extern "C" fn inpod_tracer_callers(to: *mut Seen, room: usize) -> usize {
    // SAFETY: the caller's promise; each is plain numbers.
    tell(unsafe { slice::from_raw_parts_mut(to, room) })
}

/// Returns how many listeners still have somebody to serve.
#[no_mangle]
pub extern "C" fn inpod_tracer_served() -> c_uint {
    listeners() as c_uint
}
