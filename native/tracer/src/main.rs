//! `inpod-trace`: becomes a program whose calls the session decides.
//!
//! Takes the program's file from INPOD_EXEC and its arguments from its own; the environment but for that variable stays.
//! So a parent that starts it in the program's place changes a path and the environment only.
//!
//! Exit codes before the program runs: 71 the kernel refuses a filter, 126 and 127 as a shell's.

#![no_main]

use core::ffi::{c_char, c_int, CStr};
use std::io::Write;

use inpod_ops::session::ask_on;
use inpod_ops::state::{Origin, State, EXEC_VARIABLE, SESSION_VARIABLE};
use inpod_sys::exec::{execute, with_environment, CArray, Change};
use inpod_sys::files::OwnedFd;
use inpod_sys::{process, seccomp, sockets, Errno};
use inpod_tracer::filter;
use inpod_wire::Request;

const NOT_INTERCEPTABLE: c_int = 71;
const CANNOT_EXECUTE: c_int = 126;
const NOT_FOUND: c_int = 127;

/// Without Rust's own start, which would change what SIGPIPE does to the program.
///
/// # Safety
/// Called by libc, with an array of C strings.
#[no_mangle]
pub unsafe extern "C" fn main(_: c_int, arguments: *const *const c_char) -> c_int {
    let Some(program) = process::variable(EXEC_VARIABLE) else {
        complain(format_args!("inpod-trace: inpod starts this program, nobody else does"));
        return NOT_INTERCEPTABLE;
    };
    // Without a session the program runs as it is, as it would with a layer.
    let state = process::variable(SESSION_VARIABLE)
        .and_then(|folder| State::read(Origin { folder, own_name: None, layer: None, may_ask: || true }));
    if let Some(Err(status)) = state.map(|state| enter(state, program)) {
        return status;
    }
    // SAFETY: the caller's promise, and the environment that libc keeps.
    unsafe { become_program(program, arguments) }
}

/// Puts the filter on, and has the session serve it. Err: the status to end with.
fn enter(state: &State, program: &CStr) -> Result<(), c_int> {
    // Before the filter: nobody would answer.
    let Ok(session) = sockets::connect_to_session(state.door) else { return Ok(()) };
    let listener = filtered(state);
    let (fd, number) = match &listener {
        Ok(listener) => (listener.raw(), 0),
        Err(Errno(number)) => (-1, *number),
    };
    let request = Request::Trace { listener: fd, errno: number, path: program.to_bytes() };
    match ask_on(&session, &request) {
        Some(0) => Ok(()),
        // The session says why.
        Some(_) => Err(NOT_INTERCEPTABLE),
        None if number == 0 => Err(NOT_INTERCEPTABLE),
        None => Ok(()),
    }
}

fn filtered(state: &State) -> Result<OwnedFd, Errno> {
    let program = filter::program(&state.rules);
    match seccomp::install(&program) {
        Err(Errno(libc::EACCES)) => {
            seccomp::give_up_new_rights()?;
            seccomp::install(&program)
        }
        done => done,
    }
}

/// # Safety
/// `arguments` is an array of C strings that ends with NULL.
unsafe fn become_program(program: &CStr, arguments: CArray) -> c_int {
    let changes = [(EXEC_VARIABLE, Change::Remove)];
    // SAFETY: the caller's promise.
    let run = |environment| unsafe { execute(program, arguments, environment) };
    // SAFETY: the environment is an array of C strings.
    let Errno(number) = unsafe { with_environment(process::environment(), &changes, run) };
    let why = std::io::Error::from_raw_os_error(number);
    complain(format_args!("inpod: cannot execute {}: {why}", program.to_string_lossy()));
    if number == libc::ENOENT {
        NOT_FOUND
    } else {
        CANNOT_EXECUTE
    }
}

/// One line on standard error; nobody is to be told that there is none.
fn complain(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
