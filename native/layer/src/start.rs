//! The layer's start, and what it knows from then on.
//!
//! Every program that a shell starts goes through here, most of them for a millisecond. So the start only keeps what the
//! program may change; the session's folder is read at the first call that is hooked, wherever that is, and no original
//! is looked up before it is called.

use core::ffi::{c_int, CStr};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use inpod_ops::session;
use inpod_ops::state::{Origin, State, FOLDER_BYTES, PRELOAD_VARIABLE, SESSION_VARIABLE};
use inpod_rules::environment::layer_in;
use inpod_sys::exec::{first, CArray};
use inpod_sys::memory::{AtStart, Known};
use inpod_sys::process;
use inpod_sys::text::{join, until_nul};

/// Longest name of a file (NAME_MAX), and its NUL.
const NAME_BYTES: usize = 256;

/// Room for the layer's path; a child from whose environment a longer one is taken does not get it back.
const LAYER_BYTES: usize = 256;

static ORIGIN: AtStart<Kept> = AtStart::new();
static STATE: Known<State> = Known::new();
static IS_WITHOUT: AtomicBool = AtomicBool::new(false);

/// Copies of what a program may overwrite: its arguments (for ps to show something else) and its environment.
struct Kept {
    folder: [u8; FOLDER_BYTES],
    own_name: [u8; NAME_BYTES],
    layer: [u8; LAYER_BYTES],
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
    let layer = until_nul(&kept.layer).map(CStr::to_bytes).filter(|layer| !layer.is_empty());
    let (folder, own_name) = (until_nul(&kept.folder)?, until_nul(&kept.own_name));
    // Two threads may read at once: either state will do.
    match State::read(Origin { folder, own_name, layer, may_ask: || true }) {
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
/// In the part of the code that linkers put first, beside the tables that ld.so reads: most programs need no other page of it.
#[link_section = ".text.startup"]
extern "C" fn start(_: c_int, arguments: CArray) {
    let Some(folder) = process::variable(SESSION_VARIABLE) else { return };
    // SAFETY: as main's, an array of C strings that ends with NULL.
    let name = unsafe { first(arguments) }.unwrap_or_default().to_bytes();
    let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let layer = process::variable(PRELOAD_VARIABLE).and_then(|value| layer_in(value.to_bytes())).unwrap_or_default();
    let mut kept = Kept { folder: [0; FOLDER_BYTES], own_name: [0; NAME_BYTES], layer: [0; LAYER_BYTES] };
    if join(&mut kept.folder, &[folder.to_bytes()]).is_none() {
        return;
    }
    if join(&mut kept.own_name, &[name]).is_none() {
        kept.own_name = [0; NAME_BYTES];
    }
    if join(&mut kept.layer, &[layer]).is_none() {
        kept.layer = [0; LAYER_BYTES];
    }
    session::take_seats();
    // SAFETY: ld.so calls this once.
    unsafe { ORIGIN.set(kept) };
}

#[used]
#[link_section = ".init_array"]
static START: extern "C" fn(c_int, CArray) = start;
