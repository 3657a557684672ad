//! dlopen: a library that is opened with RTLD_DEEPBIND, as PHP opens its extensions, would find libc's functions before ours.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use inpod_sys::jump::Onward;
use inpod_sys::next::{Name, Next};

use crate::start;

const NAME: Name = Name::new("dlopen\0");

static PLACE: Next = Next::new();

/// To the original, which looks for libraries where the program that calls says (DT_RUNPATH), without that flag.
pub extern "C" fn dlopen(flags: c_int) -> Onward {
    let is_deep = flags & libc::RTLD_DEEPBIND != 0 && start::state().is_some();
    let flags = if is_deep { flags & !libc::RTLD_DEEPBIND } else { flags };
    let original = PLACE.address(NAME);
    let to = if original.is_null() { nothing as *const c_void } else { original.cast_const() };
    Onward { to, second: flags as usize }
}

/// In the place of an original that is not there (libdl.so of a glibc before 2.34), so that nobody calls it.
extern "C" fn nothing() -> *mut c_void {
    null_mut()
}
