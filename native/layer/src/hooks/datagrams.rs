//! UDP with addresses in the call.

use core::ffi::{c_int, c_uint, c_void};

use inpod_ops::datagrams;
use inpod_ops::guard::{fail, guarded};
use inpod_sys::sockaddr::{read, write, SockAddr};
use inpod_sys::Errno;
use libc::{mmsghdr, msghdr, sockaddr, socklen_t, timespec};

use crate::start;
use crate::table::original;

/// # Safety
/// As sendto(2).
pub unsafe fn sendto(
    fd: c_int,
    data: *mut c_void,
    size: usize,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> isize {
    // SAFETY: sendto(2): an address of that length, or none.
    match unsafe { sent_to(fd, address, length) } {
        Some(Err(Errno(number))) => fail(number),
        // SAFETY: the program's own call, but for the address.
        Some(Ok(to)) => unsafe { original::sendto(fd, data, size, flags, to.as_ptr(), to.length()) },
        // SAFETY: the program's own call.
        None => unsafe { original::sendto(fd, data, size, flags, address, length) },
    }
}

/// # Safety
/// As sendmsg(2).
pub unsafe fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize {
    // SAFETY: sendmsg(2): a message, or NULL, which is libc's to refuse.
    let Some(mut readdressed) = (unsafe { message.as_ref() }).copied() else {
        // SAFETY: the program's own call.
        return unsafe { original::sendmsg(fd, message, flags) };
    };
    // SAFETY: sendmsg(2): an address of that length, or none.
    match unsafe { sent_to(fd, readdressed.msg_name.cast(), readdressed.msg_namelen) } {
        Some(Err(Errno(number))) => fail(number),
        Some(Ok(mut to)) => {
            readdressed.msg_name = to.as_mut_ptr().cast();
            readdressed.msg_namelen = to.length();
            // SAFETY: the program's own message, but for the address.
            unsafe { original::sendmsg(fd, &raw const readdressed, flags) }
        }
        // SAFETY: the program's own call.
        None => unsafe { original::sendmsg(fd, message, flags) },
    }
}

/// Messages with addresses go one by one.
///
/// # Safety
/// As sendmmsg(2).
pub unsafe fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
    // SAFETY: sendmmsg(2): an array of that length.
    let first = if count == 0 { None } else { unsafe { messages.as_ref() } };
    if start::state().is_none() || first.is_none_or(|first| first.msg_hdr.msg_name.is_null()) {
        // SAFETY: the program's own call.
        return unsafe { original::sendmmsg(fd, messages, count, flags) };
    }
    for index in 0..count {
        // SAFETY: sendmmsg(2): an array of that length.
        let at = unsafe { messages.add(index as usize) };
        // SAFETY: as above.
        let header = unsafe { &raw const (*at).msg_hdr };
        // SAFETY: one of the program's messages.
        let sent = unsafe { sendmsg(fd, header, flags) };
        if sent < 0 {
            return if index == 0 { -1 } else { index as c_int };
        }
        // SAFETY: as above.
        unsafe { (*at).msg_len = sent as c_uint };
    }
    count as c_int
}

/// # Safety
/// As recvfrom(2).
pub unsafe fn recvfrom(
    fd: c_int,
    to: *mut c_void,
    size: usize,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> isize {
    // SAFETY: the program's own arguments, or room of ours.
    let call = |address, length| unsafe { original::recvfrom(fd, to, size, flags, address, length) };
    // SAFETY: recvfrom(2): room of that length, or none.
    unsafe { received(fd, address, length, call) }
}

/// # Safety
/// As recvfrom(2), `room` being the size of `to` as the compiler knows it.
pub unsafe fn recvfrom_chk(
    fd: c_int,
    to: *mut c_void,
    size: usize,
    room: usize,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> isize {
    // SAFETY: the program's own arguments, or room of ours.
    let call = |address, length| unsafe { original::__recvfrom_chk(fd, to, size, room, flags, address, length) };
    // SAFETY: recvfrom(2): room of that length, or none.
    unsafe { received(fd, address, length, call) }
}

/// # Safety
/// As recvmsg(2).
pub unsafe fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize {
    // SAFETY: recvmsg(2): a message, or NULL, which is libc's to refuse.
    let room = unsafe { message.as_ref() }.filter(|message| !message.msg_name.is_null());
    let room = room.map_or(0, |message| message.msg_namelen);
    // SAFETY: the program's own call.
    let done = unsafe { original::recvmsg(fd, message, flags) };
    if done < 0 || room == 0 {
        return done;
    }
    // SAFETY: recvmsg(2): a message, of which nobody else has a reference.
    if let Some(message) = unsafe { message.as_mut() } {
        let mut length = message.msg_namelen;
        // SAFETY: room of that length, of which libc wrote what it says.
        unsafe { tell_sender(fd, message.msg_name.cast(), &raw mut length, room) };
        message.msg_namelen = length;
    }
    done
}

/// # Safety
/// As recvmmsg(2).
pub unsafe fn recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, limit: *mut timespec) -> c_int {
    // The kernel takes so many at most (UIO_MAXIOV).
    let mut rooms = [0; 1024];
    let is_ours = guarded(|| datagrams::is_known(start::state()?, fd)).is_some() && !messages.is_null();
    if is_ours {
        for (index, room) in rooms.iter_mut().enumerate().take(count as usize) {
            // SAFETY: recvmmsg(2): an array of that length.
            let at = unsafe { messages.add(index) };
            // SAFETY: as above.
            *room = unsafe { (*at).msg_hdr.msg_namelen };
        }
    }
    // SAFETY: the program's own call.
    let done = unsafe { original::recvmmsg(fd, messages, count, flags, limit) };
    if is_ours {
        for (index, room) in rooms.iter().enumerate().take(done.max(0) as usize) {
            // SAFETY: as above.
            let at = unsafe { messages.add(index) };
            // SAFETY: as above; nobody else has a reference.
            let message = unsafe { &mut (*at).msg_hdr };
            // SAFETY: room of that length, of which libc wrote what it says.
            unsafe { tell_sender(fd, message.msg_name.cast(), &raw mut message.msg_namelen, *room) };
        }
    }
    done
}

/// # Safety
/// As recvfrom(2).
unsafe fn received(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    call: impl Fn(*mut sockaddr, *mut socklen_t) -> isize,
) -> isize {
    if address.is_null() || length.is_null() {
        return call(address, length);
    }
    // SAFETY: the caller's promise.
    let room = unsafe { length.read() };
    let done = call(address, length);
    if done >= 0 {
        // SAFETY: room of that length, of which libc wrote what it says.
        unsafe { tell_sender(fd, address, length, room) };
    }
    done
}

/// Puts the pod's sender over the real one.
///
/// # Safety
/// `address` has `room` bytes that may be written, and `*length` says how long the address is that libc had for them.
unsafe fn tell_sender(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, room: socklen_t) {
    // SAFETY: the caller's promise.
    let size = unsafe { length.read() };
    // SAFETY: the caller's promise.
    let real = unsafe { read(address, size.min(room)) };
    if let Some(sender) = guarded(|| datagrams::sender(start::state()?, fd, &real?)) {
        // SAFETY: the caller's promise.
        unsafe { length.write(room) };
        // SAFETY: the caller's promise.
        unsafe { write(&SockAddr::new(&sender), address, length) };
    }
}

/// # Safety
/// `address` is NULL or has `length` bytes.
unsafe fn sent_to(fd: c_int, address: *const sockaddr, length: socklen_t) -> Option<Result<SockAddr, Errno>> {
    // SAFETY: the caller's promise.
    let wanted = unsafe { read(address, length) }?;
    guarded(|| datagrams::send_to(start::state()?, fd, &wanted)).map(|to| to.map(|to| SockAddr::new(&to)))
}
