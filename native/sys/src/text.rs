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

/// Copies what is behind the last `mark` of a C string, and its NUL; all of it where there is none. What `room` has no
/// room for is left out, and then there is no NUL in it.
///
/// # Safety
/// `text` is a C string; `room` is all zeroes.
#[inline(always)]
pub unsafe fn copy_last(text: *const c_char, mark: u8, room: &mut [u8]) {
    let (mut at, mut length) = (text, 0);
    loop {
        // SAFETY: the string goes on until its NUL.
        let byte = unsafe { *at } as u8;
        if let Some(place) = room.get_mut(length) {
            *place = byte;
        }
        if byte == 0 {
            return;
        }
        length = if byte == mark { 0 } else { length + 1 };
        // SAFETY: that was not its NUL.
        at = unsafe { at.add(1) };
    }
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

#[cfg(test)]
mod tests {
    use super::{copy_last, until_nul};
    use core::ffi::CStr;

    fn kept(text: &CStr, mark: u8) -> Option<std::string::String> {
        let mut room = [0; 8];
        // SAFETY: a C string, and a room of zeroes.
        unsafe { copy_last(text.as_ptr(), mark, &mut room) };
        until_nul(&room).map(|kept| kept.to_string_lossy().into_owned())
    }

    #[test]
    fn the_last_part_is_kept_whole_or_not_at_all() {
        assert_eq!(kept(c"", b'/').as_deref(), Some(""));
        assert_eq!(kept(c"/usr/local/bin/sh", b'/').as_deref(), Some("sh"));
        assert_eq!(kept(c"/a/long-name/", b'/').as_deref(), Some(""));
        assert_eq!(kept(c"/bin/seven77", b'/').as_deref(), Some("seven77"));
        assert_eq!(kept(c"/bin/eight888", b'/'), None);
        assert_eq!(kept(c"a/b", 0).as_deref(), Some("a/b"));
    }
}
