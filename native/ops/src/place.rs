//! Where a path leads: as it is, elsewhere on this machine, or into the replica.

use core::ffi::CStr;

use inpod_rules::paths::{is_normal, names_directory, PathText, Reached};
use inpod_sys::files::{self, OwnedFd, AT_CWD};
use inpod_sys::proc::ProcPath;
use inpod_sys::text::until_nul;
use inpod_sys::Errno;

use crate::state::State;

/// A thread of another process.
pub trait Other {
    /// Its number (gettid(2)).
    fn thread(&self) -> u32;

    /// Whether its program is left alone (see `skipped`).
    fn is_skipped(&self) -> bool;
}

/// Who makes a call.
pub struct Caller<'a> {
    /// Of its session.
    pub state: &'a State,
    other: Option<&'a dyn Other>,
}

impl<'a> Caller<'a> {
    /// This thread itself.
    pub fn own(state: &'a State) -> Self {
        Self { state, other: None }
    }

    /// Another one.
    pub fn other(state: &'a State, other: &'a dyn Other) -> Self {
        Self { state, other: Some(other) }
    }

    /// Returns the link in /proc to a directory that it has open, or ([`AT_CWD`]) stands in.
    fn link_to(&self, dir: i32) -> ProcPath {
        let thread = self.other.map(Other::thread);
        match dir {
            AT_CWD => ProcPath::of(thread, "cwd"),
            _ => ProcPath::of_fd(thread, dir),
        }
    }

    /// Opens what a path leads to on this machine.
    pub(crate) fn open_here(&self, dir: i32, path: &CStr, flags: i32) -> Result<OwnedFd, Errno> {
        if self.other.is_none() || path.to_bytes().starts_with(b"/") {
            return files::open(dir, path, flags);
        }
        let folder = files::open(AT_CWD, self.link_to(dir).as_c_str(), libc::O_PATH | libc::O_DIRECTORY)?;
        files::open(folder.raw(), path, flags)
    }

    /// Whether it is a program that is left alone. Of this process that was found out at its start.
    pub fn is_skipped(&self) -> bool {
        self.other.is_some_and(Other::is_skipped)
    }
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The program's own argument.
    AsIs,
    /// The absolute path that was put together: the path led out of a directory of the pod.
    Here,
    /// The replica's path that was put together; the pod's is the part of it from `from` to `to`.
    Pod {
        /// Length of the replica's own path.
        from: usize,
        /// Behind the pod's path; a slash may follow.
        to: usize,
    },
}

/// Whether a path is as it is without a closer look: nearly all are.
pub fn is_plainly_local(state: &State, path: &[u8]) -> bool {
    if path.starts_with(b"/") {
        let rules = &state.rules;
        return is_normal(path) && !rules.is_pod_path(path, Reached::ByName) && !rules.leads_to_mount(path);
    }
    path.is_empty() || !state.table.pod_directory_seen()
}

/// Decides where a path leads, and puts what it becomes into `text`. None: too long for us.
pub fn place(caller: &Caller<'_>, dir: i32, path: &[u8], text: &mut PathText) -> Option<Place> {
    let state = caller.state;
    let from = state.replica.len();
    let is_absolute = path.starts_with(b"/");
    if !text.push(state.replica) || (!is_absolute && !push_pod_directory(caller, dir, text)) {
        return Some(Place::AsIs);
    }
    // `/app/..` is a way out of the pod's /app, which this machine may not have.
    let mut has_left_pod = !is_absolute;
    let left = |folder: &[u8]| has_left_pod |= state.rules.is_pod_path(folder, Reached::ByName);
    if !text.push_normal(path, from, left) {
        return None;
    }
    let to = text.as_bytes().len();
    let pod_path = text.as_bytes().get(from..to)?;
    let reached = if is_absolute { Reached::ByName } else { Reached::ThroughPodDirectory };
    if state.rules.is_pod_path(pod_path, reached) || is_missing_here(state, pod_path, text, from) {
        if caller.is_skipped() {
            return Some(Place::AsIs);
        }
        // `a/` must be a directory and follows a link, whatever the call: the kernel knows.
        return (!names_directory(path) || text.push(b"/")).then_some(Place::Pod { from, to });
    }
    if !has_left_pod {
        return Some(Place::AsIs);
    }
    text.cut_front(from);
    (to > from || text.push(b"/")).then_some(Place::Here)
}

/// Whether `path`, which is `text` from `from` on, leads to a mount of the pod and this machine does not have it.
#[inline(never)]
fn is_missing_here(state: &State, path: &[u8], text: &PathText, from: usize) -> bool {
    state.rules.leads_to_mount(path)
        && text
            .with_nul()
            .get(from..)
            .and_then(until_nul)
            .is_some_and(|path| files::look(AT_CWD, path, libc::AT_SYMLINK_NOFOLLOW).err() == Some(Errno(libc::ENOENT)))
}

/// Adds the pod path of a directory that the program has open or stands in; false when it is not the pod's.
///
/// Never part of its caller, whose frame would keep the room for the link until the call is made: stacks may be small.
#[inline(never)]
fn push_pod_directory(caller: &Caller<'_>, dir: i32, text: &mut PathText) -> bool {
    let mut room = [0; inpod_rules::paths::PATH_MAX];
    let found = files::read_link(AT_CWD, caller.link_to(dir).as_c_str(), &mut room).ok();
    match found.and_then(|found| below_replica(caller.state, found)) {
        Some(below) => text.push(below),
        None => false,
    }
}

/// Returns the part of a path below the replica's root; None when it is not in the replica. Empty: the root itself.
fn below_replica<'p>(state: &State, path: &'p [u8]) -> Option<&'p [u8]> {
    path.strip_prefix(state.replica).filter(|rest| matches!(rest, [] | [b'/', ..]))
}

/// Returns the pod's path of a path in the replica, as the program is to see it; None when it is not in the replica.
pub fn pod_path_of<'p>(state: &State, path: &'p [u8]) -> Option<&'p [u8]> {
    below_replica(state, path).map(|below| if below.is_empty() { b"/".as_slice() } else { below })
}

/// The text as a C string.
pub fn as_c_str(text: &PathText) -> &CStr {
    until_nul(text.with_nul()).unwrap_or_default()
}
