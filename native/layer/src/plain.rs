//! Functions of libc that hooks call, and that are not hooked.

use core::ffi::{c_int, c_void};

use inpod_ops::guard::fail;
use libc::{dirent, glob_t, DIR};

inpod_sys::of_next! {
    /// # Safety
    /// As fdopendir(3).
    fn fdopendir(fd: c_int) -> *mut DIR, or fail(libc::ENOSYS);
    /// # Safety
    /// As readdir(3).
    fn readdir(stream: *mut DIR) -> *mut dirent, or fail(libc::ENOSYS);
    /// # Safety
    /// As closedir(3).
    fn closedir(stream: *mut DIR) -> c_int, or fail(libc::ENOSYS);
    /// # Safety
    /// As fchdir(2).
    fn fchdir(fd: c_int) -> c_int, or fail(libc::ENOSYS);
    /// # Safety
    /// As malloc(3).
    fn malloc(size: usize) -> *mut c_void, or fail(libc::ENOSYS);
    /// # Safety
    /// As globfree(3).
    fn globfree(found: *mut glob_t) -> (), or Default::default();
}
