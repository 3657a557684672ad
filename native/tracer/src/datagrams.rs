//! UDP with addresses in the call. Without them a socket sends to, and hears from, its one peer: nothing is trapped.
//!
//! Calls of several messages do one: the program asks for the rest, as it must in any case.

use std::cell::RefCell;

use inpod_ops::datagrams;
use inpod_ops::guard::guarded;
use inpod_rules::Addr;
use inpod_sys::sockaddr::{self, SockAddr, SOCKADDR_BYTES};
use inpod_sys::sockets::{self, Ready};
use inpod_sys::Errno;

use crate::call::{Call, Outcome};
use crate::message::{Message, LENGTH_AT};
use crate::sockets::{patiently, Waited};

/// Longest datagram (udp(7)).
const MAX_DATAGRAM: usize = 65536;

/// Control data of a datagram; more than there are kinds of it for UDP.
const MAX_CONTROL: u64 = 1024;

/// Returns from recvmmsg(2) after one message.
const WAIT_FOR_ONE: i32 = 0x10000;

pub fn sendto(call: &Call<'_>) -> Outcome {
    let Some(wanted) = call.address(4, 5) else { return Outcome::GoOn };
    let length = (call.argument(2) as usize).min(MAX_DATAGRAM);
    sent(call, &wanted, call.int(3), || {
        let mut data = vec![0; length];
        call.read(call.argument(1), &mut data).then(|| (data, Vec::new()))
    })
    .map_or(Outcome::GoOn, Outcome::from)
}

pub fn sendmsg(call: &Call<'_>) -> Outcome {
    message_sent(call, call.argument(1), call.int(2)).map_or(Outcome::GoOn, Outcome::from)
}

pub fn sendmmsg(call: &Call<'_>) -> Outcome {
    let first = call.argument(1);
    match if call.int(2) == 0 { None } else { message_sent(call, first, call.int(3)) } {
        None => Outcome::GoOn,
        Some(Waited::Done(Ok(sent))) => told_of_one(call, first, sent),
        Some(done) => done.into(),
    }
}

pub fn recvfrom(call: &Call<'_>) -> Outcome {
    let size = call.argument(2) as usize;
    received(call, size, call.int(3), |data, length, sender| {
        call.write(call.argument(1), data)?;
        call.give_address(call.argument(4), call.argument(5), sender)?;
        Ok(length)
    })
    .map_or(Outcome::GoOn, Outcome::from)
}

/// With a place for an address; musl's resolver takes answers so, and checks who they are from.
pub fn recvmsg(call: &Call<'_>) -> Outcome {
    message_received(call, call.argument(1), call.int(2)).map_or(Outcome::GoOn, Outcome::from)
}

pub fn recvmmsg(call: &Call<'_>) -> Outcome {
    let first = call.argument(1);
    match if call.int(2) == 0 { None } else { message_received(call, first, call.int(3) & !WAIT_FOR_ONE) } {
        None => Outcome::GoOn,
        Some(Waited::Done(Ok(received))) => told_of_one(call, first, received),
        Some(done) => done.into(),
    }
}

/// Says in the first of several messages how long it was; returns that it was one.
fn told_of_one(call: &Call<'_>, first: u64, length: usize) -> Outcome {
    call.write(first + LENGTH_AT, &(length as u32).to_ne_bytes()).map(|()| 1).into()
}

/// Sends the message at an address. None: the kernel is to.
fn message_sent(call: &Call<'_>, at: u64, flags: i32) -> Option<Waited<usize>> {
    let message = Message::read(call, at).filter(|message| message.name != 0)?;
    let mut name = [0; SOCKADDR_BYTES];
    let name = name.get_mut(..(message.name_room as usize).min(SOCKADDR_BYTES))?;
    let wanted = call.read(message.name, name).then(|| sockaddr::parse(name)).flatten()?;
    sent(call, &wanted, flags, || {
        let mut data = Vec::new();
        for (from, length) in message.parts(call)? {
            let start = data.len();
            data.resize(start + (length as usize).min(MAX_DATAGRAM - start), 0);
            call.read(from, data.get_mut(start..)?).then_some(())?;
        }
        let mut control = vec![0; message.control_length.min(MAX_CONTROL) as usize];
        call.read(message.control, &mut control).then_some((data, control))
    })
}

/// Sends what `content` gives, data and control data, by the relay of `wanted`. None: the kernel is to send.
fn sent(
    call: &Call<'_>,
    wanted: &Addr,
    flags: i32,
    content: impl FnOnce() -> Option<(Vec<u8>, Vec<u8>)>,
) -> Option<Waited<usize>> {
    let fd = call.fd(0).filter(|_| !call.caller().is_skipped())?;
    let to = match guarded(|| datagrams::send_to(call.state, fd.raw(), wanted))? {
        Ok(to) => SockAddr::new(&to),
        Err(error) => return Some(Waited::Done(Err(error))),
    };
    let (data, control) = content()?;
    let control = RefCell::new(control);
    let send = || sockets::send_datagram(fd.raw(), &data, &mut control.borrow_mut(), flags, &to);
    Some(if flags & libc::MSG_DONTWAIT == 0 {
        patiently(call, &fd, Ready::ToWrite, send)
    } else {
        Waited::Done(send())
    })
}

/// Receives the message at an address. None: the kernel is to.
fn message_received(call: &Call<'_>, at: u64, flags: i32) -> Option<Waited<usize>> {
    let message = Message::read(call, at).filter(|message| message.name != 0)?;
    let parts = message.parts(call)?;
    let size = parts.iter().map(|(_, length)| *length as usize).fold(0, usize::saturating_add);
    received(call, size, flags, |data, length, sender| {
        let mut rest = data;
        for (to, room) in &parts {
            let (part, others) = rest.split_at(rest.len().min(*room as usize));
            call.write(*to, part)?;
            rest = others;
        }
        message.tell(call, at, sender, length > size)?;
        Ok(length)
    })
}

/// Receives for a socket that has peers in the pod, and hands to `give`: the data; the length (of the whole datagram with
/// MSG_TRUNC) and the sender as the program is to see it. None: another kind of socket.
fn received(
    call: &Call<'_>,
    size: usize,
    flags: i32,
    give: impl Fn(&[u8], usize, &SockAddr) -> Result<usize, Errno>,
) -> Option<Waited<usize>> {
    let fd = call.fd(0)?;
    guarded(|| datagrams::is_known(call.state, fd.raw()))?;
    let room = RefCell::new(vec![0; size.min(MAX_DATAGRAM)]);
    let receive = || {
        let (length, real) = sockets::receive_now(fd.raw(), &mut room.borrow_mut(), flags)?;
        let sender = guarded(|| datagrams::sender(call.state, fd.raw(), &real.addr()?));
        let sender = sender.map_or(real, |sender| SockAddr::new(&sender));
        give(room.borrow().get(..length.min(size)).unwrap_or_default(), length, &sender)
    };
    Some(if flags & libc::MSG_DONTWAIT == 0 {
        patiently(call, &fd, Ready::ToRead, receive)
    } else {
        Waited::Done(receive())
    })
}

impl From<Waited<usize>> for Outcome {
    fn from(waited: Waited<usize>) -> Self {
        match waited {
            Waited::Done(done) => Self::Done(done.map(|length| length as i64)),
            Waited::NotYet => Self::Later,
        }
    }
}
