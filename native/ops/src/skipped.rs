//! Processes whose program is to be left alone (`Rules::skips`): known by its file or by what it was called as.

use std::io::Write;

use inpod_rules::Rules;
use inpod_sys::files::{self, AT_CWD};
use inpod_sys::text::until_nul;

/// Longest argument of a program that can be one of the names.
const NAME_BYTES: usize = 512;

/// Whether the process of a thread is one; `thread` None: this one.
pub fn is_skipped(rules: &Rules, thread: Option<u32>) -> bool {
    rules.skips_some() && (is_by_file(rules, thread) == Some(true) || is_by_argument(rules, thread) == Some(true))
}

fn is_by_file(rules: &Rules, thread: Option<u32>) -> Option<bool> {
    let mut room = [0; inpod_rules::paths::PATH_MAX];
    let file = files::read_link(AT_CWD, until_nul(&fact(thread, "exe")?)?, &mut room).ok()?;
    Some(rules.skips(file))
}

fn is_by_argument(rules: &Rules, thread: Option<u32>) -> Option<bool> {
    let file = files::open(AT_CWD, until_nul(&fact(thread, "cmdline")?)?, libc::O_RDONLY).ok()?;
    let mut room = [0; NAME_BYTES];
    files::read_all(&file, room.get_mut(..NAME_BYTES - 1)?);
    Some(rules.skips(until_nul(&room)?.to_bytes()))
}

fn fact(thread: Option<u32>, name: &str) -> Option<[u8; 48]> {
    let mut path = [0; 48];
    match thread {
        None => write!(path.as_mut_slice(), "/proc/self/{name}"),
        Some(thread) => write!(path.as_mut_slice(), "/proc/{thread}/{name}"),
    }
    .ok()?;
    Some(path)
}
