//! Files: what `inpod_ops` says is the pod's is looked up or opened here, in the replica, and handed over.
//!
//! It is done with the rights and the umask of the session, which are those the program was started with.

use core::ffi::CStr;
use std::cell::RefCell;

use inpod_ops::files::{self as ops, Call as Make};
use inpod_ops::place::pod_path_of;
use inpod_rules::paths::PATH_MAX;
use inpod_sys::files::{self, OwnedFd, AT_CWD};
use inpod_sys::text::until_nul;
use inpod_sys::{errno, status, Errno};
use inpod_wire::Want;

use crate::call::{Call, Outcome, PathRoom};

/// Longest value of an extended attribute (xattr(7)).
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// `struct open_how` of openat2(2), as far as we know it.
const HOW_BYTES: usize = 24;

#[cfg(target_arch = "x86_64")]
pub fn open(call: &Call<'_>) -> Outcome {
    opened(call, AT_CWD, 0, call.int(1), call.int(2) as u32)
}

#[cfg(target_arch = "x86_64")]
pub fn creat(call: &Call<'_>) -> Outcome {
    opened(call, AT_CWD, 0, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, call.int(1) as u32)
}

pub fn openat(call: &Call<'_>) -> Outcome {
    opened(call, call.int(0), 1, call.int(2), call.int(3) as u32)
}

pub fn openat2(call: &Call<'_>) -> Outcome {
    let mut how = [0; HOW_BYTES];
    if call.argument(3) < HOW_BYTES as u64 || !call.read(call.argument(2), &mut how) {
        return Outcome::GoOn;
    }
    let word = |at| how.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    opened(call, call.int(0), 1, word(0) as i32, word(8) as u32)
}

fn opened(call: &Call<'_>, dir: i32, path: usize, flags: i32, mode: u32) -> Outcome {
    let mut room = [0; PATH_MAX];
    let Some(path) = call.path(path, &mut room) else { return Outcome::GoOn };
    // A descriptor that only names its file cannot be handed over (seccomp_unotify(2)): an open one can do all it could.
    let ours = flags & !libc::O_PATH | libc::O_NOCTTY;
    let make: Make<'_, i32> = &|dir, path| match files::open_with_mode(dir, path, ours, mode) {
        Ok(fd) => fd.release(),
        Err(error) => failed(error),
    };
    match ops::open(&call.caller(), dir, path, flags & !libc::O_PATH, make) {
        None => Outcome::GoOn,
        Some(-1) => Outcome::Done(Err(Errno(errno::get()))),
        Some(fd) => Outcome::Fd(OwnedFd::new(fd), (flags & libc::O_CLOEXEC) as u32),
    }
}

#[cfg(target_arch = "x86_64")]
pub fn stat(call: &Call<'_>) -> Outcome {
    stat_of(call, AT_CWD, 0, 1, 0)
}

#[cfg(target_arch = "x86_64")]
pub fn lstat(call: &Call<'_>) -> Outcome {
    stat_of(call, AT_CWD, 0, 1, libc::AT_SYMLINK_NOFOLLOW)
}

pub fn newfstatat(call: &Call<'_>) -> Outcome {
    stat_of(call, call.int(0), 1, 2, call.int(3))
}

fn stat_of(call: &Call<'_>, dir: i32, path: usize, to: usize, flags: i32) -> Outcome {
    let found = RefCell::new([0; status::STAT_BYTES]);
    let make = |dir, path: &CStr| status::status(dir, path, flags, &mut found.borrow_mut());
    told(call, dir, path, followed(flags), make, |_| call.write(call.argument(to), &*found.borrow()).map(|()| 0))
}

pub fn statx(call: &Call<'_>) -> Outcome {
    let (flags, mask) = (call.int(2), call.int(3) as u32);
    let found = RefCell::new([0; status::STATX_BYTES]);
    let make = |dir, path: &CStr| status::extended_status(dir, path, flags, mask, &mut found.borrow_mut());
    let tell = |_| call.write(call.argument(4), &*found.borrow()).map(|()| 0);
    told(call, call.int(0), 1, followed(flags), make, tell)
}

pub fn statfs(call: &Call<'_>) -> Outcome {
    let found = RefCell::new([0; status::STATFS_BYTES]);
    let make = |_, path: &CStr| status::file_system(path, &mut found.borrow_mut());
    told(call, AT_CWD, 0, Want::Stat, make, |_| call.write(call.argument(1), &*found.borrow()).map(|()| 0))
}

#[cfg(target_arch = "x86_64")]
pub fn access(call: &Call<'_>) -> Outcome {
    accessible(call, AT_CWD, 0, call.int(1), 0)
}

pub fn faccessat(call: &Call<'_>) -> Outcome {
    accessible(call, call.int(0), 1, call.int(2), 0)
}

pub fn faccessat2(call: &Call<'_>) -> Outcome {
    accessible(call, call.int(0), 1, call.int(2), call.int(3))
}

fn accessible(call: &Call<'_>, dir: i32, path: usize, mode: i32, flags: i32) -> Outcome {
    told(call, dir, path, followed(flags), |dir, path| status::access(dir, path, mode, flags), Ok)
}

#[cfg(target_arch = "x86_64")]
pub fn readlink(call: &Call<'_>) -> Outcome {
    link(call, AT_CWD, 0)
}

pub fn readlinkat(call: &Call<'_>) -> Outcome {
    link(call, call.int(0), 1)
}

/// The path's index is followed by those of the program's room and its size.
fn link(call: &Call<'_>, dir: i32, path: usize) -> Outcome {
    let text = RefCell::new([0; PATH_MAX]);
    let tell = |told: &[u8]| {
        // The kernel's type for it is int: a size below 1 is its matter.
        let room = call.int(path + 2).max(0) as usize;
        let told = told.get(..told.len().min(room)).unwrap_or_default();
        call.write(call.argument(path + 1), told).map(|()| told.len() as i64)
    };
    if let Some(told) = process_link(call, path, &mut text.borrow_mut()).filter(|_| call.int(path + 2) > 0) {
        return tell(told).into();
    }
    let make = |dir, path: &CStr| files::read_link(dir, path, &mut *text.borrow_mut()).map(<[u8]>::len);
    told(call, dir, path, Want::Lstat, make, |length| {
        let text = text.borrow();
        let text = text.get(..length as usize).unwrap_or_default();
        tell(pod_path_of(call.state, text).unwrap_or(text))
    })
}

/// Where a link in /proc leads to, when that is the pod's: a program, a working directory, a descriptor.
fn process_link<'r>(call: &Call<'_>, path: usize, room: &'r mut PathRoom) -> Option<&'r [u8]> {
    let mut given = [0; PATH_MAX];
    let given = call.path(path, &mut given)?.to_bytes().strip_prefix(b"/proc/")?;
    let rest = given.strip_prefix(b"self/").or_else(|| given.strip_prefix(b"thread-self/"));
    let name = match rest {
        Some(rest) => [b"/proc/", call.thread().to_string().as_bytes(), b"/", rest, b"\0"].concat(),
        None => [b"/proc/", given, b"\0"].concat(),
    };
    pod_path_of(call.state, files::read_link(AT_CWD, until_nul(&name)?, room).ok()?)
}

pub fn getcwd(call: &Call<'_>) -> Outcome {
    if !call.state.table.pod_directory_seen() {
        return Outcome::GoOn;
    }
    let mut name = [0; 32];
    let written = std::io::Write::write_fmt(&mut name.as_mut_slice(), format_args!("/proc/{}/cwd", call.thread()));
    let mut room = [0; PATH_MAX];
    let found = written.ok().and(until_nul(&name)).and_then(|name| files::read_link(AT_CWD, name, &mut room).ok());
    let Some(told) = found.and_then(|found| pod_path_of(call.state, found)) else { return Outcome::GoOn };
    let told = [told, b"\0"].concat();
    if call.argument(1) < told.len() as u64 {
        return Outcome::Done(Err(Errno(libc::ERANGE)));
    }
    call.write(call.argument(0), &told).map(|()| told.len() as i64).into()
}

pub fn chdir(call: &Call<'_>) -> Outcome {
    let mut room = [0; PATH_MAX];
    let Some(path) = call.path(0, &mut room) else { return Outcome::GoOn };
    let make: Make<'_, i32> = &|dir, path| match files::open(dir, path, libc::O_RDONLY | libc::O_DIRECTORY) {
        Ok(fd) => fd.release(),
        Err(error) => failed(error),
    };
    match ops::enter(&call.caller(), AT_CWD, path, make) {
        None => Outcome::GoOn,
        Some(-1) => Outcome::Done(Err(Errno(errno::get()))),
        Some(fd) => {
            let folder = OwnedFd::new(fd);
            if call.may_wait {
                entered(call, &folder)
            } else {
                Outcome::Later
            }
        }
    }
}

/// Has the thread change its working directory to a directory of ours.
fn entered(call: &Call<'_>, folder: &OwnedFd) -> Outcome {
    let fd = match call.give_fd(folder) {
        Ok(fd) => [fd as u64, 0, 0, 0, 0, 0],
        Err(error) => return Outcome::Done(Err(error)),
    };
    call.instead(|stopped| {
        let done = stopped.call(libc::SYS_fchdir, fd);
        let _ = stopped.call(libc::SYS_close, fd);
        Some(done)
    })
}

pub fn getxattr(call: &Call<'_>) -> Outcome {
    attribute(call, Want::Stat)
}

pub fn lgetxattr(call: &Call<'_>) -> Outcome {
    attribute(call, Want::Lstat)
}

fn attribute(call: &Call<'_>, want: Want) -> Outcome {
    let mut name = [0; PATH_MAX];
    let Some(name) = call.path(1, &mut name) else { return Outcome::GoOn };
    attributes(call, want, 2, |path, room| status::attribute(path, name, room, want == Want::Stat))
}

pub fn listxattr(call: &Call<'_>) -> Outcome {
    attributes(call, Want::Stat, 1, |path, room| status::attributes(path, room, true))
}

pub fn llistxattr(call: &Call<'_>) -> Outcome {
    attributes(call, Want::Lstat, 1, |path, room| status::attributes(path, room, false))
}

/// `to`: the index of the program's room, which its size follows; a size of 0 asks how much there is.
fn attributes(
    call: &Call<'_>,
    want: Want,
    to: usize,
    make: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> Outcome {
    let room = RefCell::new(vec![0; (call.argument(to + 1) as usize).min(MAX_ATTRIBUTE)]);
    told(
        call,
        AT_CWD,
        0,
        want,
        |_, path| make(path, &mut room.borrow_mut()),
        |length| {
            let room = room.borrow();
            let found = room.get(..(length as usize).min(room.len())).unwrap_or_default();
            call.write(call.argument(to), found).map(|()| length)
        },
    )
}

pub fn inotify_add_watch(call: &Call<'_>) -> Outcome {
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    told(call, AT_CWD, 1, Want::Read, |_, path| status::watch(fd.raw(), path, call.int(2) as u32), Ok)
}

/// Makes a call that looks at a path, where it is the pod's, and has `tell` give the program what was found.
fn told(
    call: &Call<'_>,
    dir: i32,
    path: usize,
    want: Want,
    make: impl Fn(i32, &CStr) -> Result<usize, Errno>,
    tell: impl FnOnce(i64) -> Result<i64, Errno>,
) -> Outcome {
    let mut room = [0; PATH_MAX];
    let Some(path) = call.path(path, &mut room) else { return Outcome::GoOn };
    let make: Make<'_, i64> = &|dir, path| match make(dir, path) {
        Ok(value) => value as i64,
        Err(error) => i64::from(failed(error)),
    };
    let done = match want {
        Want::Lstat | Want::Stat => ops::look(&call.caller(), dir, path, want, make),
        Want::Read | Want::List | Want::Execute => ops::contents(&call.caller(), dir, path, want, make),
    };
    match done {
        None => Outcome::GoOn,
        Some(-1) => Outcome::Done(Err(Errno(errno::get()))),
        Some(value) => tell(value).into(),
    }
}

fn failed(Errno(number): Errno) -> i32 {
    errno::set(number);
    -1
}

/// What a call with these flags wants to see.
fn followed(flags: i32) -> Want {
    if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
        Want::Lstat
    } else {
        Want::Stat
    }
}
