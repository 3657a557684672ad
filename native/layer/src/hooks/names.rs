//! The host's name.

use core::ffi::{c_char, c_int};

use inpod_ops::guard::fail;
use inpod_rules::paths::PathText;
use inpod_sys::process::NODE_BYTES;
use inpod_sys::text::{copy_out, overwrite};
use libc::utsname;

use crate::start;
use crate::table::original;

/// # Safety
/// As gethostname(2).
pub unsafe fn gethostname(to: *mut c_char, size: usize) -> c_int {
    let Some(name) = start::state().and_then(|state| state.rules.hostname) else {
        // SAFETY: the program's own call.
        return unsafe { original::gethostname(to, size) };
    };
    let mut text = PathText::default();
    let _ = text.push(name);
    // SAFETY: gethostname(2): room of that size.
    unsafe { copy_out(text.with_nul(), to, size) };
    if name.len() < size {
        0
    } else {
        fail(libc::ENAMETOOLONG)
    }
}

/// # Safety
/// As uname(2).
pub unsafe fn uname(to: *mut utsname) -> c_int {
    // SAFETY: the program's own call.
    let done = unsafe { original::uname(to) };
    let name = start::state().and_then(|state| state.rules.hostname);
    if let Some(name) = name.filter(|_| done == 0) {
        // SAFETY: uname(2): it was written.
        let node = unsafe { &raw mut (*to).nodename };
        let name = name.get(..name.len().min(NODE_BYTES - 1)).unwrap_or_default();
        // SAFETY: the field has room for so many bytes.
        unsafe { overwrite(node.cast(), name) };
    }
    done
}
