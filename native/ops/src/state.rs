//! What an interceptor knows from the start: the session's folder, its rules, its table.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use inpod_rules::table::{Table, TABLE_BYTES};
use inpod_rules::{environment, Rules};
use inpod_sys::{files, memory, process};

/// Name of the variable that says where the session's folder is.
pub const SESSION_VARIABLE: &[u8] = b"INPOD_SESSION";

/// Name of the variable that brings the layer into a program.
pub const PRELOAD_VARIABLE: &[u8] = b"LD_PRELOAD";

/// Name of the variable that tells `inpod-trace` what it is to become.
pub const EXEC_VARIABLE: &[u8] = b"INPOD_EXEC";

/// Largest `rules` file that is read, in bytes.
const MAX_RULES: u64 = 1 << 20;

/// What is known of the session.
pub struct State {
    /// The session's facts.
    pub rules: Rules,
    /// The socket table.
    pub table: Table<'static>,
    /// The replica's root, canonical, without a slash at the end.
    pub replica: Vec<u8>,
    /// Path of the socket that answers.
    pub door: Vec<u8>,
    /// "INPOD_SESSION=…" as it was at the start: a program may clear its environment.
    pub session_entry: CString,
    /// `inpod-trace`; None: what the layer cannot be in runs outside the pod.
    pub tracer: Option<CString>,
    /// "LD_PRELOAD=…", the layer alone; None when something else loaded us.
    pub preload_entry: Option<CString>,
}

impl State {
    /// Reads what a session wrote into its folder. None: there is no live session of our version.
    pub fn read(given: &CStr) -> Option<Self> {
        let folder = files::open(files::AT_CWD, given, libc::O_PATH | libc::O_DIRECTORY).ok()?;
        let mut room = [0; 4096];
        let link = CString::new(format!("/proc/self/fd/{}", folder.raw())).ok()?;
        // Canonical, as getcwd and the links in /proc will say it.
        let path = Path::new(OsStr::from_bytes(files::read_link(files::AT_CWD, &link, &mut room).ok()?));
        let rules = files::open(folder.raw(), c"rules", libc::O_RDONLY).ok()?;
        let size = files::look_at(rules.raw()).ok()?.size.min(MAX_RULES);
        let mut text = vec![0; size as usize];
        let length = files::read_all(&rules, &mut text);
        let rules = Rules::parse(text.get(..length)?)?;
        let table = files::open(folder.raw(), c"table", libc::O_RDWR).ok()?;
        Some(Self {
            tracer: rules.tracer.clone().and_then(|path| CString::new(path).ok()),
            rules,
            table: Table::new(memory::map_shared(&table, TABLE_BYTES)?)?,
            replica: path.join("replica").as_os_str().as_bytes().to_vec(),
            door: path.join("layer.sock").as_os_str().as_bytes().to_vec(),
            session_entry: entry(SESSION_VARIABLE, given)?,
            preload_entry: own_preload(),
        })
    }
}

fn own_preload() -> Option<CString> {
    let value = process::variable(PRELOAD_VARIABLE)?.to_bytes();
    let layer = environment::layer_in(value)?;
    entry(PRELOAD_VARIABLE, CString::new(layer).ok()?.as_c_str())
}

fn entry(name: &[u8], value: &CStr) -> Option<CString> {
    CString::new([name, b"=", value.to_bytes()].concat()).ok()
}
