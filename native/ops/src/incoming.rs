//! Listeners: bound to loopback, subscribed by the session, their connections' addresses told as the pod's.

use inpod_rules::table::{Kind, Socket};
use inpod_rules::Addr;
use inpod_sys::{sockets, Errno};
use inpod_wire::Request;

use crate::session::ask;
use crate::state::State;

/// bind. None: the original call.
pub fn bind(state: &State, fd: i32, wanted: &Addr) -> Option<Result<(), Errno>> {
    let is_udp = !sockets::is_tcp(fd);
    if is_udp && !sockets::is_udp(fd) {
        return None;
    }
    let cookie = sockets::cookie(fd)?;
    let Some(real) = state.rules.bind(wanted, sockets::is_v6_only(fd)) else {
        return bind_here(state, fd, cookie, wanted, is_udp);
    };
    match sockets::bind(fd, &real) {
        Ok(()) => {}
        // Taken, or privileged, on this machine; the pod's port is another matter.
        Err(Errno(libc::EADDRINUSE | libc::EACCES)) => {
            let reuse_port = sockets::reuses_port(fd);
            let number =
                ask(state, &Request::Bind { wanted: *wanted, reuse_port, is_udp }, None, |number, _| Some(number))?;
            if number != 0 {
                return Some(Err(Errno(number)));
            }
            if let Err(error) = sockets::bind(fd, &Addr { port: 0, ..real }) {
                return Some(Err(error));
            }
        }
        Err(error) => return Some(Err(error)),
    }
    state.table.put(cookie, &Socket { kind: Some(Kind::Bound), local: Some(*wanted), ..Socket::default() });
    // UDP has no listen.
    if is_udp { listening(state, fd) } else { None }.or(Some(Ok(())))
}

/// bind where no port of the pod is asked for. Loopback stands in the place of an address that this machine lacks: it is
/// the pod's.
fn bind_here(state: &State, fd: i32, cookie: u64, wanted: &Addr, is_udp: bool) -> Option<Result<(), Errno>> {
    // Who binds UDP to a port serves this machine.
    let serves = is_udp && wanted.port != 0;
    let mut known = Socket { kind: serves.then_some(Kind::Bound), ..Socket::default() };
    let mut done = wanted.is_of_one_host().then(|| sockets::bind(fd, wanted));
    if state.rules.network && done == Some(Err(Errno(libc::EADDRNOTAVAIL))) {
        done = Some(sockets::bind(fd, &Addr::loopback(wanted.family, sockets::is_v6_only(fd), wanted.port)));
        let kind = if is_udp && !serves { Kind::Sending } else { Kind::Bound };
        known = Socket { kind: Some(kind), local: Some(*wanted), ..Socket::default() };
    }
    if known.kind.is_some() {
        state.table.put(cookie, &known);
    }
    done
}

/// After a successful listen, or bind of UDP: tells the session. None: the socket is not of our kind, or is known.
pub fn listening(state: &State, fd: i32) -> Option<Result<(), Errno>> {
    let is_udp = !sockets::is_tcp(fd);
    if !state.rules.network || (is_udp && !sockets::is_udp(fd)) {
        return None;
    }
    let cookie = sockets::cookie(fd)?;
    let real = sockets::local_address(fd)?;
    let known = state.table.socket(cookie).filter(|socket| socket.kind.is_some());
    let wanted = match known {
        // At an address of the pod, and not at a port of it.
        Some(Socket { kind: Some(Kind::Bound), local: Some(wanted), .. })
            if state.rules.bind(&wanted, false).is_none() =>
        {
            None
        }
        Some(Socket { kind: Some(Kind::Bound), local: Some(wanted), .. }) => {
            state.table.put(cookie, &Socket { kind: Some(Kind::Listener), local: Some(wanted), ..Socket::default() });
            Some(wanted)
        }
        Some(_) => return None,
        None => None,
    };
    let request = Request::Listen { wanted: wanted.unwrap_or(real), real, is_local: wanted.is_none(), is_udp };
    let number = ask(state, &request, None, |number, _| Some(number))?;
    Some(if number == 0 { Ok(()) } else { Err(Errno(number)) })
}

/// Whether the connections of a socket may be the pod's.
pub fn is_listener(state: &State, fd: i32) -> Option<()> {
    let socket = state.table.socket(sockets::cookie(fd)?)?;
    (socket.kind == Some(Kind::Listener)).then_some(())
}

/// After a successful accept from `real`: returns the peer that the program is to see. None: the real one, it is a
/// connection of this machine (the developer's own call).
pub fn accepted(state: &State, fd: i32, real: &Addr) -> Option<Addr> {
    if !real.is_loopback() {
        return None;
    }
    let (peer, local) = state.table.port(real.port)?;
    let peer = Addr { family: real.family, ..peer };
    let local = Addr { family: real.family, ..local };
    if !peer.is_expressible() || !local.is_expressible() {
        return None;
    }
    let socket = Socket { kind: Some(Kind::Accepted), local: Some(local), peer: Some(peer), ..Socket::default() };
    state.table.put(sockets::cookie(fd)?, &socket);
    Some(peer)
}

/// Which end of a connection a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// getsockname.
    Local,
    /// getpeername.
    Peer,
}

/// After a successful getsockname or getpeername: returns the address to tell. None: the real one.
pub fn told(state: &State, fd: i32, end: End, real: &Addr) -> Option<Addr> {
    let socket = state.table.socket(sockets::cookie(fd)?)?;
    let known = match end {
        End::Local => socket.local,
        End::Peer => socket.peer,
    }?;
    // Bound to a port of no choice, it has that of the real one.
    let port = if known.port == 0 { real.port } else { known.port };
    let known = Addr { family: real.family, port, ..known };
    known.is_expressible().then_some(known)
}
