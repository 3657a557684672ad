//! bind, listen, accept, connect, and the addresses they tell.

use core::ffi::{c_int, c_void};

use inpod_ops::guard::{fail, guarded};
use inpod_ops::incoming::{self, End};
use inpod_ops::outgoing;
use inpod_ops::plan::Plan;
use inpod_ops::unix_streams;
use inpod_sys::sockaddr::{read, read_unix, write, SockAddr};
use inpod_sys::{errno, Errno};
use libc::{sockaddr, socklen_t};

use crate::start;
use crate::table::original;

/// # Safety
/// As bind(2).
pub unsafe fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: bind(2): an address of that length.
    let wanted = unsafe { read(address, length) };
    match guarded(|| incoming::bind(start::state()?, fd, &wanted?)) {
        Some(outcome) => answer(outcome),
        // SAFETY: the program's own call.
        None => unsafe { original::bind(fd, address, length) },
    }
}

/// # Safety
/// As listen(2).
pub unsafe fn listen(fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: the program's own call.
    let done = unsafe { original::listen(fd, backlog) };
    if done != 0 {
        return done;
    }
    answer(guarded(|| incoming::listening(start::state()?, fd)).unwrap_or(Ok(())))
}

/// # Safety
/// As accept(2).
pub unsafe fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the program's own arguments, or room of ours.
    let call = |address, length| unsafe { original::accept(fd, address, length) };
    // SAFETY: accept(2): room of that length.
    unsafe { accepted(fd, address, length, call) }
}

/// # Safety
/// As accept4(2).
pub unsafe fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int {
    // SAFETY: the program's own arguments, or room of ours.
    let call = |address, length| unsafe { original::accept4(fd, address, length, flags) };
    // SAFETY: accept(2): room of that length.
    unsafe { accepted(fd, address, length, call) }
}

/// # Safety
/// As accept(2).
unsafe fn accepted(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    call: impl Fn(*mut sockaddr, *mut socklen_t) -> c_int,
) -> c_int {
    if guarded(|| incoming::is_listener(start::state()?, fd)).is_none() {
        return call(address, length);
    }
    let mut real = SockAddr::room();
    let mut real_length = real.length();
    let connection = call(real.as_mut_ptr(), &raw mut real_length);
    if connection == -1 {
        return -1;
    }
    real.set_length(real_length);
    let peer = guarded(|| incoming::accepted(start::state()?, connection, &real.addr()?));
    let told = peer.map_or(real, |peer| SockAddr::new(&peer));
    // SAFETY: accept(2): room of that length.
    unsafe { write(&told, address, length) };
    connection
}

/// # Safety
/// As connect(2).
pub unsafe fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: connect(2): an address of that length.
    if let Some(path) = unsafe { read_unix(address, length) } {
        return match guarded(|| unix_streams::connect(start::state()?, fd, path)) {
            // SAFETY: the program's own call.
            None => unsafe { original::connect(fd, address, length) },
            Some(Ok(())) => 0,
            Some(Err(Errno(number))) => fail(number),
        };
    }
    // SAFETY: connect(2): an address of that length.
    let wanted = unsafe { read(address, length) };
    match guarded(|| outgoing::connect(start::state()?, fd, &wanted?)) {
        // SAFETY: the program's own call.
        None => unsafe { original::connect(fd, address, length) },
        Some(Plan::Fail(number)) => fail(number),
        Some(Plan::Connect { to, cookie }) => {
            let to = SockAddr::new(&to);
            // SAFETY: an address of that length. libc's own call: it can be cancelled.
            let done = unsafe { original::connect(fd, to.as_ptr(), to.length()) };
            if done == -1 {
                let seen = errno::get();
                errno::set(guarded(|| outgoing::true_errno(start::state()?, cookie, seen)).unwrap_or(seen));
            }
            done
        }
    }
}

/// # Safety
/// As getsockname(2).
pub unsafe fn getsockname(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the program's own call.
    let call = || unsafe { original::getsockname(fd, address, length) };
    // SAFETY: getsockname(2): room of that length.
    unsafe { named(fd, address, length, End::Local, call) }
}

/// # Safety
/// As getpeername(2).
pub unsafe fn getpeername(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the program's own call.
    let call = || unsafe { original::getpeername(fd, address, length) };
    // SAFETY: getpeername(2): room of that length.
    unsafe { named(fd, address, length, End::Peer, call) }
}

/// # Safety
/// As getsockname(2).
unsafe fn named(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    end: End,
    call: impl Fn() -> c_int,
) -> c_int {
    if address.is_null() || length.is_null() {
        return call();
    }
    // SAFETY: getsockname(2): it can be read.
    let room = unsafe { length.read() };
    let done = call();
    if done != 0 {
        return done;
    }
    // SAFETY: getsockname(2): it can be read, and was written.
    let real_length = unsafe { length.read() };
    // SAFETY: the kernel wrote as much of the address as there was room for.
    let real = unsafe { read(address, real_length.min(room)) };
    if let Some(told) = guarded(|| incoming::told(start::state()?, fd, end, &real?)) {
        // SAFETY: getsockname(2): it can be written.
        unsafe { length.write(room) };
        // SAFETY: getsockname(2): room of that length.
        unsafe { write(&SockAddr::new(&told), address, length) };
    }
    done
}

/// # Safety
/// As getsockopt(2).
pub unsafe fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t) -> c_int {
    // SAFETY: the program's own call.
    let done = unsafe { original::getsockopt(fd, level, name, value, length) };
    if done != 0 || level != libc::SOL_SOCKET || name != libc::SO_ERROR {
        return done;
    }
    // SAFETY: getsockopt(2): it was written.
    if unsafe { length.read() } as usize != size_of::<c_int>() {
        return done;
    }
    let value: *mut c_int = value.cast();
    // SAFETY: getsockopt(2): an int was written, at any address.
    let seen = unsafe { value.read_unaligned() };
    if seen != 0 {
        if let Some(number) = guarded(|| outgoing::true_error(start::state()?, fd, seen)) {
            // SAFETY: as above.
            unsafe { value.write_unaligned(number) };
        }
    }
    done
}

fn answer(outcome: Result<(), Errno>) -> c_int {
    match outcome {
        Ok(()) => 0,
        Err(Errno(number)) => fail(number),
    }
}
