//! getnameinfo, and gethostbyaddr with its variant.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::{null_mut, slice_from_raw_parts};

use inpod_ops::guard::guarded;
use inpod_ops::hosts::{find_name, h_errno_of, Answer};
use inpod_rules::{Addr, Family};
use inpod_sys::hosts::{fill_hostent, set_h_errno, StaticHost};
use inpod_sys::memory::Known;
use inpod_sys::sockaddr;
use inpod_sys::text::copy_out;
use inpod_wire::MAX_RESOLVED;
use libc::{hostent, socklen_t};

use crate::hooks::hosts::NETDB_INTERNAL;
use crate::start;
use crate::table::original;

/// The one result of gethostbyaddr.
static HOST: Known<StaticHost> = Known::new();

/// # Safety
/// As getnameinfo(3).
pub unsafe fn getnameinfo(
    address: *const libc::sockaddr,
    length: socklen_t,
    host: *mut c_char,
    host_size: socklen_t,
    service: *mut c_char,
    service_size: socklen_t,
    flags: c_int,
) -> c_int {
    let mut reply = [0; MAX_RESOLVED];
    let answer = guarded(|| {
        let is_asked = !host.is_null() && host_size > 0 && flags & libc::NI_NUMERICHOST == 0;
        // SAFETY: getnameinfo(3): an address of that length.
        let addr = unsafe { sockaddr::read(address, length) };
        find_name(start::state().filter(|_| is_asked)?, &addr?, &mut reply)
    });
    let libcs = |host: *mut c_char, size, flags| {
        // SAFETY: the program's own arguments, or no room for a host.
        unsafe { original::getnameinfo(address, length, host, size, service, service_size, flags) }
    };
    match answer {
        None => libcs(host, host_size, flags),
        Some(Answer::Found(found)) => {
            let name = found.canonical;
            if name.len() >= host_size as usize {
                return libc::EAI_OVERFLOW;
            }
            if !service.is_null() && service_size > 0 {
                let failure = libcs(null_mut(), 0, flags);
                if failure != 0 {
                    return failure;
                }
            }
            // SAFETY: getnameinfo(3): room of that size, in which the name and its NUL fit.
            unsafe { copy_out(name, host, name.len()) };
            let end = host.wrapping_add(name.len());
            // SAFETY: as above.
            unsafe { end.write(0) };
            0
        }
        Some(Answer::Failed(number)) if number == libc::EAI_AGAIN || flags & libc::NI_NAMEREQD != 0 => number,
        Some(Answer::Failed(_)) => libcs(host, host_size, flags | libc::NI_NUMERICHOST),
    }
}

/// # Safety
/// As gethostbyaddr(3).
pub unsafe fn gethostbyaddr(address: *const c_void, length: socklen_t, family: c_int) -> *mut hostent {
    // SAFETY: the program's own call.
    let libcs = || unsafe { original::gethostbyaddr(address, length, family) };
    let Some((host, buffer)) = StaticHost::of(&HOST).map(StaticHost::parts) else { return libcs() };
    let mut found = null_mut();
    let mut h_errno = 0;
    let size = StaticHost::BYTES;
    // SAFETY: gethostbyaddr(3): an address; room of ours, which is not to be used by two threads at once.
    let done = unsafe { by_address(address, length, family, host, buffer, size, &raw mut found, &raw mut h_errno) };
    if done.is_none() {
        return libcs();
    }
    if found.is_null() {
        set_h_errno(h_errno);
    }
    found
}

/// # Safety
/// As gethostbyaddr_r(3).
#[allow(clippy::too_many_arguments, reason = "libc's own")]
pub unsafe fn gethostbyaddr_r(
    address: *const c_void,
    length: socklen_t,
    family: c_int,
    host: *mut hostent,
    buffer: *mut c_char,
    size: usize,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
) -> c_int {
    // SAFETY: as gethostbyaddr_r(3).
    let done = unsafe { by_address(address, length, family, host, buffer, size, found, h_errno) };
    // SAFETY: the program's own call.
    let libcs = || unsafe { original::gethostbyaddr_r(address, length, family, host, buffer, size, found, h_errno) };
    done.unwrap_or_else(libcs)
}

/// None: the original call.
///
/// # Safety
/// As gethostbyaddr_r(3).
#[allow(clippy::too_many_arguments, reason = "libc's own")]
unsafe fn by_address(
    address: *const c_void,
    length: socklen_t,
    family: c_int,
    host: *mut hostent,
    buffer: *mut c_char,
    size: usize,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
) -> Option<c_int> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice_from_raw_parts(address.cast::<u8>(), length as usize).as_ref() }?;
    let addr = match family {
        libc::AF_INET => Addr::v4(Family::V4, bytes.try_into().ok()?, 0),
        libc::AF_INET6 => Addr { family: Family::V6, port: 0, ip: bytes.try_into().ok()? },
        _ => return None,
    };
    let mut reply = [0; MAX_RESOLVED];
    let answer = guarded(|| find_name(start::state()?, &addr, &mut reply))?;
    // SAFETY: the caller's promise.
    unsafe { found.write(null_mut()) };
    let (result, number) = match answer {
        Answer::Failed(number) => (libc::ENOENT, h_errno_of(number)),
        Answer::Found(named) => {
            // SAFETY: the caller's promise.
            if unsafe { fill_hostent(host, buffer, size, named.canonical, addr.family, [addr.ip].into_iter()) } {
                // SAFETY: the caller's promise.
                unsafe { found.write(host) };
                return Some(0);
            }
            (libc::ERANGE, NETDB_INTERNAL)
        }
    };
    // SAFETY: the caller's promise.
    unsafe { h_errno.write(number) };
    Some(result)
}
