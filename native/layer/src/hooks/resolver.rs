//! res_query, res_search, res_querydomain, res_send and their like, each with the older name that it has in libresolv.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::null_mut;
use core::slice;

use inpod_ops::guard::{fail, guarded};
use inpod_ops::hosts::TRY_AGAIN;
use inpod_ops::questions::{h_errno_of_answer, query, send};
use inpod_sys::hosts::set_h_errno_in;
use inpod_sys::memory::Scratch;
use inpod_sys::text::{c_text, copy_out, join};
use inpod_sys::Errno;
use inpod_wire::MAX_ANSWER;

use crate::start;
use crate::table::original;

macro_rules! resolver {
    ($($name:ident, $twin:ident($($argument:ident: $type:ty),*) => $asked:expr;)*) => {
        $(
            /// # Safety
            /// As the function of this name in resolver(3).
            pub unsafe fn $name($($argument: $type),*) -> c_int {
                // SAFETY: the program's own arguments; and its own call.
                unsafe { $asked }.unwrap_or_else(|| unsafe { original::$name($($argument),*) })
            }

            /// # Safety
            /// As the function without the two lines in resolver(3).
            pub unsafe fn $twin($($argument: $type),*) -> c_int {
                // SAFETY: the program's own arguments; and its own call.
                unsafe { $asked }.unwrap_or_else(|| unsafe { original::$twin($($argument),*) })
            }
        )*
    };
}

/// Longest name that resolver.h knows (MAXDNAME), and its NUL.
const NAME_BYTES: usize = 1026;

type Text = *const c_char;
type State = *mut c_void;

resolver! {
    res_query, __res_query(name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int)
        => queried(null_mut(), name, false, class, kind, answer, size);
    res_search, __res_search(name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int)
        => queried(null_mut(), name, true, class, kind, answer, size);
    res_nquery, __res_nquery(state: State, name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int)
        => queried(state, name, false, class, kind, answer, size);
    res_nsearch, __res_nsearch(state: State, name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int)
        => queried(state, name, true, class, kind, answer, size);
    res_querydomain, __res_querydomain(
        name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int
    ) => queried_in_domain(null_mut(), name, domain, class, kind, answer, size);
    res_nquerydomain, __res_nquerydomain(
        state: State, name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int
    ) => queried_in_domain(state, name, domain, class, kind, answer, size);
    res_send, __res_send(message: *const u8, length: c_int, answer: *mut u8, size: c_int)
        => sent(message, length, answer, size);
    res_nsend, __res_nsend(_state: State, message: *const u8, length: c_int, answer: *mut u8, size: c_int)
        => sent(message, length, answer, size);
}

/// res_nquery, or res_nsearch. None: the original call.
///
/// # Safety
/// As res_nquery(3); `state` may be NULL.
unsafe fn queried(
    state: State,
    name: Text,
    searches: bool,
    class: c_int,
    kind: c_int,
    answer: *mut u8,
    size: c_int,
) -> Option<c_int> {
    // SAFETY: res_nquery(3): a C string.
    let name = unsafe { c_text(name) }?.to_bytes();
    // SAFETY: the caller's promise.
    unsafe { asked(state, name, searches, class, kind, answer, size) }
}

/// res_nquerydomain. None: the original call.
///
/// # Safety
/// As res_nquerydomain(3); `state` may be NULL.
unsafe fn queried_in_domain(
    state: State,
    name: Text,
    domain: Text,
    class: c_int,
    kind: c_int,
    answer: *mut u8,
    size: c_int,
) -> Option<c_int> {
    start::state()?;
    // SAFETY: res_nquerydomain(3): a C string.
    let name = unsafe { c_text(name) }?.to_bytes();
    let mut room = [0; NAME_BYTES];
    // SAFETY: res_nquerydomain(3): a C string, or NULL.
    let whole = match unsafe { c_text(domain) } {
        Some(domain) => join(&mut room, &[name, b".", domain.to_bytes()])?.to_bytes(),
        None => name,
    };
    // SAFETY: the caller's promise.
    unsafe { asked(state, whole, false, class, kind, answer, size) }
}

/// # Safety
/// As res_nquery(3); `state` may be NULL.
unsafe fn asked(
    state: State,
    name: &[u8],
    searches: bool,
    class: c_int,
    kind: c_int,
    answer: *mut u8,
    size: c_int,
) -> Option<c_int> {
    start::state()?;
    let mut scratch = Scratch::new(MAX_ANSWER)?;
    let reply = scratch.bytes();
    let (class, kind) = (u16::try_from(class).ok()?, u16::try_from(kind).ok()?);
    let (number, length) = match guarded(|| query(start::state()?, name, searches, class, kind, reply))? {
        Err(_) => (TRY_AGAIN, -1),
        // SAFETY: res_nquery(3): room of that size.
        Ok(message) => (h_errno_of_answer(message), unsafe { given(message, answer, size) }),
    };
    if number == 0 {
        return Some(length);
    }
    // SAFETY: res_nquery(3): a state, or NULL.
    unsafe { set_h_errno_in(state, number) };
    Some(-1)
}

/// res_send. None: the original call.
///
/// # Safety
/// As res_send(3).
unsafe fn sent(message: *const u8, length: c_int, answer: *mut u8, size: c_int) -> Option<c_int> {
    start::state()?;
    let length = usize::try_from(length).ok().filter(|_| !message.is_null())?;
    // SAFETY: res_send(3): a message of that length.
    let message = unsafe { slice::from_raw_parts(message, length) };
    let mut scratch = Scratch::new(MAX_ANSWER)?;
    Some(match guarded(|| send(start::state()?, message, scratch.bytes()))? {
        Err(Errno(number)) => fail(number),
        // SAFETY: res_send(3): room of that size.
        Ok(message) => unsafe { given(message, answer, size) },
    })
}

/// Copies an answer as far as there is room; returns how long it is.
///
/// # Safety
/// `answer` has `size` bytes that may be written.
unsafe fn given(message: &[u8], answer: *mut u8, size: c_int) -> c_int {
    let room = usize::try_from(size).unwrap_or(0);
    // SAFETY: the caller's promise.
    unsafe { copy_out(message, answer.cast(), room) };
    message.len() as c_int
}
