//! Who changes its user: the session's folder is for its own user alone. That cannot be said any more once it is done.

use core::ffi::{c_int, c_uint};

use inpod_ops::guard::guarded;
use inpod_ops::session::{ask, fill_seats};
use inpod_sys::process;
use inpod_wire::Request;

use crate::start;
use crate::table::original;

/// An argument that leaves a user as it is (setreuid(2)).
const SAME: c_uint = c_uint::MAX;

/// # Safety
/// As setuid(2).
pub unsafe fn setuid(user: c_uint) -> c_int {
    tell(user);
    // SAFETY: the program's own call.
    unsafe { original::setuid(user) }
}

/// # Safety
/// As seteuid(2).
pub unsafe fn seteuid(effective: c_uint) -> c_int {
    tell(effective);
    // SAFETY: the program's own call.
    unsafe { original::seteuid(effective) }
}

/// # Safety
/// As setreuid(2).
pub unsafe fn setreuid(real: c_uint, effective: c_uint) -> c_int {
    tell(effective);
    // SAFETY: the program's own call.
    unsafe { original::setreuid(real, effective) }
}

/// # Safety
/// As setresuid(2).
pub unsafe fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int {
    tell(effective);
    // SAFETY: the program's own call.
    unsafe { original::setresuid(real, effective, saved) }
}

fn tell(user: c_uint) {
    // Who is not root can only be refused, or go back to a user that he was.
    let (own, _) = process::effective_ids();
    if user == SAME || user == own || own != 0 {
        return;
    }
    guarded(|| {
        let (state, path) = (start::state()?, process::executed_as()?.to_bytes());
        ask(state, &Request::Warn { why: "user", path }, None, |_, _| Some(()))?;
        // Its threads go on asking.
        fill_seats(state);
        Some(())
    });
}
