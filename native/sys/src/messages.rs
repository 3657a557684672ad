//! Datagrams with their addresses and control data (sendmsg(2), recvmsg(2)).

use core::mem::MaybeUninit;

use crate::call::{call, int, Errno};
use crate::sockaddr::SockAddr;

/// What came with a datagram.
pub struct Received {
    /// Of its part that fitted; of the whole datagram with MSG_TRUNC.
    pub length: usize,
    /// Its sender.
    pub sender: SockAddr,
    /// Of the control data.
    pub control_length: usize,
    /// MSG_TRUNC, MSG_CTRUNC, MSG_ERRQUEUE.
    pub flags: i32,
}

/// recvmsg(2) without waiting; EAGAIN when there is nothing.
pub fn receive_now(fd: i32, room: &mut [u8], control: &mut [u8], flags: i32) -> Result<Received, Errno> {
    let mut sender = SockAddr::room();
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = sender.as_mut_ptr().cast();
    message.msg_namelen = sender.length();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control.len();
    }
    let arguments = [int(fd), (&raw mut message) as usize, int(flags | libc::MSG_DONTWAIT), 0, 0, 0];
    // SAFETY: the message and all it points to live until the call returns.
    let length = unsafe { call(libc::SYS_recvmsg, arguments) }?;
    sender.set_length(message.msg_namelen);
    Ok(Received { length, sender, control_length: message.msg_controllen, flags: message.msg_flags })
}

/// sendmsg(2) of a datagram, with control data as the program made it.
pub fn send_datagram(fd: i32, data: &[u8], control: &mut [u8], flags: i32, to: &SockAddr) -> Result<usize, Errno> {
    let mut part = libc::iovec { iov_base: data.as_ptr() as *mut _, iov_len: data.len() };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = to.as_ptr() as *mut _;
    message.msg_namelen = to.length();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control.len();
    }
    let arguments = [int(fd), (&raw const message) as usize, int(flags | libc::MSG_NOSIGNAL), 0, 0, 0];
    // SAFETY: the message and all it points to live until the call returns.
    unsafe { call(libc::SYS_sendmsg, arguments) }
}
