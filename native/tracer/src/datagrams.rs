//! UDP with addresses in the call. Without them a socket sends to, and hears from, its one peer: nothing is trapped.

use std::cell::RefCell;

use inpod_ops::datagrams;
use inpod_ops::guard::guarded;
use inpod_sys::sockaddr::SockAddr;
use inpod_sys::sockets::{self, Ready};

use crate::call::{Call, Outcome};
use crate::sockets::{patiently, Waited};

/// Longest datagram (udp(7)).
const MAX_DATAGRAM: usize = 65536;

pub fn sendto(call: &Call<'_>) -> Outcome {
    let (Some(wanted), Some(fd)) = (call.address(4, 5), call.fd(0)) else { return Outcome::GoOn };
    match guarded(|| datagrams::send_to(call.state, fd.raw(), &wanted)) {
        None => return Outcome::GoOn,
        Some(Err(error)) => return Outcome::Done(Err(error)),
        Some(Ok(())) => {}
    }
    let length = call.argument(2) as usize;
    let mut data = vec![0; length.min(MAX_DATAGRAM)];
    if !call.read(call.argument(1), &mut data) {
        return Outcome::GoOn;
    }
    match patiently(call, &fd, Ready::ToWrite, || sockets::send_some(fd.raw(), &data, call.int(3))) {
        Waited::Done(done) => Outcome::Done(done.map(|sent| sent as i64)),
        Waited::NotYet => Outcome::Later,
    }
}

pub fn recvfrom(call: &Call<'_>) -> Outcome {
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    let Some(peer) = guarded(|| datagrams::peer(call.state, fd.raw())) else { return Outcome::GoOn };
    let room = RefCell::new(vec![0; (call.argument(2) as usize).min(MAX_DATAGRAM)]);
    let flags = call.int(3);
    let receive = || sockets::receive_now(fd.raw(), &mut room.borrow_mut(), flags);
    let done = if flags & libc::MSG_DONTWAIT != 0 {
        Waited::Done(receive())
    } else {
        patiently(call, &fd, Ready::ToRead, receive)
    };
    let length = match done {
        Waited::Done(Ok(length)) => length,
        Waited::Done(Err(error)) => return Outcome::Done(Err(error)),
        Waited::NotYet => return Outcome::Later,
    };
    let room = room.borrow();
    let given = call
        .write(call.argument(1), room.get(..length.min(room.len())).unwrap_or_default())
        .and_then(|()| call.give_address(call.argument(4), call.argument(5), &SockAddr::new(&peer)));
    given.map(|()| length as i64).into()
}
