//! What the session makes of a connect.

use inpod_rules::{Addr, Leaves};
use inpod_wire::{decode_redirect, Request};

use crate::session::ask;
use crate::state::State;

/// What becomes of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// libc's connect, to this address.
    Connect {
        /// On loopback.
        to: Addr,
        /// Of the socket.
        cookie: u64,
    },
    /// It has failed, with this errno.
    Fail(i32),
}

impl Plan {
    /// Asks the session, which gets a copy of the socket. None: the original call.
    pub(crate) fn ask(
        state: &State,
        fd: i32,
        cookie: u64,
        wanted: &Addr,
        leaves: Leaves,
        is_send: bool,
    ) -> Option<Self> {
        let is_undecided = leaves == Leaves::Asked;
        let request = Request::Connect { cookie, to: *wanted, is_undecided, is_send };
        ask(state, &request, Some(fd), |number, body| match number {
            0 => decode_redirect(body).filter(|to| to.port != 0).map(|to| {
                let to = Addr { family: wanted.family, ..to };
                Self::Connect { to, cookie }
            }),
            _ => Some(Self::Fail(number)),
        })
    }
}
