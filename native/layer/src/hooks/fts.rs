//! fts of folders of the pod: libc's own walks the replica, and what the program is told of it are the pod's paths.
//!
//! Before libc looks at something by itself, the replica is made to have it: members of the folder at hand, and what is in
//! those that are folders, as a folder that is listed later would be another file (session/files/replica). The program sees
//! the entries that libc goes on with: so each path in them begins behind the replica's while the program has them, and at
//! its beginning while libc does. Nothing is kept about a walk but by that.

use core::ffi::{c_char, c_int, c_long, c_short, c_ushort, c_void, CStr};
use core::ptr::null_mut;

use inpod_ops::files::{pods_path, prepare};
use inpod_ops::guard::{fail, guarded};
use inpod_ops::place::{as_c_str, pod_path_of, Caller};
use inpod_ops::state::State;
use inpod_rules::paths::PathText;
use inpod_sys::exec::{strings, CArray};
use inpod_sys::memory::Words;
use inpod_sys::text::c_text;
use inpod_sys::Errno;

use crate::hooks::files::files_state;
use crate::plain;
use crate::table::original;

// Options, what an entry is, and what is to become of it (fts.h).
const FOLLOWS_ROOTS: c_int = 1;
const FOLLOWS: c_int = 2;
const FOLDER: c_ushort = 1;
const FOLDER_UNREAD: c_ushort = 4;
const INITIAL: c_ushort = 9;
const FOLLOW: c_ushort = 2;
const SKIP: c_ushort = 4;

/// FTS of fts.h.
#[repr(C)]
pub struct Walk {
    current: *mut Entry,
    members: *mut Entry,
    sorted: *mut c_void,
    device: u64,
    /// Of what is at hand; its entries point to it.
    path: *mut c_char,
    root: c_int,
    path_room: c_int,
    sorted_room: c_int,
    compare: *mut c_void,
    options: c_int,
}

/// FTSENT of fts.h.
#[repr(C)]
pub struct Entry {
    cycle: *mut Entry,
    parent: *mut Entry,
    next: *mut Entry,
    number: c_long,
    pointer: *mut c_void,
    access_path: *mut c_char,
    path: *mut c_char,
    error: c_int,
    link: c_int,
    path_length: c_ushort,
    name_length: c_ushort,
    file: u64,
    device: u64,
    links: libc::nlink_t,
    level: c_short,
    info: c_ushort,
    flags: c_ushort,
    instruction: c_ushort,
}

macro_rules! walks {
    ($($open:ident, $read:ident, $children:ident;)*) => {
        $(
            /// # Safety
            /// As fts_open(3).
            pub unsafe fn $open(roots: CArray, options: c_int, compare: *mut c_void) -> *mut Walk {
                // SAFETY: the program's own call, or with other roots.
                let call = |roots| unsafe { original::$open(roots, options, compare) };
                // SAFETY: fts_open(3): an array of C strings that ends with NULL.
                unsafe { opened(roots, options, call) }
            }

            /// # Safety
            /// As fts_read(3).
            pub unsafe fn $read(walk: *mut Walk) -> *mut Entry {
                // SAFETY: the program's own call.
                let call = || unsafe { original::$read(walk) };
                // SAFETY: fts_read(3): what fts_open returned.
                unsafe { step(walk, |folder| folder, call) }
            }

            /// # Safety
            /// As fts_children(3).
            pub unsafe fn $children(walk: *mut Walk, options: c_int) -> *mut Entry {
                // SAFETY: the program's own call.
                let call = || unsafe { original::$children(walk, options) };
                // SAFETY: fts_children(3): what fts_open returned.
                unsafe { step(walk, |folder| fail(folder.error), call) }
            }
        )*
    };
}

walks! {
    fts_open, fts_read, fts_children;
    fts64_open, fts64_read, fts64_children;
}

/// # Safety
/// `roots` is NULL or an array of C strings that ends with NULL.
unsafe fn opened(roots: CArray, options: c_int, call: impl FnOnce(CArray) -> *mut Walk) -> *mut Walk {
    // SAFETY: the caller's promise.
    let words = guarded(|| unsafe { moved(roots, options & (FOLLOWS_ROOTS | FOLLOWS) != 0) });
    call(words.as_ref().map_or(roots, Words::array))
}

/// Returns the roots, those of the pod being where the replica has them. None: they are as they are.
///
/// # Safety
/// As for [`opened`].
unsafe fn moved(roots: CArray, follows: bool) -> Option<Words> {
    let caller = Caller::own(files_state()?);
    // SAFETY: the caller's promise.
    let mut words = Words::new(unsafe { strings(roots) }.count())?;
    let mut is_moved = false;
    // SAFETY: the caller's promise.
    for root in unsafe { strings(roots) } {
        let mut path = PathText::default();
        if !pods_path(&caller, root, &mut path) {
            words.push(&[root.to_bytes()])?;
            continue;
        }
        // What cannot be had libc will find missing.
        let _ = prepare(caller.state, &path, follows);
        match root.to_bytes() {
            // With the slashes that the program gave it, which are told again.
            given @ [b'/', ..] if !given.windows(3).any(|part| part == b"/..") => {
                words.push(&[caller.state.replica, given])?;
                is_moved = true;
            }
            [b'/', ..] => {
                words.push(&[path.as_bytes()])?;
                is_moved = true;
            }
            relative => words.push(&[relative])?,
        }
    }
    is_moved.then_some(words)
}

/// Calls libc with entries as it made them, and hands them on as the program is to see them. `unread`: what is told
/// instead where the folder at hand may not be read.
///
/// # Safety
/// `walk` is NULL or of fts_open(3).
unsafe fn step(
    walk: *mut Walk,
    unread: impl FnOnce(&mut Entry) -> *mut Entry,
    call: impl FnOnce() -> *mut Entry,
) -> *mut Entry {
    let Some(state) = files_state() else { return call() };
    // SAFETY: the caller's promise; libc does not run.
    let Some(before) = (unsafe { walk.as_mut() }) else { return call() };
    before.show(state, false);
    let found = match guarded(|| before.prepare_current(&Caller::own(state))) {
        Some(folder) => unread(folder),
        None => call(),
    };
    // SAFETY: as above.
    if let Some(after) = unsafe { walk.as_mut() } {
        after.show(state, true);
    }
    found
}

impl Walk {
    /// Has paths in the replica begin behind the replica's own (for the program), or at their beginning (for libc).
    fn show(&mut self, state: &State, is_told: bool) {
        // SAFETY: NULL, or an entry of libc's, which does not run.
        if unsafe { self.current.as_ref() }.is_none_or(|current| current.info == INITIAL) {
            // Before the first step, nothing is in the buffer; behind the last, nobody looks.
            return;
        }
        // SAFETY: NULL, or libc's buffer.
        let is_in_replica =
            unsafe { c_text(self.path) }.is_some_and(|path| pod_path_of(state, path.to_bytes()).is_some());
        if !is_in_replica {
            return;
        }
        let (whole, told) = (self.path, self.path.wrapping_add(state.replica.len()));
        let (from, to) = if is_told { (whole, told) } else { (told, whole) };
        let length = if is_told { state.replica.len().wrapping_neg() } else { state.replica.len() } as c_ushort;
        let turn = |entry: &mut Entry| {
            if entry.path == from {
                entry.path = to;
                entry.path_length = entry.path_length.wrapping_add(length);
            }
            if entry.access_path == from {
                entry.access_path = to;
            }
        };
        // Above the roots is an entry that says nothing.
        each(self.current, |entry| if entry.level > 0 { entry.parent } else { null_mut() }, turn);
        each(self.members, |entry| entry.next, turn);
    }

    /// Has the replica have what libc will look at next. Some: the folder at hand, which may not be read.
    fn prepare_current(&mut self, caller: &Caller<'_>) -> Option<&mut Entry> {
        let follows = self.options & FOLLOWS != 0;
        // SAFETY: NULL, or an entry of libc's, which does not run.
        let current = unsafe { self.current.as_mut() }?;
        let is_followed = current.instruction == FOLLOW;
        if !is_followed && (current.info != FOLDER || current.instruction == SKIP) {
            return None;
        }
        // SAFETY: libc's entries have one: a C string.
        let access_path = unsafe { c_text(current.access_path) }?;
        let mut path = PathText::default();
        if !pods_path(caller, access_path, &mut path) {
            return None;
        }
        if let Err(Errno(number)) = prepare(caller.state, &path, true) {
            if current.info == FOLDER {
                (current.info, current.error) = (FOLDER_UNREAD, number);
                return Some(current);
            }
        }
        if current.info == FOLDER {
            prepare_members(caller.state, &mut path, follows);
        }
        None
    }
}

/// As [`prepare`], for what is in a folder of the replica.
fn prepare_members(state: &State, path: &mut PathText, follows: bool) {
    // SAFETY: a C string.
    let stream = unsafe { original::opendir(as_c_str(path).as_ptr()) }.cast::<libc::DIR>();
    let length = path.as_bytes().len();
    while !stream.is_null() {
        // SAFETY: an open stream of ours.
        let found = unsafe { plain::readdir(stream) };
        // SAFETY: NULL, or a member that lives until the next one is read.
        let Some(found) = (unsafe { found.as_ref() }) else { break };
        // SAFETY: readdir(3): a C string.
        let name = unsafe { CStr::from_ptr(found.d_name.as_ptr()) }.to_bytes();
        let is_link = found.d_type == libc::DT_LNK && follows;
        path.truncate(length);
        if matches!(name, b"." | b"..") || !(is_link || found.d_type == libc::DT_DIR) {
            continue;
        }
        if path.push(b"/") && path.push(name) {
            // What cannot be listed is told when it is at hand.
            let _ = prepare(state, path, is_link);
        }
    }
    path.truncate(length);
    if !stream.is_null() {
        // SAFETY: the stream made above.
        unsafe { plain::closedir(stream) };
    }
}

/// Does `act` to a list of libc's entries.
fn each(first: *mut Entry, next: impl Fn(&Entry) -> *mut Entry, act: impl Fn(&mut Entry)) {
    let mut at = first;
    // SAFETY: a list of libc's, which does not run, to its NULL.
    while let Some(entry) = unsafe { at.as_mut() } {
        act(entry);
        at = next(entry);
    }
}
