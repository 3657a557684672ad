//! Which file is executed for a path: the pod's, where only the pod has it.
//!
//! What this machine has at an absolute path is executed as ever: it is what was built here to stand in the pod.
//!
//! The kernel would look for the interpreter of a script on this machine only, and tell it the replica's path of the
//! script. So where a file of the pod is on the way, interpreters are followed here, as execve(2) does.

use core::ffi::CStr;

use inpod_rules::elf::{self, Program, Why, HEAD_BYTES};
use inpod_rules::paths::PathText;
use inpod_rules::scripts::ScriptLine;
use inpod_rules::FilesMode;
use inpod_sys::files::{self, Facts, OwnedFd, AT_CWD};
use inpod_sys::{process, status, Errno};

use crate::files::complete;
use crate::place::{as_c_str, is_plainly_local, place, pod_path_of, Caller, Place};

/// How many interpreters of interpreters are followed: as the kernel (execve(2)).
const MAX_SCRIPTS: usize = 5;

/// What is executed in the place of a path. Room for a path is taken only where it becomes another: nearly none does, and
/// who starts many programs would fill it for each.
#[derive(Default)]
pub struct Way {
    /// The path as it was given.
    given: Option<PathText>,
    /// The file at the end of the way: in the replica, or an interpreter of this machine.
    file: Option<PathText>,
    lines: [Option<ScriptLine>; MAX_SCRIPTS],
}

/// What an exec comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The kernel finds by itself what it needs. None: the layer will be in the program, or it is none that we know.
    AsIs(Option<Why>),
    /// The way says what is to be executed instead.
    Elsewhere(Option<Why>),
    /// It fails with this errno.
    Fails(i32),
}

enum File {
    AsIs,
    Elsewhere,
    Fails(i32),
}

impl Way {
    /// The path as it was given, where another is executed.
    pub fn given(&self) -> &CStr {
        self.given.as_ref().map(as_c_str).unwrap_or_default()
    }

    /// What is to be executed instead.
    pub fn file(&self) -> &CStr {
        self.file.as_ref().map(as_c_str).unwrap_or_default()
    }

    /// Whether the arguments change: the first one is replaced by [`Self::words`].
    pub fn is_script(&self) -> bool {
        self.lines.iter().any(Option::is_some)
    }

    /// Interpreters with their arguments, and the path as it was given.
    pub fn words(&self) -> impl Iterator<Item = &CStr> + Clone {
        let lines = self.lines.iter().rev().flatten();
        let words = lines.flat_map(|line| [Some(line.interpreter()), line.argument()]);
        words.flatten().chain([self.given()])
    }
}

/// Follows a path to what is executed in the end. `way` is an empty one. None: a fault of ours, or too long for us.
pub fn follow(caller: &Caller<'_>, dir: i32, given: &CStr, way: &mut Way) -> Option<Found> {
    let mut is_refused = false;
    for depth in 0..=MAX_SCRIPTS {
        let script = depth.checked_sub(1).and_then(|before| *way.lines.get(before)?);
        let (dir, path) = script.as_ref().map_or((dir, given), |line| (AT_CWD, line.interpreter()));
        match find(caller, dir, path, &mut way.file)? {
            File::AsIs => {}
            File::Elsewhere if way.given.is_some() => {}
            File::Elsewhere => {
                // The interpreter knows nothing of a directory's descriptor.
                let is_named = dir == AT_CWD || path.to_bytes().starts_with(b"/");
                let pod_path = way.file.as_ref().and_then(|file| pod_path_of(caller.state, file.as_bytes()));
                let told = pod_path.filter(|_| !is_named).unwrap_or(given.to_bytes());
                put(&mut way.given, told)?;
            }
            File::Fails(number) => return Some(Found::Fails(number)),
        }
        let file = way.file.as_ref().map_or(path, as_c_str);
        let (why, line) = match caller.open_here(dir, file, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY) {
            Ok(opened) => {
                let (why, line) = look_at(&opened);
                let line = line.filter(|line| !line.interpreter().is_empty());
                // Of a script that the kernel is not given nobody else asks.
                let is_refused_here = || status::access(opened.raw(), c"", libc::X_OK, libc::AT_EMPTY_PATH);
                is_refused |= line.is_some() && is_refused_here() == Err(Errno(libc::EACCES));
                (why, line)
            }
            Err(Errno(libc::EACCES)) => (why_closed(caller, dir, file), None),
            // What cannot be looked at is the kernel's to refuse.
            Err(_) => (None, None),
        };
        match (line, way.lines.get_mut(depth)) {
            (Some(line), Some(place)) => *place = Some(line),
            (Some(_), None) => break,
            (None, _) if way.given.is_none() => return Some(Found::AsIs(why)),
            (None, _) if is_refused => return Some(Found::Fails(libc::EACCES)),
            (None, _) => {
                if way.file.is_none() {
                    put(&mut way.file, path.to_bytes())?;
                }
                return Some(Found::Elsewhere(why));
            }
        }
    }
    Some(if way.given.is_some() { Found::Fails(libc::ELOOP) } else { Found::AsIs(None) })
}

fn put(place: &mut Option<PathText>, path: &[u8]) -> Option<()> {
    place.insert(PathText::default()).push(path).then_some(())
}

/// Finds one file, and puts its path into `text` when it is elsewhere.
fn find(caller: &Caller<'_>, dir: i32, path: &CStr, text: &mut Option<PathText>) -> Option<File> {
    *text = None;
    let state = caller.state;
    if state.rules.files == FilesMode::Local || is_plainly_local(state, path.to_bytes()) {
        return Some(File::AsIs);
    }
    let room = text.insert(PathText::default());
    let found = place(caller, dir, path.to_bytes(), room)?;
    let is_here = || path.to_bytes().starts_with(b"/") && files::look(AT_CWD, path, 0).is_ok();
    let file = match found {
        Place::AsIs => File::AsIs,
        Place::Here => File::Elsewhere,
        Place::Pod { .. } if is_here() => File::AsIs,
        Place::Pod { from, to } => match complete(state, room, from, to)? {
            Ok(()) => File::Elsewhere,
            Err(Errno(libc::ENOENT)) => File::AsIs,
            Err(Errno(number)) => File::Fails(number),
        },
    };
    if matches!(file, File::AsIs) {
        *text = None;
    }
    Some(file)
}

/// Why the layer cannot be in a program; of a script its first line.
fn look_at(file: &OwnedFd) -> (Option<Why>, Option<ScriptLine>) {
    let Some(facts) = files::look_at(file.raw()).ok().filter(Facts::is_file) else { return (None, None) };
    let mut head = [0; HEAD_BYTES];
    let length = files::read_at(file, 0, &mut head);
    let head = head.get(..length).unwrap_or_default();
    match elf::look(head, |offset, room| files::read_at(file, offset, room)) {
        Program::Reachable => (gains_rights(&facts).then_some(Why::SetId), None),
        Program::Beyond(why) => (Some(why), None),
        Program::Script => (None, ScriptLine::parse(head)),
    }
}

/// What is to be said of a program that may not be read. None: nor may it be executed, and the kernel refuses it.
fn why_closed(caller: &Caller<'_>, dir: i32, path: &CStr) -> Option<Why> {
    let file = caller.open_here(dir, path, libc::O_PATH).ok()?;
    let facts = files::look_at(file.raw()).ok().filter(Facts::is_file)?;
    status::access(file.raw(), c"", libc::X_OK, libc::AT_EMPTY_PATH).ok()?;
    Some(if gains_rights(&facts) { Why::SetId } else { Why::Unreadable })
}

/// Whether the program runs with other rights than ours: ld.so then ignores LD_PRELOAD.
fn gains_rights(facts: &Facts) -> bool {
    if facts.mode & (libc::S_ISUID | libc::S_ISGID) == 0 {
        return false;
    }
    let (user, group) = process::effective_ids();
    (facts.mode & libc::S_ISUID != 0 && facts.uid != user) || (facts.mode & libc::S_ISGID != 0 && facts.gid != group)
}
