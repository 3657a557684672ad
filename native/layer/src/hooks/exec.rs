//! exec and posix_spawn. Runs in vfork children: nothing here stays behind when the original call does not return.

use core::ffi::{c_char, c_int, c_void, CStr};

use inpod_ops::guard::guarded;
use inpod_ops::state::{State, PRELOAD_VARIABLE, SESSION_VARIABLE};
use inpod_rules::paths::PathText;
use inpod_sys::exec::{find_variable, with_environment, CArray};
use inpod_sys::files::AT_CWD;
use inpod_sys::process;
use inpod_sys::text::c_text;

use crate::exec::{changes, look, look_at_fd, look_in_path, Child, TracedPath, Wanted};
use crate::start;
use crate::table::original;

/// # Safety
/// As execve(2).
pub unsafe fn execve(path: *const c_char, arguments: CArray, environment: CArray) -> c_int {
    // SAFETY: execve(2): a C string.
    let text = unsafe { c_text(path) };
    let look = |state: &State, traced: &mut TracedPath| look(state, AT_CWD, text?, traced);
    // SAFETY: the program's own arguments, but for the environment.
    let call = |tracer: Option<&CStr>, environment| unsafe {
        original::execve(tracer.map_or(path, CStr::as_ptr), arguments, environment)
    };
    // SAFETY: execve(2): an array of C strings.
    unsafe { run(environment, look, call) }
}

/// # Safety
/// As execv(3).
pub unsafe fn execv(path: *const c_char, arguments: CArray) -> c_int {
    // SAFETY: as execv(3).
    unsafe { execve(path, arguments, process::environment()) }
}

/// # Safety
/// As execvpe(3).
pub unsafe fn execvpe(file: *const c_char, arguments: CArray, environment: CArray) -> c_int {
    // SAFETY: execvpe(3): a C string.
    let name = unsafe { c_text(file) };
    let path = process::variable(b"PATH");
    let look = |state: &State, traced: &mut TracedPath| look_in_path(state, name?, path, traced);
    // SAFETY: the program's own arguments, but for the environment.
    let call = |tracer: Option<&CStr>, environment| unsafe {
        original::execvpe(tracer.map_or(file, CStr::as_ptr), arguments, environment)
    };
    // SAFETY: execvpe(3): an array of C strings.
    unsafe { run(environment, look, call) }
}

/// # Safety
/// As execvp(3).
pub unsafe fn execvp(file: *const c_char, arguments: CArray) -> c_int {
    // SAFETY: as execvp(3).
    unsafe { execvpe(file, arguments, process::environment()) }
}

/// # Safety
/// As fexecve(3).
pub unsafe fn fexecve(fd: c_int, arguments: CArray, environment: CArray) -> c_int {
    let look = |state: &State, _: &mut TracedPath| look_at_fd(state, fd);
    // SAFETY: the program's own arguments, but for the environment.
    let call = |_: Option<&CStr>, environment| unsafe { original::fexecve(fd, arguments, environment) };
    // SAFETY: fexecve(3): an array of C strings.
    unsafe { run(environment, look, call) }
}

/// # Safety
/// As execveat(2).
pub unsafe fn execveat(dir: c_int, path: *const c_char, arguments: CArray, environment: CArray, flags: c_int) -> c_int {
    // SAFETY: execveat(2): a C string.
    let text = unsafe { c_text(path) };
    let look = |state: &State, traced: &mut TracedPath| match text? {
        path if path.is_empty() => look_at_fd(state, dir),
        path => look(state, dir, path, traced),
    };
    // SAFETY: the program's own arguments, but for the environment.
    let call = |tracer: Option<&CStr>, environment| unsafe {
        original::execveat(dir, tracer.map_or(path, CStr::as_ptr), arguments, environment, flags)
    };
    // SAFETY: execveat(2): an array of C strings.
    unsafe { run(environment, look, call) }
}

/// # Safety
/// As posix_spawn(3).
pub unsafe fn posix_spawn(
    child: *mut c_int,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: CArray,
    environment: CArray,
) -> c_int {
    // SAFETY: posix_spawn(3): a C string.
    let text = unsafe { c_text(path) };
    let look = |state: &State, traced: &mut TracedPath| look(state, AT_CWD, text?, traced);
    // SAFETY: the program's own arguments, but for the environment.
    let call = |tracer: Option<&CStr>, environment| unsafe {
        let path = tracer.map_or(path, CStr::as_ptr);
        original::posix_spawn(child, path, actions, attributes, arguments, environment)
    };
    // SAFETY: posix_spawn(3): an array of C strings.
    unsafe { run(environment, look, call) }
}

/// # Safety
/// As posix_spawnp(3).
pub unsafe fn posix_spawnp(
    child: *mut c_int,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: CArray,
    environment: CArray,
) -> c_int {
    // SAFETY: posix_spawnp(3): a C string.
    let name = unsafe { c_text(file) };
    let path = process::variable(b"PATH");
    let look = |state: &State, traced: &mut TracedPath| look_in_path(state, name?, path, traced);
    // SAFETY: the program's own arguments, but for the environment.
    let call = |tracer: Option<&CStr>, environment| unsafe {
        let file = tracer.map_or(file, CStr::as_ptr);
        original::posix_spawnp(child, file, actions, attributes, arguments, environment)
    };
    // SAFETY: posix_spawnp(3): an array of C strings.
    unsafe { run(environment, look, call) }
}

/// Calls `call` with `inpod-trace` where that is to be started instead, and with the environment that the child is to
/// have.
///
/// # Safety
/// `environment` is NULL or an array of C strings that ends with NULL.
unsafe fn run(
    environment: CArray,
    look: impl FnOnce(&State, &mut TracedPath) -> Option<Child>,
    call: impl FnOnce(Option<&CStr>, CArray) -> c_int,
) -> c_int {
    let Some(state) = start::state() else { return call(None, environment) };
    let mut traced = TracedPath::default();
    let Some(child) = guarded(|| look(state, &mut traced)) else { return call(None, environment) };
    // SAFETY: the caller's promise.
    let preload = unsafe { value_of(environment, PRELOAD_VARIABLE) };
    // SAFETY: the caller's promise.
    let session = unsafe { value_of(environment, SESSION_VARIABLE) };
    let mut text = PathText::default();
    let changes = changes(state, child, Wanted { preload, session }, &traced, &mut text);
    let tracer = state.tracer.as_deref().filter(|_| child == Child::Traced);
    // SAFETY: the caller's promise.
    unsafe { with_environment(environment, &changes, |environment| call(tracer, environment)) }
}

/// # Safety
/// `environment` is NULL or an array of C strings that ends with NULL, for `'a`.
unsafe fn value_of<'a>(environment: CArray, name: &[u8]) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    let value = unsafe { find_variable(environment, name) }?;
    // SAFETY: the rest of a C string.
    unsafe { c_text(value) }
}
