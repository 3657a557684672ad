//! Hosts and their addresses as C has them: addrinfo and hostent (netdb.h).

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int, c_void, CStr};
use core::ptr::null_mut;

use inpod_rules::{Addr, Family};

use crate::memory::{Arena, Known};

mod libcs {
    use super::{c_char, c_int, null_mut};

    crate::of_next! {
        fn __h_errno_location() -> *mut c_int, or null_mut();
        fn strdup(text: *const c_char) -> *mut c_char, or null_mut();
    }
}

/// Sets h_errno.
pub fn set_h_errno(value: c_int) {
    // SAFETY: the function takes nothing.
    let place = unsafe { libcs::__h_errno_location() };
    // SAFETY: libc gives this thread's h_errno, valid for the thread's life.
    if let Some(place) = unsafe { place.as_mut() } {
        *place = value;
    }
}

/// `struct __res_state` of glibc, as far as its h_errno; the same since version 2.0 (resolv.h).
#[repr(C)]
struct ResolverState {
    before: [u8; 496],
    res_h_errno: c_int,
}

/// Sets h_errno, and that of a resolver's state.
///
/// # Safety
/// `state` is NULL or a `res_state` of the program.
pub unsafe fn set_h_errno_in(state: *mut c_void, value: c_int) {
    set_h_errno(value);
    if !state.is_null() {
        let state: *mut ResolverState = state.cast();
        // SAFETY: the caller's promise.
        unsafe { (*state).res_h_errno = value };
    }
}

/// An address in text form, for libc to read: not in its shortest form.
pub struct HostText {
    bytes: [u8; 48],
    length: usize,
}

impl HostText {
    /// IPv4 with dots, also when mapped.
    pub fn new(addr: &Addr) -> Self {
        let mut text = Self { bytes: [0; 48], length: 0 };
        match addr.ipv4() {
            Some(ip) => {
                for (at, byte) in ip.into_iter().enumerate() {
                    text.push(if at > 0 { b"." } else { b"" });
                    // Without zeros in front: inet_aton(3) would read it as octal.
                    let digits = [b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10];
                    text.push(digits.get(usize::from(byte < 100) + usize::from(byte < 10)..).unwrap_or_default());
                }
            }
            None => {
                for (at, byte) in addr.ip.into_iter().enumerate() {
                    text.push(if at > 0 && at % 2 == 0 { b":" } else { b"" });
                    text.push(&[hex(byte >> 4), hex(byte & 15)]);
                }
            }
        }
        text
    }

    /// As a C string.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.length).zip(text) {
            *to = *from;
            self.length += 1;
        }
    }
}

fn hex(digit: u8) -> u8 {
    if digit < 10 {
        b'0' + digit
    } else {
        b'a' + digit - 10
    }
}

/// A list that libc's getaddrinfo made, or several of them in a row: freeaddrinfo(3) frees item by item.
pub struct AddressList {
    first: *mut libc::addrinfo,
    last: *mut libc::addrinfo,
}

impl Default for AddressList {
    fn default() -> Self {
        Self { first: null_mut(), last: null_mut() }
    }
}

impl AddressList {
    /// The list, the caller's to free; NULL when empty.
    pub fn head(&self) -> *mut libc::addrinfo {
        self.first
    }

    /// Adds another list at the end.
    ///
    /// # Safety
    /// `more` is NULL or a list of getaddrinfo that nobody else has.
    pub unsafe fn append(&mut self, more: *mut libc::addrinfo) {
        if more.is_null() {
            return;
        }
        if self.first.is_null() {
            self.first = more;
        } else {
            // SAFETY: the last item of the list that we have.
            unsafe { (*self.last).ai_next = more };
        }
        self.last = more;
        loop {
            // SAFETY: an item of a list of getaddrinfo.
            let next = unsafe { (*self.last).ai_next };
            if next.is_null() {
                return;
            }
            self.last = next;
        }
    }

    /// Gives the first item its canonical name.
    pub fn set_canonical(&mut self, name: &CStr) {
        if self.first.is_null() {
            return;
        }
        // SAFETY: a C string; the copy is of malloc, as freeaddrinfo frees it.
        let copy = unsafe { libcs::strdup(name.as_ptr()) };
        // SAFETY: the first item of a list that we have.
        unsafe { (*self.first).ai_canonname = copy };
    }
}

/// The hints to ask libc with for one numeric address: its own lookup and filters are over.
///
/// # Safety
/// `hints` is NULL or can be read.
pub unsafe fn numeric_hints(hints: *const libc::addrinfo) -> libc::addrinfo {
    // SAFETY: the caller's promise.
    let given = unsafe { hints.as_ref() };
    let dropped = libc::AI_CANONNAME | libc::AI_ADDRCONFIG;
    libc::addrinfo {
        ai_flags: given.map_or(libc::AI_V4MAPPED, |hints| hints.ai_flags & !dropped) | libc::AI_NUMERICHOST,
        ai_family: given.map_or(libc::AF_UNSPEC, |hints| hints.ai_family),
        ai_socktype: given.map_or(0, |hints| hints.ai_socktype),
        ai_protocol: given.map_or(0, |hints| hints.ai_protocol),
        ai_addrlen: 0,
        ai_addr: null_mut(),
        ai_canonname: null_mut(),
        ai_next: null_mut(),
    }
}

/// The family of an AF_ constant; None: neither of IP.
pub fn family_of(family: c_int) -> Option<Family> {
    match family {
        libc::AF_INET => Some(Family::V4),
        libc::AF_INET6 => Some(Family::V6),
        _ => None,
    }
}

/// Puts a host into a hostent and the buffer that its pointers lead to (gethostbyname_r(3)). False: too little room.
///
/// # Safety
/// `host` can be written; `buffer` has `length` bytes that can be written.
pub unsafe fn fill_hostent(
    host: *mut libc::hostent,
    buffer: *mut c_char,
    length: usize,
    name: &[u8],
    family: Family,
    addresses: impl Iterator<Item = [u8; 16]> + Clone,
) -> bool {
    // SAFETY: the caller's promise.
    let room = unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    let Some(layout) = lay_out(room, name, family, addresses) else { return false };
    let (kind, size) = match family {
        Family::V4 => (libc::AF_INET, 4),
        Family::V6 => (libc::AF_INET6, 16),
    };
    let filled = libc::hostent {
        h_name: buffer.wrapping_add(layout.name),
        h_aliases: buffer.wrapping_add(layout.aliases).cast(),
        h_addrtype: kind,
        h_length: size,
        h_addr_list: buffer.wrapping_add(layout.list).cast(),
    };
    // SAFETY: the caller's promise.
    unsafe { host.write(filled) };
    true
}

/// Offsets in the buffer of a hostent.
struct Layout {
    list: usize,
    aliases: usize,
    name: usize,
}

/// In the buffer, from its first aligned byte: pointers to the addresses, NULL (also the end of no aliases), the
/// addresses, the name.
fn lay_out(
    room: &mut [u8],
    name: &[u8],
    family: Family,
    addresses: impl Iterator<Item = [u8; 16]> + Clone,
) -> Option<Layout> {
    const POINTER: usize = size_of::<usize>();
    let base = room.as_ptr() as usize;
    let skip = match family {
        Family::V4 => 12,
        Family::V6 => 0,
    };
    let list = base.next_multiple_of(POINTER) - base;
    let count = addresses.clone().count();
    let aliases = list + count * POINTER;
    let mut data = aliases + POINTER;
    for (index, address) in addresses.enumerate() {
        let bytes = address.get(skip..)?;
        put(room, list + index * POINTER, &(base + data).to_ne_bytes())?;
        put(room, data, bytes)?;
        data += bytes.len();
    }
    put(room, aliases, &[0; POINTER])?;
    put(room, data, name)?;
    put(room, data + name.len(), b"\0")?;
    Some(Layout { list, aliases, name: data })
}

fn put(room: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    room.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}

/// The one result of gethostbyname(3), which every call overwrites.
pub struct StaticHost {
    host: UnsafeCell<libc::hostent>,
    buffer: UnsafeCell<[c_char; StaticHost::BYTES]>,
}

// SAFETY: gethostbyname is not to be used by two threads at once (MT-Unsafe race:hostbyname); only its callers touch it.
unsafe impl Sync for StaticHost {}

impl StaticHost {
    /// Room for 255 addresses and a name.
    pub const BYTES: usize = 8192;

    /// Returns the one of `known`, made at its first use. None: there is no memory.
    pub fn of(known: &Known<Self>) -> Option<&'static Self> {
        known.get().or_else(|| {
            let host = libc::hostent {
                h_name: null_mut(),
                h_aliases: null_mut(),
                h_addrtype: 0,
                h_length: 0,
                h_addr_list: null_mut(),
            };
            let made = Self { host: UnsafeCell::new(host), buffer: UnsafeCell::new([0; Self::BYTES]) };
            known.set(Arena::new(size_of::<Self>())?.one(made)?);
            known.get()
        })
    }

    /// Where the hostent and the buffer are.
    pub fn parts(&self) -> (*mut libc::hostent, *mut c_char) {
        (self.host.get(), self.buffer.get().cast())
    }
}

#[cfg(test)]
mod tests {
    use super::HostText;
    use inpod_rules::{Addr, Family};

    #[test]
    fn addresses_in_text_form_are_read_as_themselves() {
        for text in ["0.0.0.0", "10.9.100.255", "127.0.0.1", "fd00::1", "1234:5678:9abc:def0:1:2:3:4"] {
            let ip: std::net::IpAddr = text.parse().unwrap();
            let bytes = match ip {
                std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                std::net::IpAddr::V6(ip) => ip.octets(),
            };
            let host = HostText::new(&Addr { family: Family::V6, port: 0, ip: bytes });
            assert_eq!(host.as_c_str().to_str().unwrap().parse(), Ok(ip));
        }
    }
}
