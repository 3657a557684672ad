//! wordexp of the pod's folders, into which libc's looks by calls of its own: they are given to it as the replica's, once that has
//! what the patterns match, and what it finds is told as the pod's.
//!
//! Of texts without quotes, variables and commands: what those come to, libc alone knows.

use core::ffi::{c_char, c_int, CStr};
use core::mem::zeroed;
use core::ptr::null_mut;

use inpod_ops::files::pods_path;
use inpod_ops::guard::guarded;
use inpod_ops::place::{as_c_str, Caller};
use inpod_ops::state::State;
use inpod_rules::paths::PathText;
use inpod_sys::text::c_text;

use crate::hooks::files::{files_state, told_in_place};
use crate::plain;
use crate::table::{self, original};

/// wordexp_t (wordexp.h).
#[repr(C)]
pub struct Words {
    count: usize,
    words: *mut *mut c_char,
    offset: usize,
}

/// wordexp.h: places before the first word are left free.
const WRDE_DOOFFS: c_int = 1;

const PATTERN: &[u8] = b"*?[";
const QUOTING: &[u8] = b"'\"\\`$";
const OTHERS: &[u8] = b"~(){}|&;<>";

/// # Safety
/// As wordexp(3).
pub unsafe fn wordexp(text: *const c_char, found: *mut Words, flags: c_int) -> c_int {
    // SAFETY: wordexp(3): a C string.
    let given = unsafe { c_text(text) };
    let mut room = PathText::default();
    let of_pod = guarded(|| with_replica(files_state()?, given?.to_bytes(), &mut room));
    let text = of_pod.map_or(text, |()| as_c_str(&room).as_ptr());
    // SAFETY: the program's own call, but for the text.
    let done = unsafe { original::wordexp(text, found, flags) };
    if of_pod.is_none() || done != 0 {
        return done;
    }
    // SAFETY: it is filled.
    if let Some(found) = unsafe { found.as_ref() } {
        let first = if flags & WRDE_DOOFFS != 0 { found.offset } else { 0 };
        for index in first..first + found.count {
            // SAFETY: wordexp(3): so many words behind the places that are left free.
            let word = unsafe { found.words.add(index) };
            // SAFETY: as above.
            let word = unsafe { word.read() };
            // SAFETY: a C string of libc's, which the program may change.
            unsafe { told_in_place(word) };
        }
    }
    done
}

/// Puts the text with the replica's paths into `room`. None: none of its words is a pattern of the pod.
fn with_replica(state: &State, text: &[u8], room: &mut PathText) -> Option<()> {
    if has(text, QUOTING) || has(state.replica, QUOTING) || has(state.replica, OTHERS) || has(state.replica, b" \t\n") {
        return None;
    }
    let mut is_any = false;
    for piece in text.split_inclusive(|byte| b" \t\n".contains(byte)) {
        let word = piece.split(|byte| b" \t\n".contains(byte)).next()?;
        let is_pattern = has(word, PATTERN) && !has(word, OTHERS);
        if is_pattern && (word.starts_with(b"/") || state.table.pod_directory_seen()) {
            is_any |= fill(word);
            if is_pods(state, word) && !room.push(state.replica) {
                return None;
            }
        }
        if !room.push(piece) {
            return None;
        }
    }
    is_any.then_some(())
}

/// Has the replica have what a pattern matches, by a glob of ours. False: it is too long.
fn fill(pattern: &[u8]) -> bool {
    let mut text = PathText::default();
    if !text.push(pattern) {
        return false;
    }
    // SAFETY: all zeroes is a valid glob_t.
    let mut found: libc::glob_t = unsafe { zeroed() };
    let to = (&raw mut found).cast();
    // SAFETY: a C string, and a glob_t.
    if unsafe { table::glob(as_c_str(&text).as_ptr(), 0, null_mut(), to) } == 0 {
        // SAFETY: filled by glob.
        unsafe { plain::globfree(&raw mut found) };
    }
    true
}

/// Whether the folder that an absolute pattern begins in is the pod's.
fn is_pods(state: &State, pattern: &[u8]) -> bool {
    let plain = pattern.split(|byte| PATTERN.contains(byte)).next().unwrap_or_default();
    let end = plain.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    let mut folder = PathText::default();
    let is_plain = !pattern.split(|byte| *byte == b'/').any(|name| matches!(name, b"." | b".."));
    let text = plain.get(..end).filter(|folder| is_plain && !folder.is_empty());
    let is_text = text.is_some_and(|text| folder.push(text));
    let path: &CStr = as_c_str(&folder);
    is_text && pods_path(&Caller::own(state), path, &mut PathText::default())
}

fn has(text: &[u8], any: &[u8]) -> bool {
    text.iter().any(|byte| any.contains(byte))
}
