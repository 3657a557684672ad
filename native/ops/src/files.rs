//! Reading the pod's files: the same call on the replica, once the replica has what it needs.
//!
//! Each function returns None for a call that is to be made as it came.
//!
//! The replica's entries are placeholders until the session is asked for more; a placeholder without its content (a
//! file) or without all its members (a directory) has [`MARK`] as its access time. So most calls ask nobody:
//!
//! ```text
//! look (stat, access, readlink…)  the replica has it: done
//!                                 ENOENT, the nearest directory above has all its members, and then still
//!                                 none that leads there: so it is
//!                                 else ask for the entry, and look again
//! open for reading                as above, then: marked → ask for the content, and open again
//! ```

use core::ffi::CStr;

use inpod_rules::paths::PathText;
use inpod_rules::FilesMode;
use inpod_sys::files::{self, Facts, AT_CWD};
use inpod_sys::{errno, Errno};
use inpod_wire::{Request, Want};

use crate::guard::{fail, guarded, Outcome};
use crate::place::{as_c_str, is_plainly_local, place, pod_path_of, Caller, Place};
use crate::session::ask;
use crate::state::State;

/// Access time (seconds, nanoseconds) of what is not complete. Twin: MARK_NS of session/files/replica.py.
const MARK: (i64, i64) = (1, 1);

/// How often an open asks, when what was complete is taken back meanwhile.
const TRIES: usize = 4;

/// Makes the call, with a directory and a path.
pub type Call<'c, R> = &'c dyn Fn(i32, &CStr) -> R;

/// A call on the replica.
struct InReplica<'a> {
    state: &'a State,
    path: &'a CStr,
    pod_path: &'a [u8],
}

/// What is to be done after a look at the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// What the replica says is true.
    Done,
    /// The session was asked: look again.
    Again,
    /// The pod says no, with this errno.
    No(i32),
}

/// stat and its like. `want`: [`Want::Lstat`] or [`Want::Stat`].
pub fn look<R: Outcome>(caller: &Caller<'_>, dir: i32, path: &CStr, want: Want, call: Call<'_, R>) -> Option<R> {
    redirected(caller, dir, path, call, |at| at.looked(want, call))
}

/// chdir.
pub fn enter(caller: &Caller<'_>, dir: i32, path: &CStr, call: Call<'_, i32>) -> Option<i32> {
    redirected(caller, dir, path, call, |at| {
        // Before the call: another thread may use a relative path as soon as we are there.
        at.state.table.set_pod_directory_seen();
        at.looked(Want::Stat, call)
    })
}

/// open and its like.
pub fn open(caller: &Caller<'_>, dir: i32, path: &CStr, flags: i32, call: Call<'_, i32>) -> Option<i32> {
    if writes(flags) {
        return on_this_machine(caller, dir, path, call);
    }
    redirected(caller, dir, path, call, |at| {
        let want = if flags & libc::O_DIRECTORY != 0 { Want::List } else { Want::Read };
        for _ in 0..TRIES {
            let fd = call(AT_CWD, at.path);
            if fd == -1 && errno::get() != libc::ENOENT {
                return Some(fd);
            }
            let next = if fd == -1 { guarded(|| at.missing(want)) } else { guarded(|| at.opened(fd)) };
            match next {
                Some(Next::Done) if fd == -1 => return Some(fail(libc::ENOENT)),
                Some(Next::Done) => return Some(fd),
                Some(Next::No(number)) => return Some(fail(number)),
                Some(Next::Again) => {}
                None => return None,
            }
        }
        Some(fail(libc::EIO))
    })
}

/// fopen, opendir and their like, where libc opens and reads by itself. `want`: [`Want::Read`] or [`Want::List`].
///
/// inotify_add_watch too: what is fetched later would look like a change.
pub fn contents<R: Outcome>(caller: &Caller<'_>, dir: i32, path: &CStr, want: Want, call: Call<'_, R>) -> Option<R> {
    redirected(caller, dir, path, call, |at| match guarded(|| at.complete(want))? {
        Ok(()) => Some(call(AT_CWD, at.path)),
        Err(Errno(number)) => Some(fail(number)),
    })
}

/// Has the content of a program of the pod be in the replica. `text`: its path there; the pod's is the part of it from `from`
/// to `to`. None: a fault of ours.
pub(crate) fn complete(state: &State, text: &PathText, from: usize, to: usize) -> Option<Result<(), Errno>> {
    let pod_path = text.as_bytes().get(from..to)?;
    InReplica { state, path: as_c_str(text), pod_path }.complete(Want::Execute)
}

/// A call that writes: on this machine, also where the program stands in a directory of the pod.
pub fn on_this_machine<R>(caller: &Caller<'_>, dir: i32, path: &CStr, call: Call<'_, R>) -> Option<R> {
    if path.to_bytes().starts_with(b"/") || is_plainly_local(caller.state, path.to_bytes()) {
        return None;
    }
    let mut text = PathText::default();
    match guarded(|| place(caller, dir, path.to_bytes(), &mut text)) {
        Some(Place::Here) => Some(call(AT_CWD, as_c_str(&text))),
        Some(Place::Pod { from, .. }) => {
            text.cut_front(from);
            Some(call(AT_CWD, as_c_str(&text)))
        }
        Some(Place::AsIs) | None => None,
    }
}

/// Puts into `text` where the replica has a path, which may be one in the replica already; false: it is not the pod's.
pub fn pods_path(caller: &Caller<'_>, path: &CStr, text: &mut PathText) -> bool {
    if pod_path_of(caller.state, path.to_bytes()).is_some() {
        return text.push(path.to_bytes());
    }
    matches!(placed(caller, path, text), Some(Place::Pod { .. }))
}

/// Has the replica have what is at a path of it (or what a link there leads to) and, of a folder, its members: for who
/// will look by himself. Err: the members cannot be had.
pub fn prepare(state: &State, text: &PathText, is_followed: bool) -> Result<(), Errno> {
    let path = as_c_str(text);
    let Some(pod_path) = pod_path_of(state, text.as_bytes()) else { return Ok(()) };
    let at = InReplica { state, path, pod_path: pod_path.strip_suffix(b"/").unwrap_or(pod_path) };
    let (want, flags) = if is_followed { (Want::Stat, 0) } else { (Want::Lstat, libc::AT_SYMLINK_NOFOLLOW) };
    if files::look(AT_CWD, path, flags) == Err(Errno(libc::ENOENT)) {
        at.missing(want);
    }
    if files::look(AT_CWD, path, flags).is_ok_and(|found| found.is_dir()) {
        return at.complete(Want::List).unwrap_or(Ok(()));
    }
    Ok(())
}

/// Whether a path leads elsewhere than the kernel would take it: into the pod, or out of a directory of the pod.
pub fn leads_elsewhere(caller: &Caller<'_>, path: &CStr) -> bool {
    matches!(placed(caller, path, &mut PathText::default()), Some(Place::Pod { .. } | Place::Here))
}

/// Where a path leads that is not looked at from a descriptor. None: nobody asks the rules.
fn placed(caller: &Caller<'_>, path: &CStr, text: &mut PathText) -> Option<Place> {
    let is_ours = caller.state.rules.files != FilesMode::Local && !is_plainly_local(caller.state, path.to_bytes());
    if is_ours {
        place(caller, AT_CWD, path.to_bytes(), text)
    } else {
        None
    }
}

/// Whether open(2) flags ask for more than reading.
fn writes(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0
}

/// Calls `pod` for a path of the pod, `call` for one that led out of a directory of the pod.
fn redirected<R: Outcome>(
    caller: &Caller<'_>,
    dir: i32,
    path: &CStr,
    call: Call<'_, R>,
    pod: impl FnOnce(&InReplica<'_>) -> Option<R>,
) -> Option<R> {
    let state = caller.state;
    if state.rules.files == FilesMode::Local || is_plainly_local(state, path.to_bytes()) {
        return None;
    }
    let mut text = PathText::default();
    match guarded(|| place(caller, dir, path.to_bytes(), &mut text)) {
        Some(Place::Here) => Some(call(AT_CWD, as_c_str(&text))),
        Some(Place::Pod { from, to }) => {
            let pod_path = text.as_bytes().get(from..to).unwrap_or_default();
            let before = errno::get();
            let done = pod(&InReplica { state, path: as_c_str(&text), pod_path });
            if done.is_none_or(|done| !done.has_failed()) {
                // The tries on the way there are no business of the program.
                errno::set(before);
            }
            done
        }
        Some(Place::AsIs) | None => None,
    }
}

impl InReplica<'_> {
    fn looked<R: Outcome>(&self, want: Want, call: Call<'_, R>) -> Option<R> {
        let first = call(AT_CWD, self.path);
        if !first.has_failed() || errno::get() != libc::ENOENT {
            return Some(first);
        }
        match guarded(|| self.missing(want))? {
            Next::Done => Some(fail(libc::ENOENT)),
            Next::Again => Some(call(AT_CWD, self.path)),
            Next::No(number) => Some(fail(number)),
        }
    }

    /// The replica has no such path: nor has the pod, or the session must be asked.
    fn missing(&self, want: Want) -> Option<Next> {
        if self.is_surely_missing() {
            return Some(Next::Done);
        }
        self.ask(want)
    }

    /// Something was opened: is it complete? Closes it when not.
    fn opened(&self, fd: i32) -> Option<Next> {
        let found = files::look_at(fd).ok()?;
        if found.is_dir() {
            self.state.table.set_pod_directory_seen();
        }
        // Also for O_PATH: the descriptor can be opened anew by its link in /proc.
        if !is_marked(&found) {
            return Some(Next::Done);
        }
        files::close(fd);
        self.ask(if found.is_dir() { Want::List } else { Want::Read })
    }

    /// Makes what is about to be opened complete.
    fn complete(&self, want: Want) -> Option<Result<(), Errno>> {
        for _ in 0..TRIES {
            match self.prepared(want)? {
                Next::Done => return Some(Ok(())),
                Next::No(number) => return Some(Err(Errno(number))),
                Next::Again => {}
            }
        }
        Some(Err(Errno(libc::EIO)))
    }

    fn prepared(&self, want: Want) -> Option<Next> {
        match files::look(AT_CWD, self.path, 0) {
            Ok(found) => {
                if found.is_dir() {
                    self.state.table.set_pod_directory_seen();
                }
                if is_marked(&found) {
                    return self.ask(if found.is_dir() { Want::List } else { Want::Read });
                }
                Some(Next::Done)
            }
            Err(Errno(libc::ENOENT)) => match self.missing(want)? {
                Next::Done => Some(Next::No(libc::ENOENT)),
                next => Some(next),
            },
            Err(Errno(number)) => Some(Next::No(number)),
        }
    }

    /// Whether of the folders above, the nearest one that is there has all its members.
    ///
    /// Never part of its caller, whose frame would keep the room for the path while it asks: stacks may be small.
    #[inline(never)]
    fn is_surely_missing(&self) -> bool {
        let mut above = PathText::default();
        let path = self.path.to_bytes();
        let path = path.strip_suffix(b"/").unwrap_or(path);
        if !above.push(path) {
            return false;
        }
        let look = |path: &PathText, flags| files::look(AT_CWD, as_c_str(path), flags);
        let mut member_end = path.len();
        // The replica's root is there, whatever is not.
        while let Some(end) = above.as_bytes().iter().rposition(|byte| *byte == b'/') {
            above.truncate(end);
            match look(&above, 0) {
                Ok(found) if found.is_dir() && !is_marked(&found) => {
                    // The member was looked for before, and may have come with all others between the two; or it is
                    // a link that leads to what is not there yet.
                    let member = path.get(end..member_end).unwrap_or_default();
                    return above.push(member) && look(&above, libc::AT_SYMLINK_NOFOLLOW) == Err(Errno(libc::ENOENT));
                }
                Ok(_) => return false,
                // A link that leads to what is not there yet is no proof.
                Err(Errno(libc::ENOENT)) if look(&above, libc::AT_SYMLINK_NOFOLLOW).is_err() => member_end = end,
                Err(_) => return false,
            }
        }
        false
    }

    fn ask(&self, want: Want) -> Option<Next> {
        // With a slash at its end, the call is about what a link leads to.
        let is_followed = want == Want::Lstat && self.path.to_bytes().ends_with(b"/");
        let want = if is_followed { Want::Stat } else { want };
        let request = Request::File { want, path: self.pod_path };
        ask(self.state, &request, None, |number, _| Some(if number == 0 { Next::Again } else { Next::No(number) }))
    }
}

fn is_marked(found: &Facts) -> bool {
    (found.is_dir() || found.is_file()) && found.accessed == MARK
}
