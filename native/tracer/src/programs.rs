//! Executing what only the pod has: the thread makes another execve in the place of its own.
//!
//! Path and arguments of that lie in memory that the thread maps for them; its own stays as it is, as it may be that of a
//! parent that waits (vfork(2)), or the call may fail.

use core::ffi::CStr;

use inpod_ops::guard::guarded;
use inpod_ops::programs::{follow, Found, Way};
use inpod_ops::session::ask;
use inpod_rules::elf::Why;
use inpod_rules::paths::PATH_MAX;
use inpod_sys::files::AT_CWD;
use inpod_sys::ptrace::Stopped;
use inpod_sys::{other, Errno};
use inpod_wire::Request;

use crate::call::{Call, Outcome};

/// Arguments of a script of the pod.
const MAX_ARGUMENTS: usize = 1 << 16;

const WORD: usize = size_of::<u64>();

pub fn execve(call: &Call<'_>) -> Outcome {
    executed(call, AT_CWD, 0)
}

pub fn execveat(call: &Call<'_>) -> Outcome {
    // An empty path leads nowhere but to a descriptor, which is the kernel's own business.
    executed(call, call.int(0), 1)
}

/// The path's index is followed by those of arguments and environment.
fn executed(call: &Call<'_>, dir: i32, path: usize) -> Outcome {
    let mut room = [0; PATH_MAX];
    let mut way = Way::default();
    let given = call.path(path, &mut room);
    let found = given.and_then(|given| guarded(|| follow(&call.caller(), dir, given, &mut way)));
    // Not before: to follow a path of the pod is to look at who calls, and that is kept.
    call.executes();
    let Some((given, found)) = given.zip(found) else { return Outcome::GoOn };
    match found {
        Found::Fails(number) => Outcome::Done(Err(Errno(number))),
        Found::Elsewhere(_) if !call.may_wait => Outcome::Later,
        Found::AsIs(why) => {
            warn(call, why, given);
            Outcome::GoOn
        }
        Found::Elsewhere(why) => {
            warn(call, why, given);
            gone(call, path, &way)
        }
    }
}

/// Tells the session of a program that will not be what it is without us.
fn warn(call: &Call<'_>, why: Option<Why>, path: &CStr) {
    let why = match why {
        Some(Why::Bits32) => Why::Bits32.word(),
        Some(Why::SetId) if call.gains_no_rights() => "no-new-rights",
        _ => return,
    };
    // Whether it is heard does not matter to the program.
    let _ = ask(call.state, &Request::Warn { why, path: path.to_bytes() }, None, |_, _| Some(()));
}

fn gone(call: &Call<'_>, path: usize, way: &Way) -> Outcome {
    let (arguments, environment) = (call.argument(path + 1), call.argument(path + 2));
    let mut image = Image::default();
    image.text(way.file());
    if way.is_script() {
        let Some(rest) = strings(call, arguments) else { return Outcome::Done(Err(Errno(libc::E2BIG))) };
        image.arguments(way.words(), rest.get(1..).unwrap_or_default());
    }
    let thread = call.thread();
    call.instead(|stopped| {
        let base = match image.put(stopped, thread) {
            Ok(base) => base,
            Err(error) => return Some(Err(error)),
        };
        let arguments = image.list.map_or(arguments, |list| base + list as u64);
        match stopped.call(libc::SYS_execve, [base, arguments, environment, 0, 0, 0]) {
            Ok(_) => None,
            Err(error) => {
                let _ = stopped.call(libc::SYS_munmap, [base, image.bytes.len() as u64, 0, 0, 0, 0]);
                Some(Err(error))
            }
        }
    })
}

/// Returns the addresses in an array that ends with NULL. None: not to be read, or too many.
fn strings(call: &Call<'_>, at: u64) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    while at != 0 && found.len() < MAX_ARGUMENTS {
        let mut word = [0; WORD];
        if !call.read(at.checked_add((found.len() * WORD) as u64)?, &mut word) {
            return None;
        }
        match u64::from_ne_bytes(word) {
            0 => return Some(found),
            address => found.push(address),
        }
    }
    (at == 0).then_some(found)
}

/// Memory for another process: texts, and a list of some of them.
#[derive(Default)]
struct Image {
    bytes: Vec<u8>,
    /// Where the list is.
    list: Option<usize>,
    /// Where, in the list, addresses of these bytes are: yet without that of the first.
    inner: usize,
}

impl Image {
    fn text(&mut self, text: &CStr) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(text.to_bytes_with_nul());
        at
    }

    /// Adds texts, and the list of them, of `rest` and of NULL.
    fn arguments<'a>(&mut self, words: impl Iterator<Item = &'a CStr>, rest: &[u64]) {
        let words: Vec<u64> = words.map(|word| self.text(word) as u64).collect();
        self.bytes.resize(self.bytes.len().next_multiple_of(WORD), 0);
        self.list = Some(self.bytes.len());
        self.inner = words.len();
        for address in words.iter().chain(rest).chain(&[0]) {
            self.bytes.extend_from_slice(&address.to_ne_bytes());
        }
    }

    /// Has the thread map memory for it, and writes it there; returns where.
    fn put(&mut self, stopped: &mut Stopped, thread: u32) -> Result<u64, Errno> {
        let access = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        let base = stopped.call(libc::SYS_mmap, [0, self.bytes.len() as u64, access, flags, u64::MAX, 0])?;
        let list = self.list.and_then(|list| self.bytes.get_mut(list..)).unwrap_or_default();
        for word in list.chunks_exact_mut(WORD).take(self.inner) {
            let at = word.try_into().map_or(0, u64::from_ne_bytes);
            word.copy_from_slice(&(base + at).to_ne_bytes());
        }
        other::write_memory(thread, [(base, &self.bytes)])?;
        Ok(base)
    }
}
