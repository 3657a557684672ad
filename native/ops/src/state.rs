//! What an interceptor knows from the start: the session's folder, its rules, its table.

use core::ffi::CStr;

use inpod_rules::table::{Table, TABLE_BYTES};
use inpod_rules::{Line, Rules};
use inpod_sys::files::{self, AT_CWD};
use inpod_sys::memory::{self, Arena};
use inpod_sys::text::join;

use crate::skipped::is_own_program;

/// Name of the variable that says where the session's folder is.
pub const SESSION_VARIABLE: &[u8] = b"INPOD_SESSION";

/// Name of the variable that brings the layer into a program.
pub const PRELOAD_VARIABLE: &[u8] = b"LD_PRELOAD";

/// Name of the variable that tells `inpod-trace` what it is to become.
pub const EXEC_VARIABLE: &[u8] = b"INPOD_EXEC";

/// Largest `rules` file that is read, in bytes.
const MAX_RULES: u64 = 1 << 20;

/// Room for the path of a file in the session's folder: that of a unix socket is no longer (unix(7)).
pub const FOLDER_BYTES: usize = 128;

/// Room for the state itself and its texts: the longest is the layer's path.
const TEXTS_BYTES: usize = 3 * 4096;

/// Where to find out.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The session's folder, canonical: as getcwd and the links in /proc say it.
    pub folder: &'a CStr,
    /// What the program was called as, where it is this one that is intercepted: it may be one that is left alone.
    pub own_name: Option<&'a CStr>,
    /// The path of the layer, where it is this one that asks.
    pub layer: Option<&'a CStr>,
    /// Whether this thread may ask the session, and wait for its answer, at this time.
    pub may_ask: fn() -> bool,
}

/// What is known of the session. It stays where it is for the life of the process, and nothing of it is on the heap:
/// the program may not have one yet.
pub struct State {
    /// The session's facts.
    pub rules: Rules<'static>,
    /// The socket table.
    pub table: Table<'static>,
    /// The replica's root, canonical, without a slash at the end.
    pub replica: &'static [u8],
    /// Path of the socket that answers.
    pub door: &'static [u8],
    /// "INPOD_SESSION=…" as it was at the start: a program may clear its environment.
    pub session_entry: &'static CStr,
    /// `inpod-trace`; None: what the layer cannot be in runs outside the pod.
    pub tracer: Option<&'static CStr>,
    /// "LD_PRELOAD=…", the layer alone.
    pub preload_entry: Option<&'static CStr>,
    /// See [`Origin::may_ask`].
    pub may_ask: fn() -> bool,
}

impl State {
    /// Reads what a session wrote into its folder. None: there is no live session of our version.
    ///
    /// May run in a signal handler or a child of vfork, and in two threads at once.
    pub fn read(origin: Origin<'_>) -> Option<&'static Self> {
        let folder = origin.folder.to_bytes();
        let in_folder = |name: &'static [u8]| [folder, name];
        let mut path = [0; FOLDER_BYTES];
        let file = files::open(AT_CWD, join(&mut path, &in_folder(b"/rules"))?, libc::O_RDONLY).ok()?;
        let size = files::look_at(file.raw()).ok()?.size.min(MAX_RULES) as usize;
        // Of a line there are two bytes at least. What is not touched takes no memory.
        let mut arena = Arena::new(TEXTS_BYTES + size + (size / 2 + 1) * size_of::<Line<'_>>())?;
        let text = arena.many(0, size)?;
        let length = files::read_all(&file, text);
        let text: &'static [u8] = text.get(..length)?;
        let room = arena.many(Line::None, Rules::room_for(text))?;
        let mut rules = Rules::parse(text, room)?;
        if origin.own_name.is_some_and(|name| is_own_program(&rules, name)) {
            // What it starts is the session's all the same.
            rules.leave_alone();
        }
        let table = files::open(AT_CWD, join(&mut path, &in_folder(b"/table"))?, libc::O_RDWR).ok()?;
        let state = Self {
            table: Table::new(memory::map_shared(&table, TABLE_BYTES)?)?,
            replica: kept(&mut arena, &in_folder(b"/replica"))?.to_bytes(),
            door: kept(&mut arena, &in_folder(b"/layer.sock"))?.to_bytes(),
            session_entry: kept(&mut arena, &[SESSION_VARIABLE, b"=", folder])?,
            tracer: rules.tracer.and_then(|path| kept(&mut arena, &[path])),
            preload_entry: origin.layer.and_then(|layer| kept(&mut arena, &[PRELOAD_VARIABLE, b"=", layer.to_bytes()])),
            rules,
            may_ask: origin.may_ask,
        };
        arena.one(state)
    }
}

fn kept(arena: &mut Arena, parts: &[&[u8]]) -> Option<&'static CStr> {
    let bytes = parts.iter().map(|part| part.len()).sum::<usize>() + 1;
    join(arena.many(0, bytes)?, parts)
}
