//! Socket addresses of C.

use inpod_rules::{Addr, Family};

/// Bytes of the longest address that we look at (sockaddr_in6).
pub const SOCKADDR_BYTES: usize = 28;

const V4_BYTES: usize = 16;
/// Smallest sockaddr_in6 that the kernel takes: without the scope (SIN6_LEN_RFC2133).
const V6_BYTES: usize = 24;

/// An IP address as C has it.
pub struct SockAddr {
    bytes: [u8; SOCKADDR_BYTES],
    length: usize,
}

impl SockAddr {
    /// Encodes an address for a socket of its family.
    pub fn new(addr: &Addr) -> Self {
        let mut bytes = [0; SOCKADDR_BYTES];
        let port = addr.port.to_be_bytes();
        let zero = [0; 4];
        let [.., a, b, c, d] = addr.ip;
        let v4 = [a, b, c, d];
        let (family, rest, length): (_, &[&[u8]], _) = match addr.family {
            Family::V4 => (libc::AF_INET, &[&port, &v4], V4_BYTES),
            Family::V6 => (libc::AF_INET6, &[&port, &zero, &addr.ip], SOCKADDR_BYTES),
        };
        let family = (family as u16).to_ne_bytes();
        let from = family.iter().chain(rest.iter().flat_map(|part| part.iter()));
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        Self { bytes, length }
    }

    /// Takes an address as a program has it; cut to [`SOCKADDR_BYTES`].
    pub fn copied(from: &[u8]) -> Self {
        let mut copy = Self::room();
        for (to, from) in copy.bytes.iter_mut().zip(from) {
            *to = *from;
        }
        copy.length = from.len().min(SOCKADDR_BYTES);
        copy
    }

    /// Returns room for an address that a call writes, and its length.
    pub fn room() -> Self {
        Self { bytes: [0; SOCKADDR_BYTES], length: SOCKADDR_BYTES }
    }

    /// Where the bytes are.
    pub fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    /// Where a call may write up to [`SOCKADDR_BYTES`].
    pub fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        self.bytes.as_mut_ptr().cast()
    }

    /// For a call's length argument.
    pub fn length(&self) -> libc::socklen_t {
        self.length as libc::socklen_t
    }

    /// The bytes that there are.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Says how long the address is that a call wrote.
    pub fn set_length(&mut self, length: libc::socklen_t) {
        self.length = (length as usize).min(SOCKADDR_BYTES);
    }

    /// The address; None when it is not of IP.
    pub fn addr(&self) -> Option<Addr> {
        parse(self.bytes.get(..self.length)?)
    }
}

/// Reads an address as C has it. None: not of IP, or cut short.
pub fn parse(bytes: &[u8]) -> Option<Addr> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    if family == libc::AF_INET && bytes.len() >= V4_BYTES {
        let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
        return Some(Addr::v4(Family::V4, ip, port));
    }
    if family == libc::AF_INET6 && bytes.len() >= V6_BYTES {
        let ip = bytes.get(8..24)?.try_into().ok()?;
        return Some(Addr { family: Family::V6, port, ip });
    }
    None
}

/// Bytes of the address of a unix socket.
pub const UNIX_BYTES: usize = size_of::<libc::sockaddr_un>();

/// Reads the path of a unix socket's address. None: of another kind, without a name, or abstract (unix(7)).
pub fn unix_path(bytes: &[u8]) -> Option<&[u8]> {
    let (family, path) = bytes.split_first_chunk()?;
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    let is_unix = i32::from(u16::from_ne_bytes(*family)) == libc::AF_UNIX;
    path.get(..end).filter(|path| is_unix && !path.is_empty())
}

/// As [`unix_path`], of the address that a program passes to a call.
///
/// # Safety
/// `address` is NULL or has `length` readable bytes, which do not change for `'a`.
pub unsafe fn read_unix<'a>(address: *const libc::sockaddr, length: libc::socklen_t) -> Option<&'a [u8]> {
    if address.is_null() {
        return None;
    }
    // SAFETY: the caller's promise, for at most `length` bytes.
    unix_path(unsafe { core::slice::from_raw_parts(address.cast(), (length as usize).min(UNIX_BYTES)) })
}

/// Reads the address that a program passes to a call. None: not of IP, or none at all.
///
/// # Safety
/// `address` is NULL or has `length` readable bytes.
pub unsafe fn read(address: *const libc::sockaddr, length: libc::socklen_t) -> Option<Addr> {
    if address.is_null() || (length as usize) < V4_BYTES {
        return None;
    }
    let length = (length as usize).min(SOCKADDR_BYTES);
    // SAFETY: the caller's promise, for at most `length` bytes.
    parse(unsafe { core::slice::from_raw_parts(address.cast(), length) })
}

/// Gives a program an address as accept(2) does: cut to its room, `length` set to what there was.
///
/// # Safety
/// Both are NULL, or `length` can be read and written and `address` has `*length` bytes that can be written.
pub unsafe fn write(from: &SockAddr, address: *mut libc::sockaddr, length: *mut libc::socklen_t) {
    if address.is_null() || length.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let room = unsafe { length.read() } as usize;
    // SAFETY: the caller's promise, for at most `room` bytes; `from` is ours.
    unsafe { core::ptr::copy_nonoverlapping(from.bytes.as_ptr(), address.cast(), from.length.min(room)) };
    // SAFETY: the caller's promise.
    unsafe { length.write(from.length()) };
}
