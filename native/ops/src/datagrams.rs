//! UDP that leaves from the pod.
//!
//! The session connects the program's socket to one of its own on loopback, which stands for the peer in the pod. So a
//! socket has one peer: a program that sends to several from one socket hears from the last.

use inpod_rules::table::{Kind, Socket};
use inpod_rules::{Addr, FilesMode, Leaves, Protocol};
use inpod_sys::sockets;
use inpod_sys::Errno;

use crate::plan::Plan;
use crate::state::State;

const DNS: u16 = 53;

/// connect. None: the original call.
pub fn connect(state: &State, fd: i32, wanted: &Addr) -> Option<Plan> {
    let leaves = leaves(state, wanted);
    if leaves == Leaves::Here || !sockets::is_udp(fd) {
        return None;
    }
    let cookie = sockets::cookie(fd)?;
    let plan = Plan::ask(state, fd, cookie, wanted, leaves)?;
    // Known only now: what the socket was connected to before holds until then.
    let connected = Socket { kind: Some(Kind::Connecting), local: None, peer: Some(*wanted), errno: 0 };
    state.table.put(cookie, &connected);
    Some(plan)
}

/// sendto with an address: Ok: the socket is connected to it, send without one. None: the original call.
///
/// Not for sockets that the program has bound, which serve: but for names, as musl's resolver binds its own.
pub fn send_to(state: &State, fd: i32, wanted: &Addr) -> Option<Result<(), Errno>> {
    if leaves(state, wanted) == Leaves::Here || !sockets::is_udp(fd) {
        return None;
    }
    match peer(state, fd) {
        Some(known) if known.port == wanted.port && known.ip == wanted.ip => return Some(Ok(())),
        Some(_) => {}
        None if wanted.port != DNS && sockets::local_address(fd)?.port != 0 => return None,
        None => {}
    }
    match connect(state, fd, wanted)? {
        Plan::Connect { .. } => Some(Ok(())),
        Plan::Fail(number) => Some(Err(Errno(number))),
    }
}

/// Returns the pod's peer of a socket. None: it is not connected by us.
pub fn peer(state: &State, fd: i32) -> Option<Addr> {
    let known = state.table.socket(sockets::cookie(fd)?)?;
    known.peer.filter(|_| known.kind == Some(Kind::Connecting) && sockets::is_udp(fd))
}

/// After a datagram from `real`: returns the sender that the program is to see. None: the real one.
pub fn sender(state: &State, fd: i32, real: &Addr) -> Option<Addr> {
    let peer = Addr { family: real.family, ..peer(state, fd)? };
    (real.is_loopback() && peer.is_expressible()).then_some(peer)
}

/// This machine's own services on loopback, multicast and broadcast stay here; but for the pod's name server, which may
/// be on the pod's loopback and is known by the pod's resolv.conf.
fn leaves(state: &State, wanted: &Addr) -> Leaves {
    let is_here = wanted.is_loopback() || wanted.is_any();
    let is_pods_name_server = wanted.port == DNS && state.rules.files != FilesMode::Local;
    if wanted.is_for_many() || (is_here && !is_pods_name_server) {
        return Leaves::Here;
    }
    state.rules.leaves(wanted, Protocol::Udp)
}
