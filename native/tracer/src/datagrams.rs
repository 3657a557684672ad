//! UDP with addresses in the call. Without them a socket sends to, and hears from, its one peer: nothing is trapped.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use inpod_ops::datagrams;
use inpod_ops::guard::guarded;
use inpod_rules::Addr;
use inpod_sys::files::OwnedFd;
use inpod_sys::messages::{self, Received};
use inpod_sys::sockaddr::{self, SockAddr, SOCKADDR_BYTES};
use inpod_sys::sockets::{self, Ready};
use inpod_sys::Errno;

use crate::call::{Call, Outcome};
use crate::message::{Message, LENGTH_AT, MOST, ONE_OF_SEVERAL_BYTES};
use crate::sockets::{is_blocking, patiently, Waited};

/// Longest datagram (udp(7)).
const MAX_DATAGRAM: usize = 65536;

/// recvmmsg(2): once one message is there, none is waited for.
const WAIT_FOR_ONE: i32 = 0x10000;

/// Flags with which nothing is waited for.
const AT_ONCE: i32 = libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE;

pub fn sendto(call: &Call<'_>) -> Outcome {
    let Some(wanted) = call.address(4, 5) else { return Outcome::GoOn };
    let length = (call.argument(2) as usize).min(MAX_DATAGRAM);
    let content = || {
        let mut data = vec![0; length];
        call.read(call.argument(1), &mut data).then(|| (data, Vec::new()))
    };
    let Some((fd, to)) = relay_of(call, &wanted) else { return Outcome::GoOn };
    sent(call, &fd, to, call.int(3), content).map_or(Outcome::GoOn, Outcome::from)
}

pub fn sendmsg(call: &Call<'_>) -> Outcome {
    message_sent(call, call.argument(1), call.int(2), Others::AreTheKernels).map_or(Outcome::GoOn, Outcome::from)
}

pub fn sendmmsg(call: &Call<'_>) -> Outcome {
    let (first, count) = (call.argument(1), messages_of(call));
    if Message::read(call, first).is_none_or(|message| message.name == 0) || count == 0 {
        return Outcome::GoOn;
    }
    if !call.may_wait {
        // A question in the middle would have the messages before it sent twice.
        let is_udp = call.fd(0).is_some_and(|fd| sockets::is_udp(fd.raw()));
        return if is_udp { Outcome::Later } else { Outcome::GoOn };
    }
    several(call, |index, at| {
        let others = if count > 1 { Others::AreSent } else { Others::AreTheKernels };
        (index < count).then(|| message_sent(call, at, call.int(3), others)).flatten()
    })
}

pub fn recvfrom(call: &Call<'_>) -> Outcome {
    let size = call.argument(2) as usize;
    received(call, size, 0, call.int(3), |data, _, found, sender| {
        call.write(call.argument(1), data)?;
        call.give_address(call.argument(4), call.argument(5), sender)?;
        Ok(found.length)
    })
    .map_or(Outcome::GoOn, Outcome::from)
}

/// With a place for an address; musl's resolver takes answers so, and checks who they are from.
pub fn recvmsg(call: &Call<'_>) -> Outcome {
    message_received(call, call.argument(1), call.int(2)).map_or(Outcome::GoOn, Outcome::from)
}

pub fn recvmmsg(call: &Call<'_>) -> Outcome {
    let (first, count, flags) = (call.argument(1), messages_of(call), call.int(3));
    if Message::read(call, first).is_none_or(|message| message.name == 0) || count == 0 {
        return Outcome::GoOn;
    }
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    if guarded(|| datagrams::is_known(call.state, fd.raw())).is_none() {
        return Outcome::GoOn;
    }
    if !call.may_wait && count > 1 && flags & (WAIT_FOR_ONE | AT_ONCE) == 0 {
        // Waiting in the middle would lose the messages before it.
        return Outcome::Later;
    }
    let end = time_limit(call, 4).map(|limit| Instant::now() + limit);
    several(call, |index, at| {
        // Looked at after each message (recvmmsg(2), "BUGS").
        let is_late = index > 0 && end.is_some_and(|end| Instant::now() >= end);
        let waits = if index > 0 && flags & WAIT_FOR_ONE != 0 { libc::MSG_DONTWAIT } else { 0 };
        let flags = flags & !WAIT_FOR_ONE | waits;
        (index < count && !is_late).then(|| message_received(call, at, flags)).flatten()
    })
}

fn messages_of(call: &Call<'_>) -> usize {
    (call.argument(2) as u32 as usize).min(MOST)
}

/// Reads a `struct timespec`; None: NULL.
fn time_limit(call: &Call<'_>, index: usize) -> Option<Duration> {
    let mut bytes = [0; size_of::<libc::timespec>()];
    let at = call.argument(index);
    let word = |bytes: &[u8], at| Some(i64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    (at != 0 && call.read(at, &mut bytes)).then_some(())?;
    Some(Duration::new(word(&bytes, 0)?.try_into().ok()?, word(&bytes, 8)?.try_into().ok()?))
}

/// Has `one` do messages until there is none or one fails, and says in each how long it was. None of `one` at the first:
/// all of the call is the kernel's.
fn several(call: &Call<'_>, one: impl Fn(usize, u64) -> Option<Waited<usize>>) -> Outcome {
    let mut done = 0;
    loop {
        let at = call.argument(1) + done as u64 * ONE_OF_SEVERAL_BYTES;
        let length = match one(done, at) {
            Some(Waited::Done(Ok(length))) => length,
            Some(Waited::Done(Err(error))) if done == 0 => return Outcome::Done(Err(error)),
            Some(Waited::NotYet) if done == 0 => return Outcome::Later,
            None if done == 0 => return Outcome::GoOn,
            _ => return Outcome::Done(Ok(done as i64)),
        };
        if let Err(error) = call.write(at + LENGTH_AT, &(length as u32).to_ne_bytes()) {
            return Outcome::Done(if done == 0 { Err(error) } else { Ok(done as i64) });
        }
        done += 1;
    }
}

/// What becomes of messages to addresses that are not the pod's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    AreTheKernels,
    /// As they are, by us: what comes with them is the pod's.
    AreSent,
}

/// Sends the message at an address. None: the kernel is to.
fn message_sent(call: &Call<'_>, at: u64, flags: i32, others: Others) -> Option<Waited<usize>> {
    let message = Message::read(call, at).filter(|message| message.name != 0)?;
    let mut name = [0; SOCKADDR_BYTES];
    let name = name.get_mut(..(message.name_room as usize).min(SOCKADDR_BYTES))?;
    let wanted = call.read(message.name, name).then(|| sockaddr::parse(name)).flatten()?;
    let (fd, to) = match relay_of(call, &wanted) {
        Some(relay) => relay,
        None if others == Others::AreSent => (call.fd(0)?, Ok(SockAddr::copied(name))),
        None => return None,
    };
    sent(call, &fd, to, flags, || {
        let mut data = Vec::new();
        for (from, length) in message.parts(call)? {
            let start = data.len();
            data.resize(start + (length as usize).min(MAX_DATAGRAM - start), 0);
            call.read(from, data.get_mut(start..)?).then_some(())?;
        }
        Some((data, message.control(call)?))
    })
}

/// Returns the socket, and where what is sent to an address of the pod really goes. None: it is not the pod's.
fn relay_of(call: &Call<'_>, wanted: &Addr) -> Option<(OwnedFd, Result<SockAddr, Errno>)> {
    let fd = call.fd(0).filter(|_| !call.caller().is_skipped())?;
    let to = guarded(|| datagrams::send_to(call.state, fd.raw(), wanted))?;
    Some((fd, to.map(|to| SockAddr::new(&to))))
}

/// Sends what `content` gives, data and control data. None: they cannot be read, the kernel will say.
fn sent(
    call: &Call<'_>,
    fd: &OwnedFd,
    to: Result<SockAddr, Errno>,
    flags: i32,
    content: impl FnOnce() -> Option<(Vec<u8>, Vec<u8>)>,
) -> Option<Waited<usize>> {
    let to = match to {
        Ok(to) => to,
        Err(error) => return Some(Waited::Done(Err(error))),
    };
    let (data, control) = content()?;
    let control = RefCell::new(control);
    let now = flags | libc::MSG_DONTWAIT;
    let send = || messages::send_datagram(fd.raw(), &data, &mut control.borrow_mut(), now, &to);
    Some(if flags & libc::MSG_DONTWAIT == 0 {
        patiently(call, fd, Ready::ToWrite, || (send(), is_blocking(fd)))
    } else {
        Waited::Done(send())
    })
}

/// Receives the message at an address. None: the kernel is to.
fn message_received(call: &Call<'_>, at: u64, flags: i32) -> Option<Waited<usize>> {
    let message = Message::read(call, at)?;
    if message.name == 0 && at == call.argument(1) {
        return None;
    }
    let parts = message.parts(call)?;
    let size = parts.iter().map(|(_, length)| *length as usize).fold(0, usize::saturating_add);
    received(call, size, message.control_room(), flags, |data, control, found, sender| {
        let mut rest = data;
        for (to, room) in &parts {
            let (part, others) = rest.split_at(rest.len().min(*room as usize));
            call.write(*to, part)?;
            rest = others;
        }
        message.tell(call, at, sender, control, found)?;
        Ok(found.length)
    })
}

/// Receives for a socket that has peers in the pod, and hands to `give`: data, control data, what came with them, and the
/// sender as the program is to see it. None: another kind of socket.
fn received(
    call: &Call<'_>,
    size: usize,
    control_room: usize,
    flags: i32,
    give: impl Fn(&[u8], &[u8], &Received, &SockAddr) -> Result<usize, Errno>,
) -> Option<Waited<usize>> {
    let fd = call.fd(0)?;
    guarded(|| datagrams::is_known(call.state, fd.raw()))?;
    let room = RefCell::new((vec![0; size.min(MAX_DATAGRAM)], vec![0; control_room]));
    let receive = || {
        let (data, control) = &mut *room.borrow_mut();
        let found = messages::receive_now(fd.raw(), data, control, flags)?;
        let sender = guarded(|| datagrams::sender(call.state, fd.raw(), &found.sender.addr()?));
        let told = sender.map(|sender| SockAddr::new(&sender));
        let data = data.get(..found.length.min(size)).unwrap_or_default();
        give(data, control, &found, told.as_ref().unwrap_or(&found.sender))
    };
    Some(if flags & AT_ONCE == 0 {
        patiently(call, &fd, Ready::ToRead, || (receive(), is_blocking(&fd)))
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
