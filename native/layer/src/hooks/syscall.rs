//! syscall(2), by which libuv, Rust's and Ruby's libraries make calls that older libcs lack.

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};

use inpod_ops::guard::fail;

use crate::start;
use crate::table::{self, original};

/// Calls of which libc has a function go its way; a ring would do files and sockets behind our back, and every program
/// can do without one.
///
/// # Safety
/// As the call of that number.
pub unsafe fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    // The kernel takes the low half of an int argument.
    let (fd, third, fourth) = (a as c_int, c as c_int, d as c_int);
    let path = b as *const c_char;
    let done = match number {
        _ if start::state().is_none() => None,
        libc::SYS_io_uring_setup => return fail(libc::ENOSYS),
        // SAFETY: the program's own arguments, in the same order: here and below.
        libc::SYS_openat => Some(unsafe { table::openat(fd, path, third, d as libc::mode_t) }),
        // SAFETY: as above.
        libc::SYS_newfstatat => Some(unsafe { table::fstatat(fd, path, c as *mut c_void, fourth) }),
        // SAFETY: as above.
        libc::SYS_statx => Some(unsafe { table::statx(fd, path, third, d as c_uint, e as *mut c_void) }),
        // SAFETY: as above; this call has no flags.
        libc::SYS_faccessat => Some(unsafe { table::faccessat(fd, path, third, 0) }),
        // SAFETY: as above.
        libc::SYS_faccessat2 => Some(unsafe { table::faccessat(fd, path, third, fourth) }),
        // SAFETY: as above.
        libc::SYS_readlinkat => return unsafe { table::readlinkat(fd, path, c as *mut c_char, d) } as c_long,
        // SAFETY: as above.
        libc::SYS_bind => Some(unsafe { table::bind(fd, b as *const _, c as libc::socklen_t) }),
        // SAFETY: as above.
        libc::SYS_listen => Some(unsafe { table::listen(fd, b as c_int) }),
        // SAFETY: as above.
        libc::SYS_connect => Some(unsafe { table::connect(fd, b as *const _, c as libc::socklen_t) }),
        // SAFETY: as above.
        libc::SYS_accept4 => Some(unsafe { table::accept4(fd, b as *mut _, c as *mut _, fourth) }),
        // SAFETY: as above.
        libc::SYS_getsockname => Some(unsafe { table::getsockname(fd, b as *mut _, c as *mut _) }),
        // SAFETY: as above.
        libc::SYS_getpeername => Some(unsafe { table::getpeername(fd, b as *mut _, c as *mut _) }),
        // SAFETY: as above.
        libc::SYS_execve => Some(unsafe { table::execve(a as *const c_char, b as *const _, c as *const _) }),
        _ => None,
    };
    match done {
        Some(result) => c_long::from(result),
        // SAFETY: the program's own call.
        None => unsafe { original::syscall(number, a, b, c, d, e, f) },
    }
}
