//! Connections that leave from the pod.
//!
//! The session gets the socket and says which loopback port to connect to; libc's own connect then ends when and as the
//! pod's does (docs/how-it-works/outgoing.md). Where that was a failure, the kernel says ECONNRESET and the table has
//! the true errno.

use inpod_rules::table::{Kind, Socket};
use inpod_rules::{Addr, Leaves, Protocol};
use inpod_sys::sockets;

use crate::datagrams;
use crate::plan::Plan;
use crate::state::State;

/// connect. None: the original call.
pub fn connect(state: &State, fd: i32, wanted: &Addr) -> Option<Plan> {
    if !state.rules.may_connect(wanted) {
        return None;
    }
    if !sockets::is_tcp(fd) {
        return datagrams::connect(state, fd, wanted);
    }
    let leaves = state.rules.leaves(wanted, Protocol::Tcp);
    if leaves == Leaves::Here {
        return None;
    }
    let cookie = sockets::cookie(fd)?;
    let before = state.table.socket(cookie).filter(|socket| socket.kind.is_some());
    let local = match before {
        None => None,
        Some(Socket { kind: Some(Kind::Bound), local, .. }) => local,
        Some(socket @ Socket { kind: Some(Kind::Connecting), .. }) => {
            // A program may ask by another connect how its connect goes.
            if !sockets::is_unconnected(fd) {
                let to = Addr::loopback(wanted.family, sockets::is_v6_only(fd), wanted.port);
                return Some(Plan::Connect { to, cookie });
            }
            if socket.errno != 0 && sockets::take_error(fd) != 0 {
                return Some(Plan::Fail(socket.errno));
            }
            None
        }
        Some(_) => return None,
    };
    let connecting = Socket { kind: Some(Kind::Connecting), local, peer: Some(*wanted), ..Socket::default() };
    state.table.put(cookie, &connecting);
    let plan = Plan::ask(state, fd, cookie, wanted, leaves, false);
    if !matches!(plan, Some(Plan::Connect { .. })) {
        match before {
            Some(before) if before.kind == Some(Kind::Bound) => state.table.put(cookie, &before),
            _ => state.table.forget(cookie),
        }
    }
    plan
}

/// Returns why a connect of the pod failed, where the kernel says `seen`. None: the kernel is right.
pub fn true_errno(state: &State, cookie: u64, seen: i32) -> Option<i32> {
    if matches!(seen, libc::EINPROGRESS | libc::EALREADY | libc::EINTR | libc::EISCONN | libc::EAGAIN) {
        return None;
    }
    let socket = state.table.socket(cookie)?;
    (socket.kind == Some(Kind::Connecting) && socket.errno != 0).then_some(socket.errno)
}

/// As [`true_errno`], for SO_ERROR.
pub fn true_error(state: &State, fd: i32, seen: i32) -> Option<i32> {
    true_errno(state, sockets::cookie(fd)?, seen)
}
