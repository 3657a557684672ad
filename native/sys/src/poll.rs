//! Waiting for a descriptor.

use core::time::Duration;

use crate::call::{call, Errno};

/// ppoll(2) of one descriptor: returns what there is of `events` and of errors; 0 after `limit`. None: no limit.
pub(crate) fn poll(fd: i32, events: i16, limit: Option<Duration>) -> Result<i16, Errno> {
    let mut one = libc::pollfd { fd, events, revents: 0 };
    let limit = limit
        .map(|limit| libc::timespec { tv_sec: limit.as_secs() as libc::time_t, tv_nsec: limit.subsec_nanos().into() });
    let limit = limit.as_ref().map_or(0, |limit| core::ptr::from_ref(limit) as usize);
    // SAFETY: one pollfd, and NULL or a time.
    unsafe { call(libc::SYS_ppoll, [(&raw mut one) as usize, 1, limit, 0, 0, 0]) }?;
    Ok(one.revents)
}
