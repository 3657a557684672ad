//! `sockets::accept` fails as accept4(2) does, though it asks before.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use inpod_sys::sockets::accept;
use inpod_sys::Errno;

fn error(socket: &impl AsRawFd, flags: i32) -> i32 {
    accept(socket.as_raw_fd(), flags).map_or_else(|Errno(number)| number, |_| 0)
}

#[test]
fn nothing_to_accept_is_eagain_of_a_listener_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(error(&listener, 0), libc::EAGAIN);
    assert_eq!(error(&listener, 1), libc::EINVAL);
    let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_, peer) = accept(listener.as_raw_fd(), libc::SOCK_NONBLOCK).ok().unwrap();
    assert_eq!(peer.addr().unwrap().port, caller.local_addr().unwrap().port());
    assert_eq!(error(&caller, 0), libc::EINVAL);
    assert_eq!(error(&UdpSocket::bind("127.0.0.1:0").unwrap(), 0), libc::EOPNOTSUPP);
    // SAFETY: takes no pointers.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    assert_eq!(error(&listener, 0), libc::EINVAL);
}
