//! What the kernel says about files, as the bytes that it writes: to be handed on.

use core::ffi::CStr;

use crate::call::{call, int, Errno};

/// Bytes of the kernel's `struct stat`.
pub const STAT_BYTES: usize = size_of::<libc::stat>();

/// Bytes of `struct statx`.
pub const STATX_BYTES: usize = size_of::<libc::statx>();

/// Bytes of the kernel's `struct statfs`.
pub const STATFS_BYTES: usize = size_of::<libc::statfs>();

/// newfstatat(2).
pub fn status(dir: i32, path: &CStr, flags: i32, to: &mut [u8; STAT_BYTES]) -> Result<usize, Errno> {
    let to = to.as_mut_ptr() as usize;
    // SAFETY: a C string, and room of the structure's size.
    unsafe { call(libc::SYS_newfstatat, [int(dir), path.as_ptr() as usize, to, int(flags), 0, 0]) }
}

/// statx(2).
pub fn extended_status(
    dir: i32,
    path: &CStr,
    flags: i32,
    mask: u32,
    to: &mut [u8; STATX_BYTES],
) -> Result<usize, Errno> {
    let to = to.as_mut_ptr() as usize;
    // SAFETY: a C string, and room of the structure's size.
    unsafe { call(libc::SYS_statx, [int(dir), path.as_ptr() as usize, int(flags), mask as usize, to, 0]) }
}

/// statfs(2).
pub fn file_system(path: &CStr, to: &mut [u8; STATFS_BYTES]) -> Result<usize, Errno> {
    // SAFETY: a C string, and room of the structure's size.
    unsafe { call(libc::SYS_statfs, [path.as_ptr() as usize, to.as_mut_ptr() as usize, 0, 0, 0, 0]) }
}

/// faccessat2(2).
pub fn access(dir: i32, path: &CStr, mode: i32, flags: i32) -> Result<usize, Errno> {
    // SAFETY: a C string.
    unsafe { call(libc::SYS_faccessat2, [int(dir), path.as_ptr() as usize, int(mode), int(flags), 0, 0]) }
}

/// getxattr(2), or lgetxattr(2) when a link is not followed.
pub fn attribute(path: &CStr, name: &CStr, room: &mut [u8], is_followed: bool) -> Result<usize, Errno> {
    let number = if is_followed { libc::SYS_getxattr } else { libc::SYS_lgetxattr };
    let (path, name) = (path.as_ptr() as usize, name.as_ptr() as usize);
    // SAFETY: C strings, and room of the length given.
    unsafe { call(number, [path, name, room.as_mut_ptr() as usize, room.len(), 0, 0]) }
}

/// listxattr(2), or llistxattr(2) when a link is not followed.
pub fn attributes(path: &CStr, room: &mut [u8], is_followed: bool) -> Result<usize, Errno> {
    let number = if is_followed { libc::SYS_listxattr } else { libc::SYS_llistxattr };
    // SAFETY: a C string, and room of the length given.
    unsafe { call(number, [path.as_ptr() as usize, room.as_mut_ptr() as usize, room.len(), 0, 0, 0]) }
}

/// inotify_add_watch(2).
pub fn watch(fd: i32, path: &CStr, mask: u32) -> Result<usize, Errno> {
    // SAFETY: a C string.
    unsafe { call(libc::SYS_inotify_add_watch, [int(fd), path.as_ptr() as usize, mask as usize, 0, 0, 0]) }
}
