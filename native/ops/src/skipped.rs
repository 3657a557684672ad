//! Processes whose program is to be left alone (`Rules::skips`): known by its file or by what it was called as.

use core::ffi::CStr;

use inpod_rules::paths::{PathText, PATH_MAX};
use inpod_rules::Rules;
use inpod_sys::files::{self, AT_CWD};
use inpod_sys::proc::ProcPath;
use inpod_sys::text::until_nul;
use inpod_sys::{process, Errno};

use crate::place::as_c_str;

/// Longest argument of a program that can be one of the names.
const NAME_BYTES: usize = 512;

/// Most links that the kernel follows on a way (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Whether the process of a thread is one, as /proc says: ask only where some are.
pub fn is_skipped(rules: &Rules<'_>, thread: u32) -> bool {
    is_by_file(rules, Some(thread)) || is_by_argument(rules, thread) == Some(true)
}

/// Whether this process, which was called as `name`, is one.
pub fn is_own_program(rules: &Rules<'_>, name: &CStr) -> bool {
    let is_by_file = || is_by_links(rules, name).unwrap_or_else(|| is_by_file(rules, None));
    rules.skips_some() && (rules.skips(name.to_bytes()) || is_by_file())
}

/// Whether our file is one, by the links that lead to it from what was called. None: an interpreter is between, or links are
/// not what they were. To ask /proc would cost a small program ten times as much as a link.
fn is_by_links(rules: &Rules<'_>, name: &CStr) -> Option<bool> {
    let last = |path: &[u8]| path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (called, name) = (process::executed_as()?.to_bytes(), name.to_bytes());
    let mut file = PathText::default();
    if !called.starts_with(b"/") || called.get(last(called)..) != name.get(last(name)..) || !file.push(called) {
        return None;
    }
    for _ in 0..MAX_LINKS {
        let mut room = [0; PATH_MAX];
        match files::read_link(AT_CWD, as_c_str(&file), &mut room) {
            Ok(target) => {
                file.truncate(if target.starts_with(b"/") { 0 } else { last(file.as_bytes()) });
                if !file.push(target) {
                    return None;
                }
            }
            Err(Errno(libc::EINVAL)) => return Some(rules.skips(file.as_bytes())),
            Err(_) => return None,
        }
    }
    None
}

fn is_by_file(rules: &Rules<'_>, thread: Option<u32>) -> bool {
    let mut room = [0; PATH_MAX];
    files::read_link(AT_CWD, ProcPath::of(thread, "exe").as_c_str(), &mut room).is_ok_and(|file| rules.skips(file))
}

fn is_by_argument(rules: &Rules<'_>, thread: u32) -> Option<bool> {
    let file = files::open(AT_CWD, ProcPath::of(Some(thread), "cmdline").as_c_str(), libc::O_RDONLY).ok()?;
    let mut room = [0; NAME_BYTES];
    files::read_all(&file, room.get_mut(..NAME_BYTES - 1)?);
    Some(rules.skips(until_nul(&room)?.to_bytes()))
}
