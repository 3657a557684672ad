//! Children: the layer stays in those it can be in; of the others those that can be traced are started by `inpod-trace`,
//! and the rest runs without it.
//!
//! Runs in vfork children too: no heap, no seats of the session's pool (see `session`).

use core::ffi::CStr;

use inpod_ops::place::as_c_str;
use inpod_ops::session::ask;
use inpod_ops::state::{State, EXEC_VARIABLE, PRELOAD_VARIABLE, SESSION_VARIABLE};
use inpod_rules::elf::{self, Program, Why};
use inpod_rules::environment::{names_layer, others};
use inpod_rules::paths::PathText;
use inpod_sys::exec::Change;
use inpod_sys::files::{self, AT_CWD};
use inpod_sys::process;
use inpod_sys::text::until_nul;
use inpod_wire::Request;

/// How many interpreters of interpreters are followed: as the kernel (execve(2)).
const MAX_SCRIPTS: usize = 5;

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

/// "INPOD_EXEC=PATH" of a traced child.
#[derive(Default)]
pub struct TracedPath {
    text: PathText,
}

/// Values of a child's environment as the program wants it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// LD_PRELOAD.
    pub preload: Option<&'a CStr>,
    /// INPOD_SESSION.
    pub session: Option<&'a CStr>,
}

/// Looks at the program at `path`, and warns the session of one that nothing reaches.
pub fn look(state: &State, dir: i32, path: &CStr, traced: &mut TracedPath) -> Option<Child> {
    match why_beyond(dir, path, MAX_SCRIPTS) {
        None => Some(Child::Reachable),
        Some(Why::Static | Why::Go | Why::Musl) if becomes_traced(state, dir, path, traced) => Some(Child::Traced),
        Some(why) => {
            // Whether it is heard does not matter to the child.
            let _ = ask(state, &Request::Warn { why: why.word(), path: path.to_bytes() }, None, |_, _| Some(()));
            Some(Child::Beyond)
        }
    }
}

/// Whether `inpod-trace` can be started in the place of a program; puts the program's path where it will find it.
///
/// A program that may not be executed is left to the kernel, which says so.
fn becomes_traced(state: &State, dir: i32, path: &CStr, traced: &mut TracedPath) -> bool {
    let is_named = dir == AT_CWD || path.to_bytes().starts_with(b"/");
    let text = &mut traced.text;
    state.tracer.is_some()
        && is_named
        && files::is_executable(dir, path)
        && text.push(EXEC_VARIABLE)
        && text.push(b"=")
        && text.push(path.to_bytes())
}

/// As [`look`], for a name that execvp(3) searches: `path` is the value of PATH.
pub fn look_in_path(state: &State, name: &CStr, path: Option<&CStr>, traced: &mut TracedPath) -> Option<Child> {
    if name.to_bytes().contains(&b'/') {
        return look(state, AT_CWD, name, traced);
    }
    let places = path.map_or(DEFAULT_PATH, CStr::to_bytes);
    for place in places.split(|byte| *byte == b':') {
        let mut text = PathText::default();
        let place = if place.is_empty() { b"." } else { place };
        if text.push(place) && text.push(b"/") && text.push(name.to_bytes()) {
            let candidate = as_c_str(&text);
            if files::is_executable(AT_CWD, candidate) {
                return look(state, AT_CWD, candidate, traced);
            }
        }
    }
    Some(Child::Reachable)
}

/// As [`look`], for a descriptor. Never traced: it may not be open any more where `inpod-trace` looks.
pub fn look_at_fd(state: &State, fd: i32) -> Option<Child> {
    let mut name = [0; 32];
    std::io::Write::write_fmt(&mut name.as_mut_slice(), format_args!("/proc/self/fd/{fd}")).ok()?;
    match look(state, AT_CWD, until_nul(&name)?, &mut TracedPath::default())? {
        Child::Traced => Some(Child::Beyond),
        child => Some(child),
    }
}

/// Returns what happens to our variables. `text` is room for a new LD_PRELOAD.
pub fn changes<'a>(
    state: &'a State,
    child: Child,
    wanted: Wanted<'_>,
    traced: &'a TracedPath,
    text: &'a mut PathText,
) -> [(&'static [u8], Change<'a>); 3] {
    let kept = if wanted.session.is_some() { Change::Keep } else { Change::Set(&state.session_entry) };
    let (preload, session) = match child {
        Child::Reachable => (with_layer(state, wanted.preload, text), kept),
        Child::Traced => (without_layer(wanted.preload, text), kept),
        Child::Beyond => {
            (without_layer(wanted.preload, text), if wanted.session.is_some() { Change::Remove } else { Change::Keep })
        }
    };
    let exec = if child == Child::Traced { Change::Set(as_c_str(&traced.text)) } else { Change::Keep };
    [(PRELOAD_VARIABLE, preload), (SESSION_VARIABLE, session), (EXEC_VARIABLE, exec)]
}

fn with_layer<'a>(state: &'a State, wanted: Option<&CStr>, text: &'a mut PathText) -> Change<'a> {
    let Some(ours) = &state.preload_entry else { return Change::Keep };
    match wanted.map(CStr::to_bytes) {
        None | Some(b"") => Change::Set(ours),
        Some(value) if names_layer(value) => Change::Keep,
        Some(value) => {
            let fits = text.push(ours.to_bytes()) && text.push(b":") && text.push(value);
            Change::Set(if fits { as_c_str(text) } else { ours })
        }
    }
}

fn without_layer<'a>(wanted: Option<&CStr>, text: &'a mut PathText) -> Change<'a> {
    let Some(value) = wanted.map(CStr::to_bytes).filter(|value| names_layer(value)) else { return Change::Keep };
    if others(value).next().is_none() {
        return Change::Remove;
    }
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

fn why_beyond(dir: i32, path: &CStr, scripts_left: usize) -> Option<Why> {
    let file = files::open(dir, path, libc::O_RDONLY | libc::O_NONBLOCK).ok()?;
    let facts = files::look_at(file.raw()).ok()?;
    if !facts.is_file() {
        return None;
    }
    match elf::look(|offset, room| files::read_at(&file, offset, room)) {
        Program::Reachable => gains_rights(&facts).then_some(Why::SetId),
        Program::Beyond(why) => Some(why),
        Program::Script { start, length } => {
            let mut line = [0; 257];
            files::read_all(&file, line.get_mut(..256)?);
            line.get_mut(start + length..)?.fill(0);
            let interpreter = until_nul(line.get(start..)?)?;
            why_beyond(AT_CWD, interpreter, scripts_left.checked_sub(1)?)
        }
    }
}

/// Whether the program runs with other rights than ours: ld.so then ignores LD_PRELOAD.
fn gains_rights(facts: &files::Facts) -> bool {
    let (user, group) = process::effective_ids();
    (facts.mode & libc::S_ISUID != 0 && facts.uid != user) || (facts.mode & libc::S_ISGID != 0 && facts.gid != group)
}
