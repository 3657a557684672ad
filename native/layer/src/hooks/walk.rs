//! nftw and ftw of a folder of the pod, or that is found through one: libc's own open and read folders by calls that nobody else sees.
//!
//! As libc's (nftw(3)), but with a descriptor for each level, whatever the program allows. Each member is looked at in its
//! folder's descriptor: what a folder of the pod lists is there, also what by its full name would be this machine's.

use core::ffi::{c_char, c_int, CStr};
use core::mem::zeroed;

use inpod_ops::files::leads_elsewhere;
use inpod_ops::guard::{fail, guarded};
use inpod_ops::place::{as_c_str, Caller};
use inpod_rules::paths::PathText;
use inpod_sys::files::{close, AT_CWD};
use inpod_sys::memory::Seen;
use inpod_sys::text::{c_text, until_nul};
use inpod_sys::{errno, Errno};
use libc::{stat, DIR};

use crate::plain;
use crate::start;
use crate::table::{self, original};

/// The program's function. ftw's has no last argument, and is not hurt by one.
pub type Visit = unsafe extern "C" fn(*const c_char, *const stat, c_int, *mut Position) -> c_int;

/// struct FTW of ftw.h.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Position {
    base: c_int,
    level: c_int,
}

// What is told of a member, flags, and answers of the program with ACTIONS (ftw.h).
const FILE: c_int = 0;
const FOLDER: c_int = 1;
const FOLDER_UNREAD: c_int = 2;
const UNKNOWN: c_int = 3;
const LINK: c_int = 4;
const FOLDER_DONE: c_int = 5;
const LINK_TO_NOTHING: c_int = 6;
const PHYSICAL: c_int = 1;
const ONE_MOUNT: c_int = 2;
const CHDIR: c_int = 4;
const DEPTH_FIRST: c_int = 8;
const ACTIONS: c_int = 16;
const STOP: c_int = 1;
const SKIP_SUBTREE: c_int = 2;
const SKIP_SIBLINGS: c_int = 3;

macro_rules! walks {
    ($($nftw:ident, $ftw:ident;)*) => {
        $(
            /// # Safety
            /// As nftw(3).
            pub unsafe fn $nftw(path: *const c_char, visit: Visit, descriptors: c_int, flags: c_int) -> c_int {
                // SAFETY: the program's own arguments.
                let done = unsafe { walked(path, visit, flags, true) };
                // SAFETY: the program's own call.
                done.unwrap_or_else(|| unsafe { original::$nftw(path, visit, descriptors, flags) })
            }

            /// # Safety
            /// As ftw(3).
            pub unsafe fn $ftw(path: *const c_char, visit: Visit, descriptors: c_int) -> c_int {
                // SAFETY: the program's own arguments.
                let done = unsafe { walked(path, visit, 0, false) };
                // SAFETY: the program's own call.
                done.unwrap_or_else(|| unsafe { original::$ftw(path, visit, descriptors) })
            }
        )*
    };
}

walks! {
    nftw, ftw;
    nftw64, ftw64;
}

/// None: the kernel finds the folder by itself.
///
/// # Safety
/// `path` is NULL or a C string, `visit` as for nftw(3).
unsafe fn walked(path: *const c_char, visit: Visit, flags: c_int, tells_all: bool) -> Option<c_int> {
    // SAFETY: the caller's promise.
    let text = unsafe { c_text(path) }?;
    let caller = Caller::own(start::state()?);
    guarded(|| leads_elsewhere(&caller, text).then_some(()))?;
    let mut path = PathText::default();
    let bytes = text.to_bytes();
    let length = bytes.iter().rposition(|byte| *byte != b'/').map_or(1, |last| last + 1);
    if flags & !(PHYSICAL | ONE_MOUNT | CHDIR | DEPTH_FIRST | ACTIONS) != 0 || !path.push(bytes.get(..length)?) {
        return Some(fail(libc::EINVAL));
    }
    let base = path.as_bytes().iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let at = Position { base: base as c_int, level: 0 };
    Some(Walk { visit, flags, tells_all, path, at, device: 0, seen: Seen::default() }.run(base))
}

struct Walk {
    visit: Visit,
    flags: c_int,
    /// Whether links and order are told: ftw's function does not know them.
    tells_all: bool,
    /// Of what is looked at.
    path: PathText,
    at: Position,
    device: u64,
    /// Folders, where links are followed: each is told once.
    seen: Seen,
}

/// Each function returns what libc's would: not 0 ends the walk.
impl Walk {
    fn run(&mut self, base: usize) -> c_int {
        if !self.has(CHDIR) {
            return self.start(0);
        }
        // SAFETY: a C string.
        let home = unsafe { table::open(c".".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC, 0) };
        if home == -1 {
            return -1;
        }
        let mut parent = PathText::default();
        let has_parent = parent.push(self.path.as_bytes().get(..base).unwrap_or_default()) && base > 0;
        // SAFETY: a C string.
        let is_there = !has_parent || unsafe { table::chdir(as_c_str(&parent).as_ptr()) } == 0;
        let mut result = if is_there { self.start(base) } else { -1 };
        let before = errno::get();
        // SAFETY: takes no pointers.
        if unsafe { plain::fchdir(home) } == 0 {
            errno::set(before);
        } else if result == 0 {
            result = -1;
        }
        close(home);
        result
    }

    fn start(&mut self, name_at: usize) -> c_int {
        let (facts, kind) = match self.look(AT_CWD, name_at) {
            Ok((_, UNKNOWN)) | Err(_) => return -1,
            Ok(found) => found,
        };
        self.device = facts.st_dev;
        match self.told(AT_CWD, name_at, &facts, kind) {
            SKIP_SUBTREE | SKIP_SIBLINGS if self.has(ACTIONS) => 0,
            result => result,
        }
    }

    fn member(&mut self, dir: c_int, name_at: usize) -> c_int {
        let Ok((facts, kind)) = self.look(dir, name_at) else { return -1 };
        if kind != UNKNOWN && self.has(ONE_MOUNT) && facts.st_dev != self.device {
            return 0;
        }
        let result = self.told(dir, name_at, &facts, kind);
        let goes_on = result == 0 || (self.has(ACTIONS) && result != -1 && result != STOP);
        // SAFETY: takes no pointers.
        if kind == FOLDER && self.has(CHDIR) && goes_on && unsafe { plain::fchdir(dir) } == -1 {
            return -1;
        }
        if self.has(ACTIONS) && result == SKIP_SUBTREE {
            0
        } else {
            result
        }
    }

    fn told(&mut self, dir: c_int, name_at: usize, facts: &stat, kind: c_int) -> c_int {
        if kind != FOLDER {
            return self.tell(facts, kind);
        }
        let is_new = if self.has(PHYSICAL) { Some(true) } else { self.seen.add(facts.st_dev, facts.st_ino) };
        match is_new {
            Some(true) => self.folder(dir, name_at, facts),
            Some(false) => 0,
            None => fail(libc::ENOMEM),
        }
    }

    fn folder(&mut self, dir: c_int, name_at: usize, facts: &stat) -> c_int {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        // SAFETY: a C string.
        let fd = unsafe { table::openat(dir, self.name(name_at), flags, 0) };
        if fd == -1 {
            return if errno::get() == libc::EACCES { self.tell(facts, FOLDER_UNREAD) } else { -1 };
        }
        // SAFETY: a directory, which nobody else knows.
        let stream = unsafe { plain::fdopendir(fd) };
        if stream.is_null() {
            close(fd);
            return -1;
        }
        let result = self.members(stream, fd, facts);
        let before = errno::get();
        // SAFETY: the stream made above.
        unsafe { plain::closedir(stream) };
        errno::set(before);
        result
    }

    fn members(&mut self, stream: *mut DIR, fd: c_int, facts: &stat) -> c_int {
        let mut result = if self.has(DEPTH_FIRST) { 0 } else { self.tell(facts, FOLDER) };
        // SAFETY: takes no pointers.
        if result == 0 && self.has(CHDIR) && unsafe { plain::fchdir(fd) } == -1 {
            result = -1;
        }
        if result != 0 {
            return result;
        }
        let (length, before) = (self.path.as_bytes().len(), self.at);
        let has_room = self.path.as_bytes().ends_with(b"/") || self.path.push(b"/");
        let base = self.path.as_bytes().len();
        self.at = Position { base: base as c_int, level: before.level + 1 };
        while result == 0 {
            // SAFETY: an open stream of ours.
            let found = unsafe { plain::readdir(stream) };
            // SAFETY: NULL, or a member that lives until the next one is read.
            let Some(found) = (unsafe { found.as_ref() }) else { break };
            // SAFETY: readdir(3): a C string.
            let name = unsafe { CStr::from_ptr(found.d_name.as_ptr()) }.to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            self.path.truncate(base);
            result = if has_room && self.path.push(name) { self.member(fd, base) } else { fail(libc::ENAMETOOLONG) };
        }
        self.path.truncate(length);
        self.at = before;
        if self.has(ACTIONS) && result == SKIP_SIBLINGS {
            result = 0;
        }
        if result == 0 && self.has(DEPTH_FIRST) {
            result = self.tell(facts, FOLDER_DONE);
        }
        result
    }

    /// Returns what a member is. Err: not even that it is unknown.
    fn look(&self, dir: c_int, name_at: usize) -> Result<(stat, c_int), Errno> {
        // SAFETY: all zeroes is a valid stat.
        let mut facts: stat = unsafe { zeroed() };
        let to = (&raw mut facts).cast();
        let name = self.name(name_at);
        // SAFETY: a C string, and room for a stat.
        let look = |flags| match unsafe { table::fstatat(dir, name, to, flags) } {
            0 => Ok(()),
            _ => Err(errno::get()),
        };
        let kind = match look(if self.has(PHYSICAL) { libc::AT_SYMLINK_NOFOLLOW } else { 0 }) {
            Ok(()) => None,
            Err(libc::ENOENT | libc::EACCES) if self.has(PHYSICAL) => Some(UNKNOWN),
            Err(libc::ENOENT | libc::EACCES) => {
                let is_there = look(libc::AT_SYMLINK_NOFOLLOW).is_ok();
                Some(if is_there { LINK_TO_NOTHING } else { UNKNOWN })
            }
            Err(number) => return Err(Errno(number)),
        };
        let kind = match (kind, facts.st_mode & libc::S_IFMT) {
            (Some(LINK_TO_NOTHING), mode) if mode != libc::S_IFLNK => UNKNOWN,
            (Some(kind), _) => kind,
            (None, libc::S_IFDIR) => FOLDER,
            (None, libc::S_IFLNK) => LINK,
            (None, _) => FILE,
        };
        Ok((facts, kind))
    }

    fn tell(&mut self, facts: &stat, kind: c_int) -> c_int {
        let kind = match kind {
            LINK if !self.tells_all => FILE,
            LINK_TO_NOTHING if !self.tells_all => UNKNOWN,
            kind => kind,
        };
        let mut at = self.at;
        // SAFETY: nftw(3): the program's function, with what it is to get.
        unsafe { (self.visit)(self.name(0), facts, kind, &raw mut at) }
    }

    fn name(&self, name_at: usize) -> *const c_char {
        self.path.with_nul().get(name_at..).and_then(until_nul).unwrap_or_default().as_ptr()
    }

    fn has(&self, flag: c_int) -> bool {
        self.flags & flag != 0
    }
}
