//! Unix sockets of the pod: the session connects the program's own socket to one of its own, once the pod's is connected.

use inpod_sys::{sockets, Errno};
use inpod_wire::Request;

use crate::session::ask;
use crate::state::State;

/// connect to a path. None: the original call.
pub fn connect(state: &State, fd: i32, path: &[u8]) -> Option<Result<(), Errno>> {
    if !state.rules.unix_streams || !path.starts_with(b"/") || !sockets::is_unix_connection(fd) {
        return None;
    }
    ask(state, &Request::Unix { path }, Some(fd), |number, _| match number {
        0 => Some(Ok(())),
        number if number > 0 => Some(Err(Errno(number))),
        _ => None,
    })
}
