//! Streams, and the calls that tell a path: readlink, realpath, getcwd, glob.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::ptr::null_mut;

use inpod_ops::guard::fail;
use inpod_ops::place;
use inpod_ops::state::State;
use inpod_rules::FilesMode;
use inpod_sys::files::AT_CWD;
use inpod_sys::text::{c_text, copy_out, overwrite};
use inpod_wire::Want;

use crate::files;
use crate::plain;
use crate::start;
use crate::table::{self, original};

/// Longest text of a link, and of a working directory, in bytes.
const TEXT_BYTES: usize = 4096;

/// # Safety
/// As fopen(3).
pub unsafe fn fopen(path: *const c_char, mode: *const c_char) -> *mut c_void {
    // SAFETY: the program's own arguments, but for the path.
    let call = |path| unsafe { original::fopen(path, mode) };
    // SAFETY: fopen(3): C strings.
    unsafe { stream(path, mode, call) }
}

/// # Safety
/// As fopen(3).
pub unsafe fn fopen64(path: *const c_char, mode: *const c_char) -> *mut c_void {
    // SAFETY: the program's own arguments, but for the path.
    let call = |path| unsafe { original::fopen64(path, mode) };
    // SAFETY: fopen(3): C strings.
    unsafe { stream(path, mode, call) }
}

/// # Safety
/// As freopen(3).
pub unsafe fn freopen(path: *const c_char, mode: *const c_char, file: *mut c_void) -> *mut c_void {
    // SAFETY: the program's own arguments, but for the path.
    let call = |path| unsafe { original::freopen(path, mode, file) };
    // SAFETY: freopen(3): C strings, or no path.
    unsafe { stream(path, mode, call) }
}

/// # Safety
/// As freopen(3).
pub unsafe fn freopen64(path: *const c_char, mode: *const c_char, file: *mut c_void) -> *mut c_void {
    // SAFETY: the program's own arguments, but for the path.
    let call = |path| unsafe { original::freopen64(path, mode, file) };
    // SAFETY: freopen(3): C strings, or no path.
    unsafe { stream(path, mode, call) }
}

/// # Safety
/// Both are NULL or C strings.
unsafe fn stream(path: *const c_char, mode: *const c_char, call: impl Fn(*const c_char) -> *mut c_void) -> *mut c_void {
    // SAFETY: the caller's promise.
    let text = unsafe { c_text(path) };
    // SAFETY: the caller's promise.
    let mode = unsafe { c_text(mode) }.map_or(b"".as_slice(), CStr::to_bytes);
    let reads = mode.starts_with(b"r") && !mode.split(|byte| *byte == b',').next().unwrap_or(mode).contains(&b'+');
    if reads {
        files::contents(AT_CWD, text, Want::Read, |_, path| call(path))
    } else {
        files::on_this_machine(AT_CWD, text, |_, path| call(path))
    }
}

/// # Safety
/// As readlink(2).
pub unsafe fn readlink(path: *const c_char, to: *mut c_char, room: usize) -> isize {
    // SAFETY: the program's own arguments, or room of ours.
    let call = |_, path, to, room| unsafe { original::readlink(path, to, room) };
    // SAFETY: readlink(2): a C string, and room of that length.
    unsafe { link(AT_CWD, path, to, room, call) }
}

/// # Safety
/// As readlinkat(2).
pub unsafe fn readlinkat(dir: c_int, path: *const c_char, to: *mut c_char, room: usize) -> isize {
    // SAFETY: the program's own arguments, or room of ours.
    let call = |dir, path, to, room| unsafe { original::readlinkat(dir, path, to, room) };
    // SAFETY: readlink(2): a C string, and room of that length.
    unsafe { link(dir, path, to, room, call) }
}

/// # Safety
/// As readlink(2), `size` being the size of `to` as the compiler knows it.
pub unsafe fn readlink_chk(path: *const c_char, to: *mut c_char, room: usize, size: usize) -> isize {
    if room > size {
        // SAFETY: libc ends the program.
        return unsafe { original::__readlink_chk(path, to, room, size) };
    }
    // SAFETY: as readlink.
    unsafe { readlink(path, to, room) }
}

/// # Safety
/// As readlinkat(2), `size` being the size of `to` as the compiler knows it.
pub unsafe fn readlinkat_chk(dir: c_int, path: *const c_char, to: *mut c_char, room: usize, size: usize) -> isize {
    if room > size {
        // SAFETY: libc ends the program.
        return unsafe { original::__readlinkat_chk(dir, path, to, room, size) };
    }
    // SAFETY: as readlinkat.
    unsafe { readlinkat(dir, path, to, room) }
}

/// # Safety
/// As readlinkat(2).
unsafe fn link(
    dir: c_int,
    path: *const c_char,
    to: *mut c_char,
    room: usize,
    call: impl Fn(c_int, *const c_char, *mut c_char, usize) -> isize,
) -> isize {
    let Some(state) = files_state().filter(|_| room > 0) else { return call(dir, path, to, room) };
    // SAFETY: the caller's promise.
    let path = unsafe { c_text(path) };
    // Of ours: the replica's path in it may be longer than the program's room.
    let mut text = [0u8; TEXT_BYTES];
    let at: *mut c_char = text.as_mut_ptr().cast();
    let length = files::look(dir, path, Want::Lstat, |dir, path| call(dir, path, at, TEXT_BYTES));
    let Ok(length) = usize::try_from(length) else { return length };
    let text = text.get(..length).unwrap_or_default();
    let told = place::pod_path_of(state, text).unwrap_or(text);
    // SAFETY: the caller's promise.
    (unsafe { copy_out(told, to, room) }) as isize
}

/// # Safety
/// As realpath(3).
pub unsafe fn realpath(path: *const c_char, to: *mut c_char) -> *mut c_char {
    // SAFETY: the program's own arguments, but for the path.
    let call = |_, path| unsafe { original::realpath(path, to) };
    // SAFETY: realpath(3): a C string.
    let text = unsafe { c_text(path) };
    let found = files::look(AT_CWD, text, Want::Stat, call);
    // SAFETY: realpath(3) made it.
    unsafe { told_in_place(found) }
}

/// # Safety
/// As realpath(3), `size` being the size of `to` as the compiler knows it.
pub unsafe fn realpath_chk(path: *const c_char, to: *mut c_char, size: usize) -> *mut c_char {
    // SAFETY: the program's own arguments, but for the path.
    let call = |_, path| unsafe { original::__realpath_chk(path, to, size) };
    // SAFETY: realpath(3): a C string.
    let text = unsafe { c_text(path) };
    let found = files::look(AT_CWD, text, Want::Stat, call);
    // SAFETY: realpath(3) made it.
    unsafe { told_in_place(found) }
}

/// # Safety
/// As canonicalize_file_name(3).
pub unsafe fn canonicalize_file_name(path: *const c_char) -> *mut c_char {
    // SAFETY: canonicalize_file_name(3): a C string.
    unsafe { realpath(path, null_mut()) }
}

/// # Safety
/// As getcwd(3).
pub unsafe fn getcwd(to: *mut c_char, size: usize) -> *mut c_char {
    // SAFETY: the program's own call.
    let call = || unsafe { original::getcwd(to, size) };
    // SAFETY: getcwd(3): room of that size.
    unsafe { working_dir(to, size, call) }
}

/// # Safety
/// As getcwd(3), `room` being the size of `to` as the compiler knows it.
pub unsafe fn getcwd_chk(to: *mut c_char, size: usize, room: usize) -> *mut c_char {
    // SAFETY: the program's own call.
    let call = || unsafe { original::__getcwd_chk(to, size, room) };
    if size > room {
        return call();
    }
    // SAFETY: getcwd(3): room of that size.
    unsafe { working_dir(to, size, call) }
}

/// # Safety
/// As get_current_dir_name(3).
pub unsafe fn get_current_dir_name() -> *mut c_char {
    // SAFETY: the program's own call.
    let found = unsafe { original::get_current_dir_name() };
    // SAFETY: libc made it.
    unsafe { told_in_place(found) }
}

/// # Safety
/// As getcwd(3).
unsafe fn working_dir(to: *mut c_char, size: usize, call: impl Fn() -> *mut c_char) -> *mut c_char {
    let Some(state) = files_state().filter(|state| state.table.pod_directory_seen()) else { return call() };
    let mut room = [0u8; TEXT_BYTES];
    let found = inpod_sys::files::current_dir(&mut room).ok();
    let Some(told) = found.and_then(|found| place::pod_path_of(state, found)) else { return call() };
    let needed = told.len() + 1;
    if !to.is_null() && size < needed {
        return fail(if size == 0 { libc::EINVAL } else { libc::ERANGE });
    }
    let to = if to.is_null() {
        if size != 0 && size < needed {
            return fail(libc::ERANGE);
        }
        // SAFETY: any size will do; getcwd(3) says that the program frees it.
        unsafe { plain::malloc(size.max(needed)).cast::<c_char>() }
    } else {
        to
    };
    if to.is_null() {
        return fail(libc::ENOMEM);
    }
    // SAFETY: there is room for the text and its NUL.
    unsafe { overwrite(to, told) };
    to
}

/// Makes a path that libc told the pod's, where it is in the replica.
///
/// # Safety
/// NULL, or a C string that may be written.
pub unsafe fn told_in_place(found: *mut c_char) -> *mut c_char {
    // SAFETY: the caller's promise.
    let text = unsafe { c_text(found) };
    let told = text.and_then(|text| place::pod_path_of(files_state()?, text.to_bytes()));
    if let Some(told) = told {
        // SAFETY: the caller's promise; what is told is shorter.
        unsafe { overwrite(found, told) };
    }
    found
}

/// glob_t, whose functions the libc crate keeps to itself (glob.h).
#[repr(C)]
pub struct Glob {
    count: usize,
    paths: *mut *mut c_char,
    offset: usize,
    flags: c_int,
    closedir: *mut c_void,
    readdir: *mut c_void,
    opendir: *mut c_void,
    lstat: *mut c_void,
    stat: *mut c_void,
}

/// glob.h: use the functions in glob_t.
const GLOB_ALTDIRFUNC: c_int = 1 << 9;

/// # Safety
/// As glob(3).
pub unsafe fn glob(pattern: *const c_char, flags: c_int, on_error: *mut c_void, found: *mut c_void) -> c_int {
    // SAFETY: glob(3): a glob_t.
    let flags = unsafe { with_our_functions(flags, found) };
    // SAFETY: the program's own call, our functions being as libc's.
    unsafe { original::glob(pattern, flags, on_error, found) }
}

/// # Safety
/// As glob(3).
pub unsafe fn glob64(pattern: *const c_char, flags: c_int, on_error: *mut c_void, found: *mut c_void) -> c_int {
    // SAFETY: glob(3): a glob_t.
    let flags = unsafe { with_our_functions(flags, found) };
    // SAFETY: the program's own call, our functions being as libc's.
    unsafe { original::glob64(pattern, flags, on_error, found) }
}

/// libc's glob calls its own opendir and stat, not those of the layer, unless it is told to.
///
/// # Safety
/// `found` is a glob_t that may be written.
unsafe fn with_our_functions(flags: c_int, found: *mut c_void) -> c_int {
    if files_state().is_none() || flags & GLOB_ALTDIRFUNC != 0 {
        return flags;
    }
    // SAFETY: the caller's promise; a glob_t of which nobody else has a reference.
    if let Some(found) = unsafe { found.cast::<Glob>().as_mut() } {
        found.opendir = table::opendir as *mut c_void;
        found.readdir = plain::readdir as *mut c_void;
        found.closedir = plain::closedir as *mut c_void;
        found.stat = table::stat as *mut c_void;
        found.lstat = table::lstat as *mut c_void;
    }
    flags | GLOB_ALTDIRFUNC
}

/// The state, where files are read from the pod.
pub fn files_state() -> Option<&'static State> {
    start::state().filter(|state| state.rules.files != FilesMode::Local)
}
