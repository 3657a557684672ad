//! Another process: its memory and its descriptors (process_vm_readv(2), pidfd_getfd(2)).
//!
//! Needs the rights of a debugger over it (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS).

use core::mem::MaybeUninit;
use core::time::Duration;

use crate::call::{call, int, Errno};
use crate::files::{self, OwnedFd, AT_CWD};
use crate::poll::poll;
use crate::proc::ProcPath;
use crate::process;

/// linux/pidfd.h.
const PIDFD_THREAD: i32 = libc::O_EXCL;

/// PIDFS_MAGIC of linux/magic.h.
const PIDFS: i64 = 0x5049_4446;

/// Reads memory of a thread's process; returns how many bytes there were before the first that cannot be read.
pub fn read_memory(thread: u32, address: u64, room: &mut [u8]) -> Result<usize, Errno> {
    let here = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    let there = libc::iovec { iov_base: address as *mut _, iov_len: room.len() };
    let (here, there) = ((&raw const here) as usize, (&raw const there) as usize);
    // SAFETY: room of that length; the other address is not ours, and checked by the kernel.
    unsafe { call(libc::SYS_process_vm_readv, [thread as usize, here, 1, there, 1, 0]) }
}

/// Writes memory of a thread's process, each part at its address, all of them or EFAULT.
pub fn write_memory<const N: usize>(thread: u32, parts: [(u64, &[u8]); N]) -> Result<(), Errno> {
    let here = parts.map(|(_, data)| libc::iovec { iov_base: data.as_ptr() as *mut _, iov_len: data.len() });
    let there = parts.map(|(address, data)| libc::iovec { iov_base: address as *mut _, iov_len: data.len() });
    let (here, there) = (here.as_ptr() as usize, there.as_ptr() as usize);
    // SAFETY: data of those lengths, only read; the other addresses are checked by the kernel.
    let done = unsafe { call(libc::SYS_process_vm_writev, [thread as usize, here, N, there, N, 0]) }?;
    if done == parts.iter().map(|(_, data)| data.len()).sum() {
        Ok(())
    } else {
        Err(Errno(libc::EFAULT))
    }
}

/// pidfd_open(2) of a thread's process.
pub fn open_thread(thread: u32) -> Result<OwnedFd, Errno> {
    match pidfd_open(thread, PIDFD_THREAD) {
        // Before Linux 6.9 only of the thread that leads its process.
        Err(Errno(libc::EINVAL)) => pidfd_open(leader_of(thread).ok_or(Errno(libc::ESRCH))?, 0),
        done => done,
    }
}

/// pidfd_open(2) of a process, by the thread that leads it; fails for others.
pub fn open_leader(thread: u32) -> Result<OwnedFd, Errno> {
    pidfd_open(thread, 0)
}

/// Whether the inode of a thread's pidfd tells it from all others (pidfs, Linux 6.9).
pub fn threads_have_inodes() -> bool {
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    let Ok(own) = open_leader(process::id()) else { return false };
    let to = found.as_mut_ptr() as usize;
    // SAFETY: room for the kernel's statfs, which libc's is on 64-bit machines.
    let done = unsafe { call(libc::SYS_fstatfs, [int(own.raw()), to, 0, 0, 0, 0]) };
    // SAFETY: all zeroes is a valid statfs, and so is what the kernel writes.
    done.is_ok() && unsafe { found.assume_init() }.f_type == PIDFS
}

/// The inode of a pidfd: see [`threads_have_inodes`]. ESRCH: its thread has ended, and its number may be another one's.
pub fn inode(thread: &OwnedFd) -> Result<u64, Errno> {
    if poll(thread.raw(), libc::POLLIN, Some(Duration::ZERO))? != 0 {
        return Err(Errno(libc::ESRCH));
    }
    files::look_at(thread.raw()).map(|found| found.inode)
}

/// Enough for the first lines of /proc/PID/status: name, umask, state, process.
const STATUS_BYTES: usize = 512;

fn pidfd_open(number: u32, flags: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes no pointers.
    let fd = unsafe { call(libc::SYS_pidfd_open, [number as usize, int(flags), 0, 0, 0, 0]) }?;
    Ok(OwnedFd::new(fd as i32))
}

/// Returns the thread that leads a thread's process.
pub fn leader_of(thread: u32) -> Option<u32> {
    let file = files::open(AT_CWD, ProcPath::of(Some(thread), "status").as_c_str(), libc::O_RDONLY).ok()?;
    let mut room = [0; STATUS_BYTES];
    let length = files::read_all(&file, &mut room);
    let mut lines = room.get(..length)?.split(|byte| *byte == b'\n');
    let number = lines.find_map(|line| line.strip_prefix(b"Tgid:\t"))?;
    core::str::from_utf8(number).ok()?.parse().ok()
}

/// pidfd_getfd(2): a copy of a descriptor of the process. ESRCH: the thread has ended.
pub fn copy_fd(process: &OwnedFd, fd: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes no pointers.
    let fd = unsafe { call(libc::SYS_pidfd_getfd, [int(process.raw()), int(fd), 0, 0, 0, 0]) }?;
    Ok(OwnedFd::new(fd as i32))
}
