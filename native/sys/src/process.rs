//! This process: its number, its rights, its environment, its machine's name.

use core::ffi::{c_char, CStr};
use core::ptr::null_mut;

use crate::call::call;
use crate::text::c_text;

mod libcs {
    use core::ffi::{c_int, c_ulong, c_void};

    type Handler = Option<extern "C" fn()>;

    crate::of_next! {
        fn getauxval(kind: c_ulong) -> c_ulong, or 0;
        // What pthread_atfork(3) is, which is no function of libc.so.
        fn __register_atfork(before: Handler, after: Handler, in_child: Handler, library: *mut c_void) -> c_int, or 0;
    }
}

extern "C" {
    /// environ(7).
    static environ: *const *const c_char;
}

/// Returns the process id.
pub fn id() -> u32 {
    // SAFETY: takes no pointers.
    unsafe { call(libc::SYS_getpid, [0; 6]) }.unwrap_or(0) as u32
}

/// Returns the effective user and group.
pub fn effective_ids() -> (u32, u32) {
    // SAFETY: takes no pointers.
    let user = unsafe { call(libc::SYS_geteuid, [0; 6]) };
    // SAFETY: takes no pointers.
    let group = unsafe { call(libc::SYS_getegid, [0; 6]) };
    (user.unwrap_or(0) as u32, group.unwrap_or(0) as u32)
}

/// Returns the array that execve(2) would be given.
pub fn environment() -> *const *const c_char {
    // SAFETY: libc defines it; a racing change is the program's own fault, as for getenv(3).
    unsafe { environ }
}

/// Returns the value of a variable of this process.
pub fn variable<'a>(name: &[u8]) -> Option<&'a CStr> {
    // SAFETY: environ is an array of C strings that ends with NULL.
    let found = unsafe { crate::exec::find_variable(environment(), name) }?;
    // SAFETY: a C string of the environment; `'a` as long as the program leaves it alone, as for getenv(3).
    unsafe { c_text(found) }
}

/// Returns the path that execve(2) was given for this program (getauxval(3), AT_EXECFN): a script's own.
pub fn executed_as() -> Option<&'static CStr> {
    // SAFETY: takes no pointers.
    let path = unsafe { libcs::getauxval(libc::AT_EXECFN) };
    // SAFETY: 0, or a C string that the kernel put above the stack.
    unsafe { c_text(path as *const c_char) }
}

/// Bytes of the kernel's `struct utsname` (new_utsname).
pub const FACTS_BYTES: usize = size_of::<libc::utsname>();

/// Where the node's name is in it.
pub const NODE_AT: usize = core::mem::offset_of!(libc::utsname, nodename);

/// How long it is at most, with its NUL.
pub const NODE_BYTES: usize = 65;

/// What uname(2) says, as the kernel writes it.
pub fn machine_facts() -> Option<[u8; FACTS_BYTES]> {
    let mut facts = [0; FACTS_BYTES];
    // SAFETY: room for an utsname.
    unsafe { call(libc::SYS_uname, [facts.as_mut_ptr() as usize, 0, 0, 0, 0, 0]) }.ok()?;
    Some(facts)
}

/// Name of this machine, as uname(2) tells.
pub struct HostName {
    bytes: [u8; 65],
}

impl HostName {
    /// Asks the kernel.
    pub fn of_this_machine() -> Self {
        let mut bytes = [0; 65];
        let mut facts = core::mem::MaybeUninit::<libc::utsname>::zeroed();
        // SAFETY: room for an utsname.
        let done = unsafe { call(libc::SYS_uname, [facts.as_mut_ptr() as usize, 0, 0, 0, 0, 0]) };
        // SAFETY: all zeroes is a valid utsname, and so is what the kernel writes.
        let facts = unsafe { facts.assume_init() };
        if done.is_ok() {
            for (to, from) in bytes.iter_mut().zip(facts.nodename) {
                *to = from as u8;
            }
        }
        Self { bytes }
    }

    /// The name; empty when unknown.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// Returns nanoseconds since the machine's start, of which it may have slept some: what starttime of proc(5) counts in.
pub fn since_boot_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Says why on standard error, and ends this process as abort(3) does.
pub fn end(why: &str) -> ! {
    // SAFETY: text of the length given.
    let _ = unsafe { call(libc::SYS_write, [2, why.as_ptr() as usize, why.len(), 0, 0, 0]) };
    // SAFETY: takes nothing.
    unsafe { libc::abort() }
}

/// Has `run` called in every child of fork(2) (not of vfork or clone), first thing there.
pub fn after_fork_in_child(run: extern "C" fn()) {
    // SAFETY: a function that lives as long as the library, which is never unloaded; it only makes raw calls.
    let _ = unsafe { libcs::__register_atfork(None, None, Some(run), null_mut()) };
}
