//! Children: the layer stays in those it can be in; of the others those that can be traced are started by `inpod-trace`,
//! and the rest runs without it.
//!
//! Runs in vfork children too: no heap, no seats of the session's pool (see `session`).

use core::ffi::CStr;

use inpod_ops::place::{as_c_str, is_plainly_local, Caller};
use inpod_ops::programs::{follow, Found, Way};
use inpod_ops::session::ask;
use inpod_ops::state::{State, EXEC_VARIABLE, PRELOAD_VARIABLE, SESSION_VARIABLE};
use inpod_rules::elf::Why;
use inpod_rules::environment::{is_trace, names_layer, others};
use inpod_rules::paths::{PathText, PATH_MAX};
use inpod_sys::exec::Change;
use inpod_sys::files::{self, AT_CWD};
use inpod_sys::proc::ProcPath;
use inpod_sys::Errno;
use inpod_wire::Request;

/// Where execvp looks without PATH (confstr(3), _CS_PATH).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// What a child's environment becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// The layer is put back where the program took it out.
    Reachable,
    /// The layer is taken out, and `inpod-trace` becomes the program.
    Traced,
    /// The layer is taken out.
    Beyond,
}

/// What a child is to be, and where that is kept.
#[derive(Default)]
pub struct Planned {
    /// The file, and a script's interpreters.
    pub way: Way,
    /// "INPOD_EXEC=PATH" of a traced child. The room is taken only where there is one: nearly every child has none, and a
    /// forked one would pay for each page.
    traced: Option<PathText>,
    /// Whether `way` is to be gone, instead of the path as it is.
    pub is_elsewhere: bool,
}

/// Values of a child's environment as the program wants it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// LD_PRELOAD.
    pub preload: Option<&'a CStr>,
    /// INPOD_SESSION.
    pub session: Option<&'a CStr>,
}

/// Looks at the program at `path`, and warns the session of one that nothing reaches. Err: the exec fails so. None: it is
/// not ours.
pub fn look(state: &State, dir: i32, path: &CStr, planned: &mut Planned) -> Option<Result<Child, Errno>> {
    looked(state, dir, path, planned, true)
}

fn looked(
    state: &State,
    dir: i32,
    path: &CStr,
    planned: &mut Planned,
    may_trace: bool,
) -> Option<Result<Child, Errno>> {
    if is_trace(path.to_bytes()) {
        // An inpod inside knows what it wants.
        return None;
    }
    let why = match follow(&Caller::own(state), dir, path, &mut planned.way)? {
        Found::Fails(number) => return Some(Err(Errno(number))),
        Found::AsIs(why) => why,
        Found::Elsewhere(why) => {
            planned.is_elsewhere = true;
            why
        }
    };
    Some(Ok(match why {
        None => Child::Reachable,
        Some(Why::Static | Why::Go | Why::Bun | Why::Musl)
            if may_trace && becomes_traced(state, dir, path, planned) =>
        {
            Child::Traced
        }
        Some(why) => {
            // Whether it is heard does not matter to the child.
            let _ = ask(state, &Request::Warn { why: why.word(), path: path.to_bytes() }, None, |_, _| Some(()));
            if why == Why::Unreadable {
                Child::Reachable
            } else {
                Child::Beyond
            }
        }
    }))
}

/// Whether `inpod-trace` can be started in the place of a program; puts the program's path where it will find it.
///
/// A program that may not be executed is left to the kernel, which says so.
fn becomes_traced(state: &State, dir: i32, path: &CStr, planned: &mut Planned) -> bool {
    let (dir, path) = if planned.is_elsewhere { (AT_CWD, planned.way.file()) } else { (dir, path) };
    let is_named = dir == AT_CWD || path.to_bytes().starts_with(b"/");
    if state.tracer.is_none() || !is_named || !files::is_executable(dir, path) {
        return false;
    }
    let text = planned.traced.insert(PathText::default());
    text.push(EXEC_VARIABLE) && text.push(b"=") && text.push(path.to_bytes())
}

/// As [`look`], for a name that execvp(3) searches: `path` is the value of PATH.
pub fn look_in_path(
    state: &State,
    name: &CStr,
    path: Option<&CStr>,
    planned: &mut Planned,
) -> Option<Result<Child, Errno>> {
    if name.to_bytes().contains(&b'/') {
        return look(state, AT_CWD, name, planned);
    }
    let places = path.map_or(DEFAULT_PATH, CStr::to_bytes);
    for place in places.split(|byte| *byte == b':') {
        let mut text = PathText::default();
        let place = if place.is_empty() { b"." } else { place };
        if text.push(place) && text.push(b"/") && text.push(name.to_bytes()) {
            let candidate = as_c_str(&text);
            let is_here = files::is_executable(AT_CWD, candidate);
            if !is_here && is_plainly_local(state, candidate.to_bytes()) {
                continue;
            }
            *planned = Planned::default();
            let looked = look(state, AT_CWD, candidate, planned);
            // What the pod has and may not be executed is passed by, as the kernel's EACCES would be.
            if is_here || (planned.is_elsewhere && files::is_executable(AT_CWD, planned.way.file())) {
                return looked;
            }
        }
    }
    *planned = Planned::default();
    Some(Ok(Child::Reachable))
}

/// As [`look`], for a descriptor. A program that is traced is executed by its path, where it has one: the descriptor may not
/// be open any more where `inpod-trace` looks.
pub fn look_at_fd(state: &State, fd: i32, planned: &mut Planned) -> Option<Result<Child, Errno>> {
    let link = ProcPath::of_fd(None, fd);
    let mut path = PathText::default();
    let mut room = [0; PATH_MAX];
    // Of what is there no more it says so behind the path, which then leads to nothing.
    let is_named =
        path.push(files::read_link(AT_CWD, link.as_c_str(), &mut room).ok()?) && path.as_bytes().starts_with(b"/");
    let path = as_c_str(&path);
    let is_named = is_named && files::look(AT_CWD, path, 0).is_ok();
    match looked(state, AT_CWD, if is_named { path } else { link.as_c_str() }, planned, is_named)? {
        // Scripts and all else the kernel does by the descriptor.
        Ok(child) => {
            planned.is_elsewhere = false;
            Some(Ok(child))
        }
        Err(_) => None,
    }
}

/// Returns what happens to our variables. `text` is room for a new LD_PRELOAD.
pub fn changes<'a>(
    state: &'a State,
    child: Child,
    wanted: Wanted<'_>,
    planned: &'a Planned,
    text: &'a mut Option<PathText>,
) -> [(&'static [u8], Change<'a>); 3] {
    let kept = if wanted.session.is_some() { Change::Keep } else { Change::Set(state.session_entry) };
    let (preload, session) = match child {
        Child::Reachable => (with_layer(state, wanted.preload, text), kept),
        Child::Traced => (without_layer(wanted.preload, text), kept),
        Child::Beyond => {
            (without_layer(wanted.preload, text), if wanted.session.is_some() { Change::Remove } else { Change::Keep })
        }
    };
    let exec = match &planned.traced {
        Some(text) if child == Child::Traced => Change::Set(as_c_str(text)),
        _ => Change::Keep,
    };
    [(PRELOAD_VARIABLE, preload), (SESSION_VARIABLE, session), (EXEC_VARIABLE, exec)]
}

fn with_layer<'a>(state: &'a State, wanted: Option<&CStr>, text: &'a mut Option<PathText>) -> Change<'a> {
    let Some(ours) = state.preload_entry else { return Change::Keep };
    match wanted.map(CStr::to_bytes) {
        None | Some(b"") => Change::Set(ours),
        Some(value) if names_layer(value) => Change::Keep,
        Some(value) => {
            let text = text.insert(PathText::default());
            let fits = text.push(ours.to_bytes()) && text.push(b":") && text.push(value);
            Change::Set(if fits { as_c_str(text) } else { ours })
        }
    }
}

fn without_layer<'a>(wanted: Option<&CStr>, text: &'a mut Option<PathText>) -> Change<'a> {
    let Some(value) = wanted.map(CStr::to_bytes).filter(|value| names_layer(value)) else { return Change::Keep };
    if others(value).next().is_none() {
        return Change::Remove;
    }
    let text = text.insert(PathText::default());
    let mut fits = text.push(PRELOAD_VARIABLE) && text.push(b"=");
    for (index, other) in others(value).enumerate() {
        fits = fits && (index == 0 || text.push(b":")) && text.push(other);
    }
    if fits {
        Change::Set(as_c_str(text))
    } else {
        Change::Remove
    }
}
