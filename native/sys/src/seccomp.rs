//! seccomp user notification (seccomp_unotify(2)): a filter hands system calls of a process to whoever has its listener.

use core::mem::{size_of, MaybeUninit};

use crate::call::{call, int, Errno};
use crate::files::OwnedFd;
use crate::poll::poll;

/// A step of a filter program (seccomp(2), linux/filter.h).
pub type Step = libc::sock_filter;

/// Linux 5.19: once a call has been received, only a fatal signal ends its wait. Without it, calls with effects would be
/// made twice after a signal.
const WAIT_KILLABLE_RECV: usize = 1 << 5;
const NEW_LISTENER: usize = 1 << 3;
const SET_MODE_FILTER: usize = 1;

const RECEIVE: usize = request(3, 0, size_of::<libc::seccomp_notif>());
const SEND: usize = request(3, 1, size_of::<libc::seccomp_notif_resp>());
const ID_VALID: usize = request(1, 2, size_of::<u64>());
const ADD_FD: usize = request(1, 3, size_of::<libc::seccomp_notif_addfd>());

const SET_FLAGS: usize = request(1, 4, size_of::<u64>());
const SYNC_WAKE_UP: usize = 1;

/// The added descriptor is the call's result, in one step (Linux 5.14).
const ADD_FD_SEND: u32 = 1 << 1;
const CONTINUE: u32 = 1;

/// ioctl numbers of the listener: type '!', as the kernel's _IOC puts them together.
const fn request(direction: usize, number: usize, size: usize) -> usize {
    direction << 30 | size << 16 | (b'!' as usize) << 8 | number
}

/// A call that a thread waits in.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// For the reply.
    pub id: u64,
    /// gettid(2) of the thread, as we see it.
    pub thread: u32,
    /// Of the call.
    pub number: i64,
    /// Of the call.
    pub arguments: [u64; 6],
}

/// Has this thread, and all that it starts, filtered. Returns the listener.
///
/// Errors: EBUSY when there is a listener already, EINVAL before Linux 5.19, EACCES without no_new_privs and CAP_SYS_ADMIN.
pub fn install(program: &[Step]) -> Result<OwnedFd, Errno> {
    let whole = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr() as *mut Step };
    let flags = NEW_LISTENER | WAIT_KILLABLE_RECV;
    let at = (&raw const whole) as usize;
    // SAFETY: the program and its description live until the call returns; the kernel copies them.
    let fd = unsafe { call(libc::SYS_seccomp, [SET_MODE_FILTER, flags, at, 0, 0, 0]) }?;
    Ok(OwnedFd::new(fd as i32))
}

/// prctl(2), PR_SET_NO_NEW_PRIVS: what a process without CAP_SYS_ADMIN needs before a filter.
pub fn give_up_new_rights() -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    unsafe { call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0, 0]) }.map(|_| ())
}

/// Tells the scheduler that the two ends take turns: on one processor they need no wake-up of another (Linux 6.6).
pub fn take_turns(listener: &OwnedFd) {
    // SAFETY: takes no pointers. Without it all works, only later.
    let _ = unsafe { call(libc::SYS_ioctl, [int(listener.raw()), SET_FLAGS, SYNC_WAKE_UP, 0, 0, 0]) };
}

/// Waits for the next call. Errors: ENOENT when the caller was killed meanwhile, EINTR.
pub fn receive(listener: i32) -> Result<Notification, Errno> {
    let mut found = MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY: zeroed room of that size, as the kernel demands.
    unsafe { call(libc::SYS_ioctl, [int(listener), RECEIVE, found.as_mut_ptr() as usize, 0, 0, 0]) }?;
    // SAFETY: all zeroes is valid, and so is what the kernel wrote.
    let found = unsafe { found.assume_init() };
    Ok(Notification { id: found.id, thread: found.pid, number: i64::from(found.data.nr), arguments: found.data.args })
}

/// Waits until a call is there, or nobody is filtered any more: false.
pub fn wait(listener: i32) -> bool {
    loop {
        match poll(listener, libc::POLLIN, None) {
            Ok(found) => return found & libc::POLLIN != 0,
            Err(Errno(libc::EINTR)) => {}
            Err(_) => return false,
        }
    }
}

/// Whether the thread still waits in this call, so that its number cannot mean another one.
pub fn is_waiting(listener: i32, id: u64) -> bool {
    // SAFETY: a number.
    unsafe { call(libc::SYS_ioctl, [int(listener), ID_VALID, (&raw const id) as usize, 0, 0, 0]) }.is_ok()
}

/// Has the call made by the kernel, as it is.
pub fn let_go_on(listener: i32, id: u64) {
    send(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags: CONTINUE });
}

/// Ends the call with a result.
pub fn answer(listener: i32, id: u64, result: Result<i64, Errno>) {
    let (val, error) = match result {
        Ok(value) => (value, 0),
        Err(Errno(number)) => (0, -number),
    };
    send(listener, libc::seccomp_notif_resp { id, val, error, flags: 0 });
}

/// Gives the thread's process a copy of a descriptor of ours, not inherited by programs; returns its number there.
pub fn give_fd(listener: i32, id: u64, fd: &OwnedFd) -> Result<i32, Errno> {
    let newfd_flags = libc::O_CLOEXEC as u32;
    add_fd(listener, &libc::seccomp_notif_addfd { id, flags: 0, srcfd: fd.raw() as u32, newfd: 0, newfd_flags })
}

/// Ends the call with a copy of a descriptor of ours. `flags`: 0 or O_CLOEXEC.
pub fn answer_with_fd(listener: i32, id: u64, fd: &OwnedFd, flags: u32) {
    let srcfd = fd.raw() as u32;
    let added = libc::seccomp_notif_addfd { id, flags: ADD_FD_SEND, srcfd, newfd: 0, newfd_flags: flags };
    match add_fd(listener, &added) {
        Ok(_) | Err(Errno(libc::ENOENT)) => {}
        Err(error) => answer(listener, id, Err(error)),
    }
}

fn add_fd(listener: i32, added: &libc::seccomp_notif_addfd) -> Result<i32, Errno> {
    let at = core::ptr::from_ref(added) as usize;
    // SAFETY: the structure of that request.
    unsafe { call(libc::SYS_ioctl, [int(listener), ADD_FD, at, 0, 0, 0]) }.map(|fd| fd as i32)
}

/// ENOENT: the thread was killed, nobody waits.
fn send(listener: i32, reply: libc::seccomp_notif_resp) {
    // SAFETY: the structure of that request.
    let _ = unsafe { call(libc::SYS_ioctl, [int(listener), SEND, (&raw const reply) as usize, 0, 0, 0]) };
}
