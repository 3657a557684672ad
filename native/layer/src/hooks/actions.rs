//! What a child of posix_spawn is to do first: libc does it there, by calls of its own. So it is told where the replica has
//! what is the pod's.

use core::ffi::{c_char, c_int, c_void, CStr};

use inpod_ops::files::pods_path;
use inpod_ops::guard::{fail, guarded};
use inpod_ops::place::{as_c_str, Caller};
use inpod_rules::paths::PathText;
use inpod_sys::files::{look, AT_CWD};
use inpod_sys::text::c_text;
use inpod_sys::Errno;
use inpod_wire::Want;
use libc::mode_t;

use crate::files;
use crate::start;
use crate::table::original;

/// # Safety
/// As posix_spawn_file_actions_addchdir_np of libc.
pub unsafe fn add_chdir(actions: *mut c_void, path: *const c_char) -> c_int {
    // SAFETY: the program's own arguments, but for the path.
    let add = |path| unsafe { original::posix_spawn_file_actions_addchdir_np(actions, path) };
    let is_there = |_, path| {
        // SAFETY: the program's path, or the replica's.
        let text = unsafe { c_text(path) }.unwrap_or_default();
        look(AT_CWD, text, 0).map_or_else(|Errno(number)| fail(number), |_| 0)
    };
    // SAFETY: a C string.
    unsafe { added(path, add, |text| files::enter(AT_CWD, Some(text), is_there)) }
}

/// # Safety
/// As posix_spawn_file_actions_addopen of libc.
pub unsafe fn add_open(actions: *mut c_void, fd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the program's own arguments, but for the path.
    let add = |path| unsafe { original::posix_spawn_file_actions_addopen(actions, fd, path, flags, mode) };
    if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0 {
        return add(path);
    }
    // SAFETY: a C string.
    unsafe { added(path, add, |text| files::contents(AT_CWD, Some(text), Want::Read, |_, _| 0)) }
}

/// # Safety
/// `path` is NULL or a C string.
unsafe fn added(path: *const c_char, add: impl Fn(*const c_char) -> c_int, prepare: impl Fn(&CStr) -> c_int) -> c_int {
    let mut place = PathText::default();
    // SAFETY: the caller's promise.
    let text = unsafe { c_text(path) };
    let mut is_pods = |text: &CStr| Some(pods_path(&Caller::own(start::state()?), text, &mut place));
    let Some((text, true)) = guarded(|| text.zip(is_pods(text?))) else { return add(path) };
    // What the pod lacks is missing in the child.
    guarded(|| Some(prepare(text)));
    // A relative path begins where the child stands by then; where we stand in the pod, that is in the replica already.
    add(if text.to_bytes().starts_with(b"/") { as_c_str(&place).as_ptr() } else { path })
}
