//! Catalogues of messages.

use core::ffi::{c_char, c_int};

use inpod_sys::files::AT_CWD;
use inpod_sys::text::c_text;
use inpod_wire::Want;

use crate::files;
use crate::table::original;

/// A name without a slash is looked for in folders of this machine (NLSPATH).
///
/// # Safety
/// As catopen(3).
pub unsafe fn catopen(name: *const c_char, flag: c_int) -> isize {
    // SAFETY: the program's own arguments, but for the path.
    let call = |name| unsafe { original::catopen(name, flag) };
    // SAFETY: catopen(3): a C string.
    match unsafe { c_text(name) } {
        Some(path) if path.to_bytes().contains(&b'/') => {
            files::contents(AT_CWD, Some(path), Want::Read, |_, path| call(path))
        }
        _ => call(name),
    }
}
