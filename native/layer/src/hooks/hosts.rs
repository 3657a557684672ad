//! getaddrinfo and gethostbyname with its variants.

use core::ffi::{c_char, c_int, CStr};
use core::ptr::null_mut;

use inpod_ops::guard::guarded;
use inpod_ops::hosts::{h_errno_of, is_v4, resolve, Answer};
use inpod_rules::{Addr, Family};
use inpod_sys::hosts::{family_of, fill_hostent, numeric_hints, set_h_errno, AddressList, HostText, StaticHost};
use inpod_sys::memory::Known;
use inpod_sys::text::{c_text, until_nul};
use inpod_wire::{Resolved, MAX_RESOLVED};
use libc::{addrinfo, hostent};

use crate::start;
use crate::table::original;

/// The one result of gethostbyname and gethostbyname2.
static HOST: Known<StaticHost> = Known::new();

/// Longest name that DNS has, and its NUL.
const NAME_BYTES: usize = 1025;

/// # Safety
/// As getaddrinfo(3).
pub unsafe fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    list: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: getaddrinfo(3): a C string or NULL.
    let name = unsafe { c_text(node) };
    // SAFETY: getaddrinfo(3): NULL or hints.
    let (flags, wanted) = unsafe { hints.as_ref() }.map_or((0, 0), |hints| (hints.ai_flags, hints.ai_family));
    let mut reply = [0; MAX_RESOLVED];
    // An IPv6 socket may be given IPv4 addresses in IPv6 form, so both are asked for.
    let maps = wanted == libc::AF_INET6 && flags & libc::AI_V4MAPPED != 0;
    let family = family_of(wanted).filter(|_| !maps);
    let answer = guarded(|| {
        let is_host = flags & libc::AI_NUMERICHOST == 0 && (family.is_some() || maps || wanted == libc::AF_UNSPEC);
        resolve(start::state().filter(|_| is_host)?, name?.to_bytes(), family, &mut reply)
    });
    match answer {
        // SAFETY: the program's own call.
        None => unsafe { original::getaddrinfo(node, service, hints, list) },
        Some(Answer::Failed(number)) => number,
        Some(Answer::Found(found)) => {
            let keeps_v4 = !maps || flags & libc::AI_ALL != 0 || !found.addresses().any(|ip| !is_v4(&ip));
            let canonical = (flags & libc::AI_CANONNAME != 0).then_some(name).flatten();
            // SAFETY: getaddrinfo(3): C strings or NULL, hints or NULL.
            match unsafe { numeric_list(service, hints, &found, keeps_v4) } {
                Ok(mut made) if !made.head().is_null() => {
                    if let Some(name) = canonical {
                        set_canonical(&mut made, &found, name);
                    }
                    // SAFETY: getaddrinfo(3): it can be written.
                    unsafe { list.write(made.head()) };
                    0
                }
                Ok(_) => libc::EAI_NODATA,
                Err(number) => number,
            }
        }
    }
}

/// Has libc make the list, address by address, so that libc can free it.
///
/// # Safety
/// As getaddrinfo(3).
unsafe fn numeric_list(
    service: *const c_char,
    hints: *const addrinfo,
    found: &Resolved<'_>,
    keeps_v4: bool,
) -> Result<AddressList, c_int> {
    // SAFETY: the caller's promise.
    let hints = unsafe { numeric_hints(hints) };
    let mut made = AddressList::default();
    let mut failure = 0;
    for ip in found.addresses().filter(|ip| keeps_v4 || !is_v4(ip)) {
        let host = HostText::new(&Addr { family: Family::V6, port: 0, ip });
        let mut one = null_mut();
        // SAFETY: C strings or NULL; room for the list.
        let number =
            unsafe { original::getaddrinfo(host.as_c_str().as_ptr(), service, &raw const hints, &raw mut one) };
        if number == 0 {
            // SAFETY: libc made it just now.
            unsafe { made.append(one) };
        } else {
            // An address of the other family, or a service that is not there.
            failure = number;
        }
    }
    if made.head().is_null() && failure != 0 {
        return Err(failure);
    }
    Ok(made)
}

fn set_canonical(made: &mut AddressList, found: &Resolved<'_>, name: &CStr) {
    let mut text = [0; NAME_BYTES];
    let room = text.split_last_mut().map_or(&mut [][..], |(_, room)| room);
    for (to, from) in room.iter_mut().zip(found.canonical) {
        *to = *from;
    }
    made.set_canonical(until_nul(&text).filter(|text| !text.is_empty()).unwrap_or(name));
}

/// # Safety
/// As gethostbyname(3).
pub unsafe fn gethostbyname(name: *const c_char) -> *mut hostent {
    // SAFETY: the program's own call.
    let call = || unsafe { original::gethostbyname(name) };
    // SAFETY: gethostbyname(3): a C string.
    unsafe { by_name(name, libc::AF_INET, call) }
}

/// # Safety
/// As gethostbyname2(3).
pub unsafe fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent {
    // SAFETY: the program's own call.
    let call = || unsafe { original::gethostbyname2(name, family) };
    // SAFETY: gethostbyname(3): a C string.
    unsafe { by_name(name, family, call) }
}

/// # Safety
/// As gethostbyname2(3).
unsafe fn by_name(name: *const c_char, family: c_int, call: impl Fn() -> *mut hostent) -> *mut hostent {
    let Some((host, buffer)) = StaticHost::of(&HOST).map(StaticHost::parts) else { return call() };
    let mut found = null_mut();
    let mut h_errno = 0;
    // SAFETY: gethostbyname(3): a C string; room of ours, which is not to be used by two threads at once.
    let done = unsafe { by_name_r(name, family, host, buffer, StaticHost::BYTES, &raw mut found, &raw mut h_errno) };
    match done {
        None => call(),
        Some(_) => {
            if found.is_null() {
                set_h_errno(h_errno);
            }
            found
        }
    }
}

/// # Safety
/// As gethostbyname_r(3).
pub unsafe fn gethostbyname_r(
    name: *const c_char,
    host: *mut hostent,
    buffer: *mut c_char,
    length: usize,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
) -> c_int {
    // SAFETY: as gethostbyname_r(3).
    let done = unsafe { by_name_r(name, libc::AF_INET, host, buffer, length, found, h_errno) };
    // SAFETY: the program's own call.
    done.unwrap_or_else(|| unsafe { original::gethostbyname_r(name, host, buffer, length, found, h_errno) })
}

/// # Safety
/// As gethostbyname2_r(3).
pub unsafe fn gethostbyname2_r(
    name: *const c_char,
    family: c_int,
    host: *mut hostent,
    buffer: *mut c_char,
    length: usize,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
) -> c_int {
    // SAFETY: as gethostbyname2_r(3).
    let done = unsafe { by_name_r(name, family, host, buffer, length, found, h_errno) };
    // SAFETY: the program's own call.
    done.unwrap_or_else(|| unsafe { original::gethostbyname2_r(name, family, host, buffer, length, found, h_errno) })
}

/// None: the original call.
///
/// # Safety
/// As gethostbyname2_r(3).
unsafe fn by_name_r(
    name: *const c_char,
    family: c_int,
    host: *mut hostent,
    buffer: *mut c_char,
    length: usize,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
) -> Option<c_int> {
    // SAFETY: the caller's promise.
    let name = unsafe { c_text(name) }?.to_bytes();
    let family = family_of(family)?;
    let mut reply = [0; MAX_RESOLVED];
    let answer = guarded(|| resolve(start::state()?, name, Some(family), &mut reply))?;
    // SAFETY: the caller's promise.
    unsafe { found.write(null_mut()) };
    let (result, number) = match answer {
        Answer::Failed(number) => (libc::ENOENT, h_errno_of(number)),
        Answer::Found(resolved) => {
            let canonical = if resolved.canonical.is_empty() { name } else { resolved.canonical };
            let addresses = Addresses { found: &resolved, family };
            // SAFETY: the caller's promise.
            if unsafe { fill_hostent(host, buffer, length, canonical, family, addresses.iter()) } {
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

/// h_errno: see errno (netdb.h).
pub(crate) const NETDB_INTERNAL: c_int = -1;

/// The addresses of one family.
struct Addresses<'a> {
    found: &'a Resolved<'a>,
    family: Family,
}

impl<'a> Addresses<'a> {
    fn iter(&self) -> impl Iterator<Item = [u8; 16]> + Clone + 'a {
        let family = self.family;
        self.found.addresses().filter(move |ip| is_v4(ip) == (family == Family::V4))
    }
}
