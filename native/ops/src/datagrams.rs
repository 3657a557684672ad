//! UDP that leaves from the pod.
//!
//! The session has a socket of its own on loopback for each peer in the pod, its relay: the program's socket is connected
//! to it, or sends to it and knows the peer by it.

use inpod_rules::outgoing::DNS;
use inpod_rules::table::{Kind, Socket};
use inpod_rules::{Addr, Family, FilesMode, Leaves, Protocol};
use inpod_sys::sockets;
use inpod_sys::Errno;

use crate::plan::Plan;
use crate::state::State;

/// connect. None: the original call.
pub fn connect(state: &State, fd: i32, wanted: &Addr) -> Option<Plan> {
    let leaves = leaves(state, wanted);
    if leaves == Leaves::Here || !sockets::is_udp(fd) {
        return None;
    }
    let cookie = sockets::cookie(fd)?;
    let plan = Plan::ask(state, fd, cookie, wanted, leaves, false)?;
    let relay = match plan {
        Plan::Connect { to, .. } => to.port,
        Plan::Fail(_) => 0,
    };
    // Known only now: what the socket was connected to before holds until then.
    let connected = Socket { kind: Some(Kind::Connecting), peer: Some(*wanted), relay, ..Socket::default() };
    state.table.put(cookie, &connected);
    Some(plan)
}

/// sendto with an address. Ok: where to send instead. None: the original call.
pub fn send_to(state: &State, fd: i32, wanted: &Addr) -> Option<Result<Addr, Errno>> {
    let leaves = leaves(state, wanted);
    let is_here = leaves == Leaves::Here;
    if sockets::is_tcp(fd) {
        // It would connect, with its first bytes on the way (MSG_FASTOPEN, tcp(7)); who may not have that calls connect.
        let leaves = state.rules.leaves(wanted, Protocol::Tcp);
        return (leaves != Leaves::Here && sockets::is_unconnected(fd)).then_some(Err(Errno(libc::EOPNOTSUPP)));
    }
    if (is_here && !wanted.is_loopback()) || !sockets::is_udp(fd) {
        return None;
    }
    let cookie = sockets::cookie(fd)?;
    let known = state.table.socket(cookie).unwrap_or_default();
    if known.relay != 0 && known.peer.is_some_and(|peer| peer.port == wanted.port && peer.ip == wanted.ip) {
        return Some(Ok(Addr::loopback(wanted.family, is_only_v6(fd, wanted.family), known.relay)));
    }
    // It serves this machine; or it serves the pod, where peers may be on loopback: the session knows who sent to it.
    let serves_here = known.kind == Some(Kind::Bound) && wanted.port != DNS;
    if serves_here || (is_here && known.kind != Some(Kind::Listener)) {
        return None;
    }
    match Plan::ask(state, fd, cookie, wanted, leaves, true)? {
        Plan::Fail(number) => Some(Err(Errno(number))),
        Plan::Connect { to, .. } => {
            // Of a connected socket the table says whom it is connected to.
            if known.kind != Some(Kind::Connecting) {
                let kind = known.kind.or(Some(Kind::Sending));
                state.table.put(cookie, &Socket { kind, peer: Some(*wanted), relay: to.port, ..known });
            }
            Some(Ok(to))
        }
    }
}

/// Whether datagrams that a socket receives may be from the pod.
pub fn is_known(state: &State, fd: i32) -> Option<()> {
    known(state, fd).map(|_| ())
}

/// After a datagram from `real`: returns the sender that the program is to see. None: the real one.
pub fn sender(state: &State, fd: i32, real: &Addr) -> Option<Addr> {
    let known = known(state, fd).filter(|_| real.is_loopback())?;
    let peer = match known.kind {
        Some(Kind::Connecting) => known.peer,
        _ => state.table.udp_port(real.port).map(|(peer, _)| peer),
    };
    peer.map(|peer| Addr { family: real.family, ..peer }).filter(Addr::is_expressible)
}

/// Whether a socket cannot reach 127.0.0.1.
fn is_only_v6(fd: i32, family: Family) -> bool {
    let is_bound = || sockets::local_address(fd).is_some_and(|local| !local.is_any() && local.ipv4().is_none());
    family == Family::V6 && (sockets::is_v6_only(fd) || is_bound())
}

fn known(state: &State, fd: i32) -> Option<Socket> {
    let known = state.table.socket(sockets::cookie(fd)?)?;
    ((known.relay != 0 || known.kind == Some(Kind::Listener)) && sockets::is_udp(fd)).then_some(known)
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
