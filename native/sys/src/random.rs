//! Numbers that cannot be guessed.

use crate::call::call;

/// Returns one. Where the kernel has none yet, 0.
pub fn number() -> u16 {
    let mut bytes = [0u8; 2];
    // SAFETY: room of the length given.
    let _ = unsafe { call(libc::SYS_getrandom, [bytes.as_mut_ptr() as usize, bytes.len(), 0, 0, 0, 0]) };
    u16::from_ne_bytes(bytes)
}
