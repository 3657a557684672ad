//! exec and posix_spawn. Runs in vfork children: nothing here stays behind when the original call does not return.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::ptr::null;

use inpod_ops::guard::{fail, guarded};
use inpod_ops::state::{State, PRELOAD_VARIABLE, SESSION_VARIABLE};
use inpod_sys::exec::{end_of, find_variable, with_environment, with_words, CArray};
use inpod_sys::files::AT_CWD;
use inpod_sys::text::c_text;
use inpod_sys::{errno, process, Errno};

use crate::exec::{changes, look, look_at_fd, look_in_path, Child, Planned, Wanted};
use crate::start;
use crate::table::original;

/// What an exec is given. The path is not looked at where a descriptor says what is executed.
struct Exec<'a> {
    path: *const c_char,
    arguments: CArray,
    environment: CArray,
    /// What the pod calls it, where `path` is that of the replica.
    pod_path: Option<&'a CStr>,
}

impl Exec<'_> {
    fn new(path: *const c_char, arguments: CArray, environment: CArray) -> Self {
        Self { path, arguments, environment, pod_path: None }
    }
}

/// What execvp(3) makes of a text.
const SHELL: &CStr = c"/bin/sh";

/// # Safety
/// As execve(2).
pub unsafe fn execve(path: *const c_char, arguments: CArray, environment: CArray) -> c_int {
    // SAFETY: execve(2): a C string.
    let text = unsafe { c_text(path) };
    let look = |state: &State, planned: &mut Planned| look(state, AT_CWD, text?, planned);
    // SAFETY: the program's own arguments, or what stands for them.
    let call = |exec: Exec| unsafe { original::execve(exec.path, exec.arguments, exec.environment) };
    // SAFETY: execve(2): arrays of C strings.
    unsafe { run(Exec::new(path, arguments, environment), look, call) }.unwrap_or_else(failed)
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
    let look = |state: &State, planned: &mut Planned| look_in_path(state, name?, path, planned);
    // SAFETY: the program's own arguments, or what stands for them.
    let call = |exec: Exec| match exec.pod_path {
        // SAFETY: as above.
        None => unsafe { original::execvpe(exec.path, exec.arguments, exec.environment) },
        // SAFETY: as above.
        Some(pod_path) => unsafe { execute_or_read(&exec, pod_path) },
    };
    // SAFETY: execvpe(3): arrays of C strings.
    unsafe { run(Exec::new(file, arguments, environment), look, call) }.unwrap_or_else(failed)
}

/// # Safety
/// As execvp(3).
pub unsafe fn execvp(file: *const c_char, arguments: CArray) -> c_int {
    // SAFETY: as execvp(3).
    unsafe { execvpe(file, arguments, process::environment()) }
}

/// # Safety
/// As execl(3), its words after the path being an array.
pub unsafe extern "C" fn execl(path: *const c_char, words: CArray) -> c_int {
    // SAFETY: as execl(3).
    unsafe { execv(path, words) }
}

/// # Safety
/// As execlp(3), its words after the file being an array.
pub unsafe extern "C" fn execlp(file: *const c_char, words: CArray) -> c_int {
    // SAFETY: as execlp(3).
    unsafe { execvp(file, words) }
}

/// # Safety
/// As execle(3), its words after the path being an array: behind its NULL is the environment.
pub unsafe extern "C" fn execle(path: *const c_char, words: CArray) -> c_int {
    // SAFETY: execle(3): the arguments end with NULL.
    let end = unsafe { end_of(words) };
    // SAFETY: execle(3): a word follows.
    let environment = unsafe { end.add(1) };
    // SAFETY: as above.
    let environment = unsafe { *environment }.cast();
    // SAFETY: as execle(3).
    unsafe { execve(path, words, environment) }
}

/// # Safety
/// As fexecve(3).
pub unsafe fn fexecve(fd: c_int, arguments: CArray, environment: CArray) -> c_int {
    let look = |state: &State, planned: &mut Planned| look_at_fd(state, fd, planned);
    let call = |exec: Exec| {
        if exec.path.is_null() {
            // SAFETY: the program's own arguments, but for the environment.
            unsafe { original::fexecve(fd, exec.arguments, exec.environment) }
        } else {
            // SAFETY: as above, `inpod-trace` becoming the file.
            unsafe { original::execve(exec.path, exec.arguments, exec.environment) }
        }
    };
    // SAFETY: fexecve(3): arrays of C strings.
    unsafe { run(Exec::new(null(), arguments, environment), look, call) }.unwrap_or_else(failed)
}

/// # Safety
/// As execveat(2).
pub unsafe fn execveat(dir: c_int, path: *const c_char, arguments: CArray, environment: CArray, flags: c_int) -> c_int {
    // SAFETY: execveat(2): a C string.
    let text = unsafe { c_text(path) };
    let look = |state: &State, planned: &mut Planned| match text? {
        path if path.is_empty() => look_at_fd(state, dir, planned),
        path => look(state, dir, path, planned),
    };
    // SAFETY: the program's own arguments, or what stands for them.
    let call = |exec: Exec| unsafe { original::execveat(dir, exec.path, exec.arguments, exec.environment, flags) };
    // SAFETY: execveat(2): arrays of C strings.
    unsafe { run(Exec::new(path, arguments, environment), look, call) }.unwrap_or_else(failed)
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
    let look = |state: &State, planned: &mut Planned| look(state, AT_CWD, text?, planned);
    // SAFETY: the program's own arguments, or what stands for them.
    let call = |exec: Exec| unsafe {
        original::posix_spawn(child, exec.path, actions, attributes, exec.arguments, exec.environment)
    };
    // SAFETY: posix_spawn(3): arrays of C strings.
    unsafe { run(Exec::new(path, arguments, environment), look, call) }.unwrap_or_else(|Errno(number)| number)
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
    let look = |state: &State, planned: &mut Planned| look_in_path(state, name?, path, planned);
    // SAFETY: the program's own arguments, or what stands for them.
    let call = |exec: Exec| unsafe {
        original::posix_spawnp(child, exec.path, actions, attributes, exec.arguments, exec.environment)
    };
    // SAFETY: posix_spawnp(3): arrays of C strings.
    unsafe { run(Exec::new(file, arguments, environment), look, call) }.unwrap_or_else(|Errno(number)| number)
}

/// execvp(3) of a file of the pod: libc would tell the shell of the replica's.
///
/// # Safety
/// As execve(2), with the arguments of `exec`.
unsafe fn execute_or_read(exec: &Exec<'_>, pod_path: &CStr) -> c_int {
    // SAFETY: the caller's promise.
    let done = unsafe { original::execve(exec.path, exec.arguments, exec.environment) };
    if errno::get() != libc::ENOEXEC {
        return done;
    }
    // SAFETY: C strings, and arrays of them.
    let read = |arguments| unsafe { execve(SHELL.as_ptr(), arguments, exec.environment) };
    // SAFETY: the caller's promise.
    let done = unsafe { with_words([SHELL, pod_path].into_iter(), exec.arguments, read) };
    done.unwrap_or_else(|| fail(libc::E2BIG))
}

fn failed(Errno(number): Errno) -> c_int {
    fail(number)
}

/// Calls `call` with what is to be executed instead, `inpod-trace` or a file of the pod, and with the environment that the
/// child is to have. Err: it is refused so.
///
/// # Safety
/// Arguments and environment are NULL or arrays of C strings that end with NULL.
unsafe fn run(
    exec: Exec<'_>,
    look: impl FnOnce(&State, &mut Planned) -> Option<Result<Child, Errno>>,
    call: impl FnOnce(Exec<'_>) -> c_int,
) -> Result<c_int, Errno> {
    let Some(state) = start::state() else { return Ok(call(exec)) };
    let mut planned = Planned::default();
    let Some(child) = guarded(|| look(state, &mut planned)) else { return Ok(call(exec)) };
    let child = child?;
    // SAFETY: the caller's promise.
    let preload = unsafe { value_of(exec.environment, PRELOAD_VARIABLE) };
    // SAFETY: the caller's promise.
    let session = unsafe { value_of(exec.environment, SESSION_VARIABLE) };
    let mut text = None;
    let changes = changes(state, child, Wanted { preload, session }, &planned, &mut text);
    let (path, pod_path) = match state.tracer.filter(|_| child == Child::Traced) {
        Some(tracer) => (tracer.as_ptr(), None),
        None if planned.is_elsewhere => (planned.way.file().as_ptr(), Some(planned.way.given())),
        None => (exec.path, None),
    };
    let call = |arguments| {
        // SAFETY: the caller's promise.
        unsafe {
            with_environment(exec.environment, &changes, |environment| {
                call(Exec { path, arguments, environment, pod_path })
            })
        }
    };
    if planned.is_elsewhere && planned.way.is_script() {
        // SAFETY: the caller's promise.
        return unsafe { with_words(planned.way.words(), exec.arguments, call) }.ok_or(Errno(libc::E2BIG));
    }
    Ok(call(exec.arguments))
}

/// # Safety
/// `environment` is NULL or an array of C strings that ends with NULL, for `'a`.
unsafe fn value_of<'a>(environment: CArray, name: &[u8]) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    let value = unsafe { find_variable(environment, name) }?;
    // SAFETY: the rest of a C string.
    unsafe { c_text(value) }
}
