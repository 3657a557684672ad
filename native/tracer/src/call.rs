//! One thread that waits in a trapped call: its arguments, its memory, its descriptors.

use core::ffi::CStr;
use std::cell::Cell;

use inpod_ops::place::{Caller, Other};
use inpod_ops::skipped;
use inpod_ops::state::State;
use inpod_rules::paths::PATH_MAX;
use inpod_rules::Addr;
use inpod_sys::files::OwnedFd;
use inpod_sys::ptrace::Stopped;
use inpod_sys::seccomp::{self, Notification};
use inpod_sys::sockaddr::{self, SockAddr, SOCKADDR_BYTES, UNIX_BYTES};
use inpod_sys::text::until_nul;
use inpod_sys::{other, Errno};

use crate::known::Known;
use crate::opened::Opened;

/// A path with the NUL at its end.
pub type PathRoom = [u8; PATH_MAX];

const PAGE: u64 = 4096;

/// What becomes of a call.
pub enum Outcome {
    /// The kernel makes it, as it is.
    GoOn,
    /// It ends so.
    Done(Result<i64, Errno>),
    /// It ends with this descriptor; flags: 0 or O_CLOEXEC.
    Fd(OwnedFd, u32),
    /// It was ended otherwise.
    Answered,
    /// It takes long: decide it again, where nobody waits behind it.
    Later,
}

impl From<Result<i64, Errno>> for Outcome {
    fn from(result: Result<i64, Errno>) -> Self {
        Self::Done(result)
    }
}

/// The call.
pub struct Call<'a> {
    /// Of the session.
    pub state: &'a State,
    /// Whether it may take long.
    pub may_wait: bool,
    listener: i32,
    notification: Notification,
    known: &'a Known,
    opened: &'a Opened,
    is_closed: Cell<bool>,
    has_traced: Cell<bool>,
}

impl<'a> Call<'a> {
    /// For one reading of the listener.
    pub fn new(
        state: &'a State,
        known: &'a Known,
        opened: &'a Opened,
        listener: i32,
        notification: Notification,
        may_wait: bool,
    ) -> Self {
        Self {
            state,
            may_wait,
            listener,
            notification,
            known,
            opened,
            is_closed: Cell::new(false),
            has_traced: Cell::new(false),
        }
    }

    /// For decisions about paths.
    pub fn caller(&self) -> Caller<'_> {
        Caller::other(self.state, self)
    }

    /// gettid(2) of the thread.
    pub fn thread(&self) -> u32 {
        self.notification.thread
    }

    /// The thread is about to be another program.
    pub fn executes(&self) {
        if self.state.rules.skips_some() {
            self.known.executes(self.thread(), || self.is_waiting());
        }
    }

    /// An argument whole: an address, or a size.
    pub fn argument(&self, index: usize) -> u64 {
        self.notification.arguments.get(index).copied().unwrap_or(0)
    }

    /// An argument of type int: the kernel takes the low half.
    pub fn int(&self, index: usize) -> i32 {
        self.argument(index) as i32
    }

    /// Whether the kernel has refused us a look into the process (ptrace(2), "Ptrace access mode checking").
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Whether this thread has stopped, or tried to stop, the one that called.
    pub fn has_traced(&self) -> bool {
        self.has_traced.get()
    }

    /// Whether the thread still waits: its number, and what was opened by it, are of this very thread.
    pub fn is_waiting(&self) -> bool {
        seccomp::is_waiting(self.listener, self.notification.id)
    }

    /// Ends the call, has the thread make others in its place, and returns what the last of them did. Only without a
    /// debugger, and where it may take long; a failure of ours is the thread's end.
    ///
    /// None of `make`: the thread is another program now.
    pub fn instead(&self, make: impl FnOnce(&mut Stopped) -> Option<Result<u64, Errno>>) -> Outcome {
        self.has_traced.set(true);
        let Ok(mut stopped) = Stopped::soon(self.thread()) else { return Outcome::GoOn };
        if !self.is_waiting() {
            // It was killed, and the one that has its number goes on as it is.
            return Outcome::Answered;
        }
        seccomp::answer(self.listener, self.notification.id, Err(Errno(libc::EINTR)));
        if stopped.begin().is_ok() {
            if let Some(result) = make(&mut stopped) {
                let _ = stopped.end(result);
            }
        }
        Outcome::Answered
    }

    /// Gives the thread's process a copy of a descriptor of ours, not inherited by programs.
    pub fn give_fd(&self, fd: &OwnedFd) -> Result<i32, Errno> {
        seccomp::give_fd(self.listener, self.notification.id, fd)
    }

    /// Returns a copy of the descriptor that an argument names.
    pub fn fd(&self, index: usize) -> Option<OwnedFd> {
        self.look(|thread| other::copy_fd(thread, self.int(index)))
    }

    fn look<T>(&self, look: impl Fn(&OwnedFd) -> Result<T, Errno>) -> Option<T> {
        self.noticed(self.opened.look(self.thread(), || self.is_waiting(), look)).ok()
    }

    /// Returns the path at an argument. None: NULL, too long, or not to be read; the kernel will say.
    pub fn path<'r>(&self, index: usize, room: &'r mut PathRoom) -> Option<&'r CStr> {
        let start = self.argument(index);
        let mut length = 0;
        while length < room.len() {
            let at = start.checked_add(length as u64)?;
            // Page by page, as the next one may not be there. Most paths are short: less is copied first.
            let to_end = (PAGE - at % PAGE) as usize;
            let wanted = to_end.min(if length == 0 { 256 } else { room.len() - length });
            let part = room.get_mut(length..length + wanted)?;
            let got = self.noticed(other::read_memory(self.thread(), at, part)).ok().filter(|got| *got > 0)?;
            if part.iter().take(got).any(|byte| *byte == 0) {
                return until_nul(room);
            }
            length += got;
        }
        None
    }

    /// Reads memory at an address; false when it is not all there.
    pub fn read(&self, at: u64, room: &mut [u8]) -> bool {
        self.noticed(other::read_memory(self.thread(), at, room)).is_ok_and(|got| got == room.len())
    }

    fn noticed<T>(&self, done: Result<T, Errno>) -> Result<T, Errno> {
        if matches!(done, Err(Errno(libc::EPERM))) {
            self.is_closed.set(true);
        }
        done
    }

    /// Writes memory at an address.
    pub fn write(&self, at: u64, data: &[u8]) -> Result<(), Errno> {
        other::write_memory(self.thread(), [(at, data)])
    }

    /// Reads the address that the program passes. None: not of IP.
    pub fn address(&self, at: usize, length: usize) -> Option<Addr> {
        let mut room = [0; SOCKADDR_BYTES];
        let length = (self.int(length).max(0) as usize).min(room.len());
        let room = room.get_mut(..length)?;
        if self.argument(at) == 0 || !self.read(self.argument(at), room) {
            return None;
        }
        sockaddr::parse(room)
    }

    /// Reads the path of a unix socket's address into `room`. None: it has none.
    pub fn unix_path<'r>(&self, at: usize, length: usize, room: &'r mut [u8; UNIX_BYTES]) -> Option<&'r [u8]> {
        let length = (self.int(length).max(0) as usize).min(room.len());
        let room = room.get_mut(..length)?;
        if self.argument(at) == 0 || !self.read(self.argument(at), room) {
            return None;
        }
        sockaddr::unix_path(room)
    }

    /// Gives the program an address as accept(2) does: cut to its room, the length set to what there was.
    pub fn give_address(&self, at: u64, length_at: u64, given: &SockAddr) -> Result<(), Errno> {
        if at == 0 || length_at == 0 {
            return Ok(());
        }
        let mut room = [0; 4];
        if !self.read(length_at, &mut room) {
            return Err(Errno(libc::EFAULT));
        }
        let bytes = given.as_bytes();
        let room = (u32::from_ne_bytes(room) as usize).min(bytes.len());
        let length = given.length().to_ne_bytes();
        other::write_memory(self.thread(), [(at, bytes.get(..room).unwrap_or_default()), (length_at, &length)])
    }

    /// Whether a signal waits that the thread would take: what waits on must then end with EINTR.
    pub fn is_signalled(&self) -> bool {
        let Some(status) = self.status() else { return true };
        let set = |name| fact(&status, name).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
        (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") & !set("SigIgn:") != 0
    }

    /// Whether an exec brings it no rights (no_new_privs, prctl(2)).
    pub fn gains_no_rights(&self) -> bool {
        self.status().is_some_and(|status| fact(&status, "NoNewPrivs:") == Some("1"))
    }

    fn status(&self) -> Option<String> {
        std::fs::read_to_string(format!("/proc/{}/status", self.thread())).ok()
    }
}

impl Other for Call<'_> {
    fn thread(&self) -> u32 {
        self.thread()
    }

    fn is_skipped(&self) -> bool {
        let rules = &self.state.rules;
        let inode = || self.look(other::inode);
        let look = || skipped::is_skipped(rules, self.thread());
        rules.skips_some() && self.known.is_skipped(inode, look, || self.is_waiting())
    }
}

/// A line of /proc/PID/status (proc(5)).
fn fact<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
