//! UDP with addresses in the call. Without them a socket sends to, and hears from, its one peer: nothing is trapped.

use std::cell::RefCell;

use inpod_ops::datagrams;
use inpod_ops::guard::guarded;
use inpod_sys::sockaddr::SockAddr;
use inpod_sys::sockets::{self, Ready};
use inpod_sys::Errno;

use crate::call::{Call, Outcome};
use crate::sockets::{patiently, Waited};

/// Longest datagram (udp(7)).
const MAX_DATAGRAM: usize = 65536;

// struct msghdr and struct iovec of 64-bit machines.
const MESSAGE_BYTES: usize = size_of::<libc::msghdr>();
const NAME_LENGTH_AT: u64 = 8;
const CONTROL_LENGTH_AT: u64 = 40;
const FLAGS_AT: u64 = 48;
const PART_BYTES: usize = size_of::<libc::iovec>();

/// UIO_MAXIOV of the kernel.
const MAX_PARTS: usize = 1024;

pub fn sendto(call: &Call<'_>) -> Outcome {
    let (Some(wanted), Some(fd)) = (call.address(4, 5), call.fd(0)) else { return Outcome::GoOn };
    if call.caller().is_skipped() {
        return Outcome::GoOn;
    }
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
    let size = call.argument(2) as usize;
    let Some((data, length, peer)) = received(call, size, call.int(3)) else { return Outcome::GoOn };
    let length = match length {
        Waited::Done(Ok(length)) => length,
        Waited::Done(Err(error)) => return Outcome::Done(Err(error)),
        Waited::NotYet => return Outcome::Later,
    };
    let given = call
        .write(call.argument(1), data.get(..length.min(data.len())).unwrap_or_default())
        .and_then(|()| call.give_address(call.argument(4), call.argument(5), &peer));
    given.map(|()| length as i64).into()
}

/// With a place for an address; musl's resolver takes answers so, and checks who they are from.
pub fn recvmsg(call: &Call<'_>) -> Outcome {
    let at = call.argument(1);
    let Some(message) = Message::read(call, at).filter(|message| message.name != 0) else { return Outcome::GoOn };
    let Some(parts) = message.parts(call) else { return Outcome::GoOn };
    let size = parts.iter().map(|(_, length)| *length as usize).fold(0, usize::saturating_add);
    let Some((data, length, peer)) = received(call, size, call.int(2)) else { return Outcome::GoOn };
    let length = match length {
        Waited::Done(Ok(length)) => length,
        Waited::Done(Err(error)) => return Outcome::Done(Err(error)),
        Waited::NotYet => return Outcome::Later,
    };
    let mut rest = data.get(..length.min(data.len())).unwrap_or_default();
    for (to, room) in parts {
        let (part, others) = rest.split_at(rest.len().min(room as usize));
        if let Err(error) = call.write(to, part) {
            return Outcome::Done(Err(error));
        }
        rest = others;
    }
    message.tell(call, at, &peer, length > data.len()).map(|()| length as i64).into()
}

/// Receives for a connected socket of the pod: the data, the length (of the whole datagram with MSG_TRUNC), and the
/// sender. None: another kind of socket.
fn received(call: &Call<'_>, size: usize, flags: i32) -> Option<(Vec<u8>, Waited<usize>, SockAddr)> {
    let fd = call.fd(0)?;
    let peer = guarded(|| datagrams::peer(call.state, fd.raw()))?;
    let room = RefCell::new(vec![0; size.min(MAX_DATAGRAM)]);
    let receive = || sockets::receive_now(fd.raw(), &mut room.borrow_mut(), flags);
    let done = if flags & libc::MSG_DONTWAIT != 0 {
        Waited::Done(receive())
    } else {
        patiently(call, &fd, Ready::ToRead, receive)
    };
    Some((room.into_inner(), done, SockAddr::new(&peer)))
}

/// `struct msghdr` of recvmsg(2), as far as it concerns us.
struct Message {
    name: u64,
    name_room: u32,
    parts_at: u64,
    part_count: u64,
}

impl Message {
    fn read(call: &Call<'_>, at: u64) -> Option<Self> {
        let mut bytes = [0; MESSAGE_BYTES];
        if !call.read(at, &mut bytes) {
            return None;
        }
        let word = |at| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self { name: word(0)?, name_room: word(8)? as u32, parts_at: word(16)?, part_count: word(24)? })
    }

    /// Addresses and lengths of its parts; None when they cannot be read, or are more than the kernel takes.
    fn parts(&self, call: &Call<'_>) -> Option<Vec<(u64, u64)>> {
        let count = usize::try_from(self.part_count).ok().filter(|count| *count <= MAX_PARTS)?;
        let mut bytes = vec![0; count * PART_BYTES];
        if !call.read(self.parts_at, &mut bytes) {
            return None;
        }
        let word = |bytes: &[u8], at| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        bytes.chunks_exact(PART_BYTES).map(|part| Some((word(part, 0)?, word(part, 8)?))).collect()
    }

    /// Writes what the kernel would: the sender, no control data, and whether the datagram was cut.
    fn tell(&self, call: &Call<'_>, at: u64, sender: &SockAddr, is_cut: bool) -> Result<(), Errno> {
        let name = sender.as_bytes();
        call.write(self.name, name.get(..name.len().min(self.name_room as usize)).unwrap_or_default())?;
        call.write(at + NAME_LENGTH_AT, &sender.length().to_ne_bytes())?;
        call.write(at + CONTROL_LENGTH_AT, &0u64.to_ne_bytes())?;
        call.write(at + FLAGS_AT, &(if is_cut { libc::MSG_TRUNC } else { 0 }).to_ne_bytes())
    }
}
