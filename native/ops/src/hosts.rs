//! Host names, as the pod resolves them.

use inpod_rules::{Addr, Family};
use inpod_sys::process::HostName;
use inpod_wire::{decode_reply, decode_resolved, Request, Resolved};

use crate::session::ask_into;
use crate::state::State;

/// h_errno of gethostbyname(3): no such name.
pub const HOST_NOT_FOUND: i32 = 1;
/// No server answers.
pub const TRY_AGAIN: i32 = 2;
/// They answer something else.
pub const NO_RECOVERY: i32 = 3;
/// The name has no such records.
pub const NO_DATA: i32 = 4;

/// The pod's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// At least one address, or the name that was asked for.
    Found(Resolved<'a>),
    /// An EAI_ number of glibc.
    Failed(i32),
}

/// Asks for a host. None: libc's own lookup. `reply` has room for [`inpod_wire::MAX_RESOLVED`] bytes.
pub fn resolve<'r>(state: &State, name: &[u8], family: Option<Family>, reply: &'r mut [u8]) -> Option<Answer<'r>> {
    if !state.rules.resolves_remotely(name, HostName::of_this_machine().as_bytes()) {
        return None;
    }
    let length = ask_into(state, &Request::Resolve { family, name }, None, reply)?;
    answer_in(reply.get(..length)?)
}

/// Asks for the name of an address, as `Resolved::canonical`. None: libc's own lookup.
pub fn find_name<'r>(state: &State, addr: &Addr, reply: &'r mut [u8]) -> Option<Answer<'r>> {
    if !state.rules.names_remotely(addr) {
        return None;
    }
    let length = ask_into(state, &Request::Name { ip: addr.ip }, None, reply)?;
    answer_in(reply.get(..length)?)
}

fn answer_in(reply: &[u8]) -> Option<Answer<'_>> {
    let (number, body) = decode_reply(reply)?;
    if number != 0 {
        return Some(Answer::Failed(number));
    }
    decode_resolved(body).map(Answer::Found)
}

/// Returns the h_errno for an EAI_ number.
pub fn h_errno_of(eai: i32) -> i32 {
    match eai {
        libc::EAI_NONAME => HOST_NOT_FOUND,
        libc::EAI_AGAIN => TRY_AGAIN,
        libc::EAI_NODATA => NO_DATA,
        _ => NO_RECOVERY,
    }
}

/// Whether an address goes where `family` is asked for: IPv4 ones have a form for both.
pub fn is_v4(ip: &[u8; 16]) -> bool {
    Addr { family: Family::V6, port: 0, ip: *ip }.ipv4().is_some()
}
