//! Unix sockets of the pod: the session connects the program's own socket to one of its own, once the pod's is connected.

use inpod_sys::{sockets, Errno};
use inpod_wire::Request;

use crate::session::ask;
use crate::state::State;

/// Whether a connect to a path may be another than it seems.
pub fn may_connect(state: &State, path: &[u8]) -> bool {
    (state.rules.unix_streams && path.starts_with(b"/")) || state.rules.hides_socket(path)
}

/// connect to a path. None: the original call.
pub fn connect(state: &State, fd: i32, path: &[u8]) -> Option<Result<(), Errno>> {
    if state.rules.hides_socket(path) {
        return Some(Err(Errno(libc::ENOENT)));
    }
    if !may_connect(state, path) || !sockets::is_unix_connection(fd) {
        return None;
    }
    ask(state, &Request::Unix { path }, Some(fd), |number, _| match number {
        0 => Some(Ok(())),
        number if number > 0 => Some(Err(Errno(number))),
        _ => None,
    })
}
