//! Strings of C.

use core::ffi::{c_char, CStr};

/// Returns the string at `text`; None for NULL.
///
/// # Safety
/// `text` is NULL or a C string that lives and does not change for `'a`.
pub unsafe fn c_text<'a>(text: *const c_char) -> Option<&'a CStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) })
}

/// Returns the bytes up to the first NUL, as a C string; None when there is no NUL.
pub fn until_nul(bytes: &[u8]) -> Option<&CStr> {
    CStr::from_bytes_until_nul(bytes).ok()
}

/// Puts the parts behind each other, and a NUL behind the last. None: there is no room for them.
pub fn join<'r>(room: &'r mut [u8], parts: &[&[u8]]) -> Option<&'r CStr> {
    let mut left = room.iter_mut();
    for byte in parts.iter().copied().flatten().chain(&[0]) {
        *left.next()? = *byte;
    }
    until_nul(room)
}

/// Puts `bytes` and a NUL over the string at `to`, which must be at least as long.
///
/// # Safety
/// `to` is a C string of at least `bytes.len()` bytes that may be written; `bytes` may lie in it.
pub unsafe fn overwrite(to: *mut c_char, bytes: &[u8]) {
    // SAFETY: the caller's promise; `copy` allows overlap.
    unsafe { core::ptr::copy(bytes.as_ptr().cast(), to, bytes.len()) };
    // SAFETY: the old string's NUL was at or behind this place.
    let end = unsafe { to.add(bytes.len()) };
    // SAFETY: as above.
    unsafe { end.write(0) };
}

/// Copies as many of `bytes` as fit into `room` bytes at `to`; returns their number.
///
/// # Safety
/// `to` has `room` bytes that may be written.
pub unsafe fn copy_out(bytes: &[u8], to: *mut c_char, room: usize) -> usize {
    let length = bytes.len().min(room);
    // SAFETY: the caller's promise; `bytes` is memory of ours, so they do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), to, length) };
    length
}
