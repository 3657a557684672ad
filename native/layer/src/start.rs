//! The layer's start, and what it knows from then on.
//!
//! Every program that a shell starts goes through here, most of them for a millisecond. So the start only keeps what the
//! program may change; the session's folder is read at the first call that is hooked, wherever that is, and no original
//! is looked up before it is called.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use inpod_ops::session;
use inpod_ops::state::{Origin, State, FOLDER_BYTES, SESSION_VARIABLE};
use inpod_sys::exec::{find_variable, first, CArray};
use inpod_sys::memory::{AtStart, Known};
use inpod_sys::next::own_path;
use inpod_sys::text::{copy_last, until_nul};

/// Longest name of a file (NAME_MAX), and its NUL.
const NAME_BYTES: usize = 256;

static ORIGIN: AtStart<Kept> = AtStart::new(Kept { folder: [0; FOLDER_BYTES], own_name: [0; NAME_BYTES] });
static STATE: Known<State> = Known::new();
static IS_WITHOUT: AtomicBool = AtomicBool::new(false);

/// Copies of what a program may overwrite: its arguments (for ps to show something else) and its environment.
struct Kept {
    folder: [u8; FOLDER_BYTES],
    own_name: [u8; NAME_BYTES],
}

/// Returns the state; None before our start, and for good where there is no live session: the layer is inert.
#[inline]
pub fn state() -> Option<&'static State> {
    STATE.get().or_else(read)
}

#[cold]
#[inline(never)]
fn read() -> Option<&'static State> {
    let kept = ORIGIN.get().filter(|_| !IS_WITHOUT.load(Relaxed))?;
    let folder = until_nul(&kept.folder)?;
    // One without a NUL was too long to be kept: then the file alone says which program it is.
    let own_name = Some(until_nul(&kept.own_name).unwrap_or_default());
    // Two threads may read at once: either state will do.
    match State::read(Origin { folder, own_name, layer: own_path(), may_ask: || true }) {
        Some(state) => {
            session::prepare_for_fork();
            STATE.set(state);
        }
        None => IS_WITHOUT.store(true, Relaxed),
    }
    STATE.get()
}

/// Runs before `main`, after libc's own start. ld.so gives it what main gets.
///
/// All of it lies beside the tables that ld.so reads (first.ld), and it calls nothing: most programs need no other page of
/// our code.
#[link_section = ".text.startup"]
extern "C" fn start(_: c_int, arguments: CArray, environment: CArray) {
    let complete = |kept: &mut Kept| {
        // SAFETY: as main's, an array of C strings that ends with NULL.
        let Some(folder) = (unsafe { find_variable(environment, SESSION_VARIABLE) }) else { return false };
        // SAFETY: a C string, and room that nobody has written to.
        unsafe { copy_last(folder, 0, &mut kept.folder) };
        // SAFETY: as main's, an array of C strings that ends with NULL.
        if let Some(name) = unsafe { first(arguments) } {
            // SAFETY: as above.
            unsafe { copy_last(name, b'/', &mut kept.own_name) };
        }
        session::take_seats();
        true
    };
    // SAFETY: ld.so calls this once.
    unsafe { ORIGIN.set(complete) };
}

#[used]
#[link_section = ".init_array"]
static START: extern "C" fn(c_int, CArray, CArray) = start;
