//! Memory that is shared with the session.

use core::sync::atomic::AtomicU64;

use crate::call::{call, int};
use crate::files::{self, OwnedFd};

/// Maps the first `bytes` of a file for reading and writing, for the life of the process. None when that fails.
pub fn map_shared(file: &OwnedFd, bytes: usize) -> Option<&'static [AtomicU64]> {
    // Beyond the file's end a touch would be SIGBUS.
    if files::look_at(file.raw()).ok()?.size < bytes as u64 {
        return None;
    }
    let access = int(libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let address =
        unsafe { call(libc::SYS_mmap, [0, bytes, access, int(libc::MAP_SHARED), int(file.raw()), 0]) }.ok()?;
    // SAFETY: the mapping has `bytes` bytes, is page aligned, and is never undone; others write it, hence atomics.
    Some(unsafe { core::slice::from_raw_parts(address as *const AtomicU64, bytes / 8) })
}
