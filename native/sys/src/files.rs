//! Files and directories, by raw calls.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use crate::call::{call, int, Errno};

/// The working directory, as a directory descriptor.
pub const AT_CWD: i32 = libc::AT_FDCWD;

/// A descriptor of ours, closed with its owner.
#[derive(Debug)]
pub struct OwnedFd(i32);

impl OwnedFd {
    /// Takes a descriptor over.
    pub fn new(fd: i32) -> Self {
        Self(fd)
    }

    /// Its number; still ours.
    pub fn raw(&self) -> i32 {
        self.0
    }

    /// Its number; the caller's from here on.
    pub fn release(self) -> i32 {
        let fd = self.0;
        core::mem::forget(self);
        fd
    }
}

impl Drop for OwnedFd {
    fn drop(&mut self) {
        close(self.0);
    }
}

/// What fstat(2) says, as far as we look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// In its file system.
    pub inode: u64,
    /// Type and permissions.
    pub mode: u32,
    /// In bytes.
    pub size: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds and nanoseconds of the last access.
    pub accessed: (i64, i64),
}

impl Facts {
    /// A directory.
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// A symbolic link.
    pub fn is_link(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }
}

/// Closes a descriptor.
pub fn close(fd: i32) {
    // SAFETY: takes no pointers.
    let _ = unsafe { call(libc::SYS_close, [int(fd), 0, 0, 0, 0, 0]) };
}

/// Opens a file; the descriptor is not inherited by programs.
pub fn open(dir: i32, path: &CStr, flags: i32) -> Result<OwnedFd, Errno> {
    let flags = int(flags | libc::O_CLOEXEC);
    // SAFETY: a C string.
    let fd = unsafe { call(libc::SYS_openat, [int(dir), path.as_ptr() as usize, flags, 0, 0, 0]) }?;
    Ok(OwnedFd(fd as i32))
}

/// Opens a file, with permissions for a new one; the descriptor is not inherited by programs.
pub fn open_with_mode(dir: i32, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = int(flags | libc::O_CLOEXEC);
    // SAFETY: a C string.
    let fd = unsafe { call(libc::SYS_openat, [int(dir), path.as_ptr() as usize, flags, mode as usize, 0, 0]) }?;
    Ok(OwnedFd::new(fd as i32))
}

/// fstat(2).
pub fn look_at(fd: i32) -> Result<Facts, Errno> {
    look(fd, c"", libc::AT_EMPTY_PATH)
}

/// fstatat(2).
pub fn look(dir: i32, path: &CStr, flags: i32) -> Result<Facts, Errno> {
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    let to = found.as_mut_ptr() as usize;
    // SAFETY: a C string, and room for the kernel's stat, which libc's is on 64-bit machines.
    unsafe { call(libc::SYS_newfstatat, [int(dir), path.as_ptr() as usize, to, int(flags), 0, 0]) }?;
    // SAFETY: all zeroes is a valid stat, and so is what the kernel writes.
    let found = unsafe { found.assume_init() };
    Ok(Facts {
        inode: found.st_ino,
        mode: found.st_mode,
        size: found.st_size as u64,
        uid: found.st_uid,
        gid: found.st_gid,
        accessed: (found.st_atime, found.st_atime_nsec),
    })
}

/// Whether this process may execute a file.
pub fn is_executable(dir: i32, path: &CStr) -> bool {
    // SAFETY: a C string.
    let done = unsafe { call(libc::SYS_faccessat, [int(dir), path.as_ptr() as usize, int(libc::X_OK), 0, 0, 0]) };
    done.is_ok() && look(dir, path, 0).is_ok_and(|found| found.is_file())
}

/// readlinkat(2): returns the text, in `room`.
pub fn read_link<'r>(dir: i32, path: &CStr, room: &'r mut [u8]) -> Result<&'r [u8], Errno> {
    let to = room.as_mut_ptr() as usize;
    // SAFETY: a C string, and room of the length given.
    let length = unsafe { call(libc::SYS_readlinkat, [int(dir), path.as_ptr() as usize, to, room.len(), 0, 0]) }?;
    Ok(room.get(..length).unwrap_or_default())
}

/// getcwd(2): returns the path, in `room`.
pub fn current_dir(room: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: room of the length given.
    let length = unsafe { call(libc::SYS_getcwd, [room.as_mut_ptr() as usize, room.len(), 0, 0, 0, 0]) }?;
    Ok(room.get(..length.saturating_sub(1)).unwrap_or_default())
}

/// pread(2): returns how many bytes there were, 0 also for an error.
pub fn read_at(file: &OwnedFd, offset: u64, room: &mut [u8]) -> usize {
    let to = room.as_mut_ptr() as usize;
    // SAFETY: room of the length given.
    unsafe { call(libc::SYS_pread64, [int(file.raw()), to, room.len(), offset as usize, 0, 0]) }.unwrap_or(0)
}

/// Reads a file from its beginning into `room`; returns how many bytes there were.
pub fn read_all(file: &OwnedFd, room: &mut [u8]) -> usize {
    let mut at = 0;
    while let Some(rest) = room.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match read_at(file, at as u64, rest) {
            0 => break,
            length => at += length,
        }
    }
    at
}
