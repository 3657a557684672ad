//! Sockets, by raw calls: facts about the program's, and the connection to the session.

use core::mem::{size_of, MaybeUninit};
use core::time::Duration;

use inpod_rules::Addr;

use crate::call::{call, int, Errno};
use crate::files::OwnedFd;
use crate::poll::poll;
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

/// Whether it is a TCP socket, of several paths (as Go's listeners are) or of one.
pub fn is_tcp(fd: i32) -> bool {
    let protocol = option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL);
    option(fd, libc::SOL_SOCKET, libc::SO_TYPE) == Some(libc::SOCK_STREAM as u64)
        && (protocol == Some(libc::IPPROTO_TCP as u64) || protocol == Some(libc::IPPROTO_MPTCP as u64))
}

/// Whether it is a unix socket that connects: of streams, or of messages in order.
pub fn is_unix_connection(fd: i32) -> bool {
    let kinds = [libc::SOCK_STREAM as u64, libc::SOCK_SEQPACKET as u64];
    option(fd, libc::SOL_SOCKET, libc::SO_TYPE).is_some_and(|kind| kinds.contains(&kind))
        && option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN) == Some(libc::AF_UNIX as u64)
}

/// Whether it is a UDP socket.
pub fn is_udp(fd: i32) -> bool {
    option(fd, libc::SOL_SOCKET, libc::SO_TYPE) == Some(libc::SOCK_DGRAM as u64)
        && option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) == Some(libc::IPPROTO_UDP as u64)
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
///
/// Inlined, as a frame of its own is one more on the program's stack, of which there may be little.
#[inline(always)]
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

/// What a socket is awaited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Something to receive or to accept.
    ToRead,
    /// Room to send, or the end of connecting.
    ToWrite,
}

/// Waits, not longer than `limit`, until a socket is ready or has failed.
pub fn is_ready(fd: i32, ready: Ready, limit: Duration) -> bool {
    let events = match ready {
        Ready::ToRead => libc::POLLIN,
        Ready::ToWrite => libc::POLLOUT,
    };
    poll(fd, events, Some(limit)).is_ok_and(|found| found != 0)
}

/// SO_RCVTIMEO or SO_SNDTIMEO; None: for ever.
pub fn time_limit(fd: i32, ready: Ready) -> Option<Duration> {
    let name = match ready {
        Ready::ToRead => libc::SO_RCVTIMEO,
        Ready::ToWrite => libc::SO_SNDTIMEO,
    };
    let mut limit = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut length = size_of::<libc::timeval>() as libc::socklen_t;
    let to = [(&raw mut limit) as usize, (&raw mut length) as usize];
    let [at, size] = to;
    // SAFETY: room of the length given, and the length itself.
    unsafe { call(libc::SYS_getsockopt, [int(fd), int(libc::SOL_SOCKET), int(name), at, size, 0]) }.ok()?;
    let limit = Duration::new(limit.tv_sec.try_into().ok()?, u32::try_from(limit.tv_usec).ok()? * 1000);
    (limit != Duration::ZERO).then_some(limit)
}

/// Whether calls on the socket wait (no O_NONBLOCK).
pub fn is_blocking(fd: i32) -> bool {
    flags(fd) & libc::O_NONBLOCK == 0
}

/// Sets or clears O_NONBLOCK, for all descriptors of the socket.
pub fn set_blocking(fd: i32, blocks: bool) {
    let before = flags(fd);
    let after = if blocks { before & !libc::O_NONBLOCK } else { before | libc::O_NONBLOCK };
    // SAFETY: takes no pointers.
    let _ = unsafe { call(libc::SYS_fcntl, [int(fd), int(libc::F_SETFL), int(after), 0, 0, 0]) };
}

fn flags(fd: i32) -> i32 {
    // SAFETY: takes no pointers.
    unsafe { call(libc::SYS_fcntl, [int(fd), int(libc::F_GETFL), 0, 0, 0, 0]) }.unwrap_or(0) as i32
}

/// connect(2).
pub fn connect(fd: i32, to: &Addr) -> Result<(), Errno> {
    let to = SockAddr::new(to);
    // SAFETY: an address of the length given.
    unsafe { call(libc::SYS_connect, [int(fd), to.as_ptr() as usize, to.length() as usize, 0, 0, 0]) }.map(|_| ())
}

/// listen(2).
pub fn listen(fd: i32, backlog: i32) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    unsafe { call(libc::SYS_listen, [int(fd), int(backlog), 0, 0, 0, 0]) }.map(|_| ())
}

/// accept4(2): returns the connection, which is not inherited by programs, and its peer.
///
/// EAGAIN where there is none to accept, also of sockets that block. The kernel finds that out last of all, after it has
/// made a socket and a file: to ask first is quicker.
pub fn accept(fd: i32, flags: i32) -> Result<(OwnedFd, SockAddr), Errno> {
    let are_known = flags & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) == 0;
    if are_known && !is_ready(fd, Ready::ToRead, Duration::ZERO) && is_listening(fd) {
        return Err(Errno(libc::EAGAIN));
    }
    let mut peer = SockAddr::room();
    let mut length = peer.length();
    let to = [peer.as_mut_ptr() as usize, (&raw mut length) as usize];
    let [at, size] = to;
    // SAFETY: room of the length given, and the length itself.
    let found = unsafe { call(libc::SYS_accept4, [int(fd), at, size, int(flags | libc::SOCK_CLOEXEC), 0, 0]) }?;
    peer.set_length(length);
    Ok((OwnedFd::new(found as i32), peer))
}

fn is_listening(fd: i32) -> bool {
    option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Some(1)
}

/// getsockname(2), or getpeername(2).
pub fn name_of(fd: i32, of_peer: bool) -> Result<SockAddr, Errno> {
    let number = if of_peer { libc::SYS_getpeername } else { libc::SYS_getsockname };
    let mut found = SockAddr::room();
    let mut length = found.length();
    let to = [found.as_mut_ptr() as usize, (&raw mut length) as usize];
    let [at, size] = to;
    // SAFETY: room of the length given, and the length itself.
    unsafe { call(number, [int(fd), at, size, 0, 0, 0]) }?;
    found.set_length(length);
    Ok(found)
}

/// write(2) of a datagram whole.
pub fn write(fd: i32, data: &[u8]) -> Result<(), Errno> {
    // SAFETY: data of the length given.
    unsafe { call(libc::SYS_write, [int(fd), data.as_ptr() as usize, data.len(), 0, 0, 0]) }.map(|_| ())
}

/// read(2) of a datagram, cut to `room`.
pub fn read(fd: i32, room: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: room of the length given.
        match unsafe { call(libc::SYS_read, [int(fd), room.as_mut_ptr() as usize, room.len(), 0, 0, 0]) } {
            Err(Errno(libc::EINTR)) => {}
            done => return done,
        }
    }
}
