//! Environments of children, as C arrays; without the heap, as the caller may be a vfork(2) child.

use core::ffi::{c_char, CStr};
use core::ptr::null;

use crate::call::{call, int, Errno};
use crate::text::c_text;

/// An array of C strings that ends with NULL.
pub type CArray = *const *const c_char;

const FEW: usize = 256;
const MANY: usize = 2048;

/// What happens to one variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// As the program says.
    Keep,
    /// This "NAME=value" instead.
    Set(&'a CStr),
    /// Not there.
    Remove,
}

/// Returns where the value of a variable begins.
///
/// # Safety
/// `environment` is NULL or an array of C strings that ends with NULL.
#[inline(always)]
pub unsafe fn find_variable(environment: CArray, name: &[u8]) -> Option<*const c_char> {
    // SAFETY: the caller's promise.
    unsafe { entries(environment) }.find_map(|entry| {
        // SAFETY: a C string.
        unsafe { value_in(entry, name) }
    })
}

/// Returns the first string; None where there is none.
///
/// # Safety
/// `array` is NULL or an array of C strings that ends with NULL.
#[inline(always)]
pub unsafe fn first(array: CArray) -> Option<*const c_char> {
    // SAFETY: the caller's promise.
    unsafe { entries(array) }.next()
}

/// Returns where the NULL of an array is.
///
/// # Safety
/// An array of C strings that ends with NULL.
pub unsafe fn end_of(array: CArray) -> CArray {
    // SAFETY: the caller's promise.
    let length = unsafe { entries(array) }.count();
    // SAFETY: the NULL is behind that many.
    unsafe { array.add(length) }
}

/// Where the value in "NAME=value" begins; None where it is of another variable.
///
/// # Safety
/// `entry` is a C string.
#[inline(always)]
unsafe fn value_in(entry: *const c_char, name: &[u8]) -> Option<*const c_char> {
    let mut at = entry;
    for byte in name.iter().chain(b"=") {
        // SAFETY: the string goes on until its NUL, which no name has.
        if unsafe { *at } as u8 != *byte {
            return None;
        }
        // SAFETY: that was not its NUL.
        at = unsafe { at.add(1) };
    }
    Some(at)
}

/// Calls `run` with the environment after the changes to the variables named; with the same one when nothing changes.
///
/// # Safety
/// `environment` is NULL or an array of C strings that ends with NULL.
pub unsafe fn with_environment<R>(
    environment: CArray,
    changes: &[(&[u8], Change<'_>)],
    run: impl FnOnce(CArray) -> R,
) -> R {
    if changes.iter().all(|(_, change)| *change == Change::Keep) {
        return run(environment);
    }
    // SAFETY: the caller's promise.
    let length = unsafe { strings(environment) }.count() + changes.len();
    // SAFETY: the caller's promise.
    let kept = unsafe { strings(environment) }.filter(|entry| {
        let is_changed = |(name, change): &(&[u8], Change<'_>)| *change != Change::Keep && is_of(entry, name);
        !changes.iter().any(is_changed)
    });
    let set = changes.iter().filter_map(|(_, change)| match change {
        Change::Set(text) => Some(*text),
        Change::Keep | Change::Remove => None,
    });
    with_array(length, kept.chain(set), run).unwrap_or_else(|run| run(environment))
}

/// Calls `run` with arguments of which the first one is replaced by `words`. None: there is no memory for them.
///
/// # Safety
/// `arguments` is NULL or an array of C strings that ends with NULL.
pub unsafe fn with_words<'a, R>(
    words: impl Iterator<Item = &'a CStr> + Clone,
    arguments: CArray,
    run: impl FnOnce(CArray) -> R,
) -> Option<R> {
    // SAFETY: the caller's promise.
    let length = words.clone().count() + unsafe { strings(arguments) }.count();
    // SAFETY: the caller's promise.
    let rest = unsafe { strings(arguments) }.skip(1);
    with_array(length, words.chain(rest), run).ok()
}

/// Calls `run` with an array of at most `length` strings, and NULL. Err: there is no memory for it.
fn with_array<'a, R, F: FnOnce(CArray) -> R>(
    length: usize,
    entries: impl Iterator<Item = &'a CStr>,
    run: F,
) -> Result<R, F> {
    if length < FEW {
        Ok(on_stack::<FEW, R>(entries, run))
    } else if length < MANY {
        Ok(on_stack::<MANY, R>(entries, run))
    } else {
        mapped(length + 1, entries, run)
    }
}

/// A function of its own for each size, so that only the one that is called takes the room.
#[inline(never)]
fn on_stack<'a, const N: usize, R>(entries: impl Iterator<Item = &'a CStr>, run: impl FnOnce(CArray) -> R) -> R {
    let mut array = [null(); N];
    fill(&mut array, entries);
    run(array.as_ptr())
}

/// For an environment of thousands. After vfork and a successful exec the parent keeps these pages.
fn mapped<'a, R, F: FnOnce(CArray) -> R>(
    length: usize,
    entries: impl Iterator<Item = &'a CStr>,
    run: F,
) -> Result<R, F> {
    let bytes = length * size_of::<*const c_char>();
    let access = int(libc::PROT_READ | libc::PROT_WRITE);
    let flags = int(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let Ok(address) = (unsafe { call(libc::SYS_mmap, [0, bytes, access, flags, int(-1), 0]) }) else {
        return Err(run);
    };
    // SAFETY: the mapping has room for `length` pointers, all NULL, is page aligned, and nobody else knows it.
    let array = unsafe { core::slice::from_raw_parts_mut(address as *mut *const c_char, length) };
    fill(array, entries);
    let result = run(array.as_ptr());
    // SAFETY: the mapping made above, no longer used.
    let _ = unsafe { call(libc::SYS_munmap, [address, bytes, 0, 0, 0, 0]) };
    Ok(result)
}

/// execve(2): returns only why it failed.
///
/// # Safety
/// Both are arrays of C strings that end with NULL.
pub unsafe fn execute(path: &CStr, arguments: CArray, environment: CArray) -> Errno {
    let arguments = [path.as_ptr() as usize, arguments as usize, environment as usize, 0, 0, 0];
    // SAFETY: the caller's promise.
    match unsafe { call(libc::SYS_execve, arguments) } {
        Ok(_) => Errno(libc::ENOEXEC),
        Err(error) => error,
    }
}

fn fill<'a>(array: &mut [*const c_char], entries: impl Iterator<Item = &'a CStr>) {
    // The last place stays NULL.
    let room = array.len().saturating_sub(1);
    for (to, from) in array.iter_mut().take(room).zip(entries) {
        *to = from.as_ptr();
    }
}

fn is_of(entry: &CStr, name: &[u8]) -> bool {
    entry.to_bytes().strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="))
}

/// Returns the strings of an array.
///
/// # Safety
/// `array` is NULL or an array of C strings that ends with NULL, for `'a`.
pub unsafe fn strings<'a>(array: CArray) -> impl Iterator<Item = &'a CStr> {
    // SAFETY: the caller's promise.
    unsafe { entries(array) }.filter_map(|entry| {
        // SAFETY: a C string.
        unsafe { c_text(entry) }
    })
}

/// # Safety
/// `array` is NULL or an array that ends with NULL, until the iteration ends.
#[inline(always)]
unsafe fn entries(array: CArray) -> impl Iterator<Item = *const c_char> {
    let mut at = array;
    core::iter::from_fn(move || {
        if at.is_null() {
            return None;
        }
        // SAFETY: the array goes on until its NULL, which ends the iteration.
        let entry = unsafe { *at };
        if entry.is_null() {
            return None;
        }
        // SAFETY: the entry was not the last.
        at = unsafe { at.add(1) };
        Some(entry)
    })
}
