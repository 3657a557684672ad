//! Processes whose program is to be left alone (`Rules::skips`): known by its file or by what it was called as.

use core::ffi::CStr;

use inpod_rules::paths::PATH_MAX;
use inpod_rules::Rules;
use inpod_sys::files::{self, AT_CWD};
use inpod_sys::proc::ProcPath;
use inpod_sys::text::until_nul;
use inpod_sys::{process, Errno};

/// Longest argument of a program that can be one of the names.
const NAME_BYTES: usize = 512;

/// Whether the process of a thread is one, as /proc says: ask only where some are.
pub fn is_skipped(rules: &Rules<'_>, thread: u32) -> bool {
    is_by_file(rules, Some(thread)) || is_by_argument(rules, thread) == Some(true)
}

/// Whether this process, which was called as `name`, is one.
pub fn is_own_program(rules: &Rules<'_>, name: &CStr) -> bool {
    rules.skips_some() && (rules.skips(name.to_bytes()) || (!is_name_of_file(name) && is_by_file(rules, None)))
}

/// Whether our file is surely called what we were called as: so it is unless there is a link or an interpreter between.
/// To ask /proc would cost a small program ten times as much.
fn is_name_of_file(name: &CStr) -> bool {
    let last = |path: &'_ [u8]| path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let Some(file) = process::executed_as().filter(|file| file.to_bytes().starts_with(b"/")) else { return false };
    let (file_name, name) = (file.to_bytes(), name.to_bytes());
    file_name.get(last(file_name)..) == name.get(last(name)..)
        && files::read_link(AT_CWD, file, &mut [0]) == Err(Errno(libc::EINVAL))
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
