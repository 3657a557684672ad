//! Sockets, by raw calls: facts about the program's, and the connection to the session.

use core::mem::{size_of, MaybeUninit};

use inpod_rules::Addr;

use crate::call::{call, int, Errno};
use crate::files::OwnedFd;
use crate::sockaddr::SockAddr;

/// TCP_CLOSE of linux/tcp_states.h: not connecting, not connected.
const TCP_CLOSE: u8 = 7;

/// Lowest number of our own descriptors, so that the program finds the small ones free, as it may expect.
const OWN_FDS_FROM: i32 = 1000;

/// Reads an option of at most 8 bytes, as a little-endian number (both machines are).
fn option(fd: i32, level: i32, name: i32) -> Option<u64> {
    let mut value = [0u8; 8];
    let mut length: libc::socklen_t = 8;
    let to = [value.as_mut_ptr() as usize, (&raw mut length) as usize];
    let [at, size] = to;
    // SAFETY: room of the length given, and the length itself.
    unsafe { call(libc::SYS_getsockopt, [int(fd), int(level), int(name), at, size, 0]) }.ok()?;
    Some(u64::from_le_bytes(value))
}

/// SO_COOKIE: the same number for all descriptors of a socket, in all processes, and never used again.
pub fn cookie(fd: i32) -> Option<u64> {
    option(fd, libc::SOL_SOCKET, libc::SO_COOKIE)
}

/// Whether it is a TCP socket.
pub fn is_tcp(fd: i32) -> bool {
    option(fd, libc::SOL_SOCKET, libc::SO_TYPE) == Some(libc::SOCK_STREAM as u64)
        && option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP as u64)
}

/// Whether an IPv6 socket takes no IPv4.
pub fn is_v6_only(fd: i32) -> bool {
    option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) == Some(1)
}

/// SO_REUSEPORT.
pub fn reuses_port(fd: i32) -> bool {
    option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT) == Some(1)
}

/// Whether a TCP socket neither connects nor is connected.
pub fn is_unconnected(fd: i32) -> bool {
    option(fd, libc::IPPROTO_TCP, libc::TCP_INFO).is_some_and(|info| info as u8 == TCP_CLOSE)
}

/// SO_ERROR; reading clears it.
pub fn take_error(fd: i32) -> i32 {
    option(fd, libc::SOL_SOCKET, libc::SO_ERROR).unwrap_or(0) as i32
}

/// bind(2).
pub fn bind(fd: i32, to: &Addr) -> Result<(), Errno> {
    let to = SockAddr::new(to);
    // SAFETY: an address of the length given.
    unsafe { call(libc::SYS_bind, [int(fd), to.as_ptr() as usize, to.length() as usize, 0, 0, 0]) }?;
    Ok(())
}

/// getsockname(2). None: not of IP.
pub fn local_address(fd: i32) -> Option<Addr> {
    let mut found = SockAddr::room();
    let mut length = found.length();
    let to = [found.as_mut_ptr() as usize, (&raw mut length) as usize];
    let [at, size] = to;
    // SAFETY: room of the length given, and the length itself.
    unsafe { call(libc::SYS_getsockname, [int(fd), at, size, 0, 0, 0]) }.ok()?;
    found.set_length(length);
    found.addr()
}

/// Connects to a unix socket that keeps datagrams apart (SOCK_SEQPACKET).
pub fn connect_to_session(path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] };
    if path.len() >= address.sun_path.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(path) {
        *to = *from as libc::c_char;
    }
    let kind = int(libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC);
    // SAFETY: takes no pointers.
    let low = unsafe { call(libc::SYS_socket, [int(libc::AF_UNIX), kind, 0, 0, 0, 0]) }?;
    let low = OwnedFd::new(low as i32);
    let fd = moved_up(low);
    loop {
        let at = (&raw const address) as usize;
        // SAFETY: an address of the length given.
        let done = unsafe { call(libc::SYS_connect, [int(fd.raw()), at, size_of::<libc::sockaddr_un>(), 0, 0, 0]) };
        match done {
            Ok(_) => return Ok(fd),
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Returns the same file under a number that no program counts on; under its own where the limit is too low for that.
fn moved_up(low: OwnedFd) -> OwnedFd {
    let command = int(libc::F_DUPFD_CLOEXEC);
    // SAFETY: takes no pointers.
    let high = unsafe { call(libc::SYS_fcntl, [int(low.raw()), command, int(OWN_FDS_FROM), 0, 0, 0]) };
    high.map_or(low, |fd| OwnedFd::new(fd as i32))
}

/// A control message with one descriptor (cmsg(3)), aligned as the kernel wants it.
#[repr(C, align(8))]
struct Passed {
    header: libc::cmsghdr,
    fd: i32,
}

/// Sends a datagram whole, with a descriptor beside it. No SIGPIPE.
pub fn send(fd: i32, data: &[u8], passed: Option<i32>) -> Result<(), Errno> {
    let mut part = libc::iovec { iov_base: data.as_ptr() as *mut _, iov_len: data.len() };
    let mut control = Passed {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<i32>(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        fd: passed.unwrap_or(-1),
    };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if passed.is_some() {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Passed>();
    }
    loop {
        let arguments = [int(fd), (&raw const message) as usize, int(libc::MSG_NOSIGNAL), 0, 0, 0];
        // SAFETY: the message and all it points to live until the call returns.
        match unsafe { call(libc::SYS_sendmsg, arguments) } {
            Ok(_) => return Ok(()),
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives a datagram, cut to `room`; empty when the other end is gone.
pub fn receive(fd: i32, room: &mut [u8]) -> Result<&[u8], Errno> {
    loop {
        // SAFETY: room of the length given.
        let done = unsafe { call(libc::SYS_recvfrom, [int(fd), room.as_mut_ptr() as usize, room.len(), 0, 0, 0]) };
        match done {
            Ok(length) => return Ok(room.get(..length).unwrap_or_default()),
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}
