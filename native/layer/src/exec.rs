//! Children: the layer stays in those it can be in, and out of those it cannot.
//!
//! Runs in vfork children too: no heap, no seats of the session's pool (see `session`).

use core::ffi::CStr;

use inpod_ops::place::as_c_str;
use inpod_ops::session::ask;
use inpod_ops::state::{State, PRELOAD_VARIABLE, SESSION_VARIABLE};
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
    /// The layer is taken out.
    Beyond,
}

/// Values of a child's environment as the program wants it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// LD_PRELOAD.
    pub preload: Option<&'a CStr>,
    /// INPOD_SESSION.
    pub session: Option<&'a CStr>,
}

/// Looks at the program at `path`, and warns the session of one that the layer cannot reach.
pub fn look(state: &State, dir: i32, path: &CStr) -> Option<Child> {
    match why_beyond(dir, path, MAX_SCRIPTS) {
        None => Some(Child::Reachable),
        Some(why) => {
            // Whether it is heard does not matter to the child.
            let _ = ask(state, &Request::Warn { why: why.word(), path: path.to_bytes() }, None, |_, _| Some(()));
            Some(Child::Beyond)
        }
    }
}

/// As [`look`], for a name that execvp(3) searches: `path` is the value of PATH.
pub fn look_in_path(state: &State, name: &CStr, path: Option<&CStr>) -> Option<Child> {
    if name.to_bytes().contains(&b'/') {
        return look(state, AT_CWD, name);
    }
    let places = path.map_or(DEFAULT_PATH, CStr::to_bytes);
    for place in places.split(|byte| *byte == b':') {
        let mut text = PathText::default();
        let place = if place.is_empty() { b"." } else { place };
        if text.push(place) && text.push(b"/") && text.push(name.to_bytes()) {
            let candidate = as_c_str(&text);
            if files::is_executable(AT_CWD, candidate) {
                return look(state, AT_CWD, candidate);
            }
        }
    }
    Some(Child::Reachable)
}

/// As [`look`], for a descriptor.
pub fn look_at_fd(state: &State, fd: i32) -> Option<Child> {
    let mut name = [0; 32];
    std::io::Write::write_fmt(&mut name.as_mut_slice(), format_args!("/proc/self/fd/{fd}")).ok()?;
    look(state, AT_CWD, until_nul(&name)?)
}

/// Returns what happens to the two variables. `text` is room for a new LD_PRELOAD.
pub fn changes<'a>(
    state: &'a State,
    child: Child,
    wanted: Wanted<'_>,
    text: &'a mut PathText,
) -> [(&'static [u8], Change<'a>); 2] {
    let (preload, session) = match child {
        Child::Reachable => (
            with_layer(state, wanted.preload, text),
            if wanted.session.is_some() { Change::Keep } else { Change::Set(&state.session_entry) },
        ),
        Child::Beyond => {
            (without_layer(wanted.preload, text), if wanted.session.is_some() { Change::Remove } else { Change::Keep })
        }
    };
    [(PRELOAD_VARIABLE, preload), (SESSION_VARIABLE, session)]
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
