//! Asking the session: one datagram each way, on a connection that nobody else uses meanwhile.
//!
//! Idle connections wait in a few seats of this process, for any thread. A forked child closes its copies: two processes
//! on one connection would take each other's answers. A vfork child shares our memory but not our descriptors, so it
//! keeps out of the seats.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};

use inpod_sys::files::OwnedFd;
use inpod_sys::{process, sockets};
use inpod_wire::{decode_reply, encode, Request, MAX_REPLY, MAX_REQUEST};

use crate::state::State;

const SEATS: usize = 16;
const EMPTY: u64 = 0;
const BUSY: u64 = u64::MAX;

/// A place for one idle connection.
struct Seat {
    /// EMPTY, BUSY (being filled or emptied), or the descriptor plus one.
    fd: AtomicU64,
    /// Of the connection's socket: a program may close descriptors it knows nothing of, and open others of that number.
    cookie: AtomicU64,
}

static POOL: [Seat; SEATS] = [const { Seat { fd: AtomicU64::new(EMPTY), cookie: AtomicU64::new(0) } }; SEATS];

/// The process whose descriptors the seats hold.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Takes the seats for this process; called once, before it can have children.
#[inline]
pub fn take_seats() {
    OWNER.store(process::id(), Relaxed);
}

/// Prepares for fork. A child that was forked before has no seats: it asks on a new connection each time.
pub fn prepare_for_fork() {
    process::after_fork_in_child(forked);
}

extern "C" fn forked() {
    for seat in &POOL {
        drop(empty(seat));
        // Another thread of the parent was at it, and is not in the child.
        seat.fd.store(EMPTY, Release);
    }
    OWNER.store(process::id(), Relaxed);
}

/// Fills the seats while the session's door is open to this process, for the time when it is not.
pub fn fill_seats(state: &State) {
    if OWNER.load(Relaxed) != process::id() {
        return;
    }
    for seat in &POOL {
        if seat.fd.load(Relaxed) == EMPTY {
            let Ok(connection) = sockets::connect_to_session(state.door) else { return };
            keep(connection);
        }
    }
}

/// Asks on a connection of its own something whose reply is an errno; neither sends nor receives messages, only bytes,
/// as the caller's filter may trap those. None: no answer.
pub fn ask_on(connection: &OwnedFd, request: &Request<'_>) -> Option<i32> {
    let mut room = [0; MAX_REQUEST];
    let request = encode(request, &mut room)?;
    sockets::write(connection.raw(), request).ok()?;
    let mut reply = [0; MAX_REPLY];
    let length = sockets::read(connection.raw(), &mut reply).ok()?;
    Some(decode_reply(reply.get(..length)?)?.0)
}

/// Asks, and returns the length of the reply in `reply`. None: there is no session any more.
pub fn ask_into(state: &State, request: &Request<'_>, passed: Option<i32>, reply: &mut [u8]) -> Option<usize> {
    if !(state.may_ask)() {
        return None;
    }
    let mut room = [0; MAX_REQUEST];
    let request = encode(request, &mut room)?;
    let is_owner = OWNER.load(Relaxed) == process::id();
    let idle = if is_owner { POOL.iter().find_map(empty) } else { None };
    let (connection, length) = idle
        .and_then(|connection| exchange(connection, request, passed, reply))
        .or_else(|| exchange(sockets::connect_to_session(state.door).ok()?, request, passed, reply))?;
    if is_owner {
        keep(connection);
    }
    Some(length)
}

/// Asks something whose reply is an errno only, or an errno and an address.
pub fn ask<T>(
    state: &State,
    request: &Request<'_>,
    passed: Option<i32>,
    read: impl FnOnce(i32, &[u8]) -> Option<T>,
) -> Option<T> {
    let mut reply = [0; MAX_REPLY];
    let length = ask_into(state, request, passed, &mut reply)?;
    let (errno, body) = decode_reply(reply.get(..length)?)?;
    read(errno, body)
}

fn exchange(connection: OwnedFd, request: &[u8], passed: Option<i32>, reply: &mut [u8]) -> Option<(OwnedFd, usize)> {
    sockets::send(connection.raw(), request, passed).ok()?;
    let length = sockets::receive(connection.raw(), reply).ok()?.len();
    (length > 0).then_some((connection, length))
}

/// Takes the connection out of a seat. None: there is none, or its descriptor is no longer ours.
fn empty(seat: &Seat) -> Option<OwnedFd> {
    let value = seat.fd.load(Acquire);
    if value == EMPTY || value == BUSY {
        return None;
    }
    seat.fd.compare_exchange(value, BUSY, AcqRel, Acquire).ok()?;
    let cookie = seat.cookie.load(Relaxed);
    seat.fd.store(EMPTY, Release);
    let fd = (value - 1) as i32;
    (sockets::cookie(fd) == Some(cookie)).then(|| OwnedFd::new(fd))
}

/// Puts a connection into a seat; closes it when all are taken.
fn keep(connection: OwnedFd) {
    let Some(cookie) = sockets::cookie(connection.raw()) else { return };
    for seat in &POOL {
        if seat.fd.compare_exchange(EMPTY, BUSY, AcqRel, Acquire).is_ok() {
            seat.cookie.store(cookie, Relaxed);
            seat.fd.store(connection.release() as u64 + 1, Release);
            return;
        }
    }
}
