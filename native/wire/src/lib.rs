//! What the layer asks its session, as bytes: one datagram each way.
//!
//! The twin of src/inpod/protocol/layer, which describes the format; contracts/layer-messages.json holds examples
//! that both test. Encodes into memory of the caller: nothing here allocates.

#![no_std]
#![forbid(unsafe_code)]

use inpod_rules::addr::ADDR_BYTES;
use inpod_rules::{Addr, Family};

/// Bytes that any request fits in: a path of PATH_MAX with its head, or a warning.
pub const MAX_REQUEST: usize = 4096 + 64;

/// Bytes that the reply to RESOLVE fits in: 255 addresses and a name.
pub const MAX_RESOLVED: usize = 255 * 16 + 1024 + 16;

/// Bytes that the reply to QUESTION fits in: the longest message of DNS.
pub const MAX_ANSWER: usize = 4 + 65535;

/// Bytes that any other reply fits in.
pub const MAX_REPLY: usize = 64;

/// What a FILE request needs to be in the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The entry itself.
    Lstat = 1,
    /// What it leads to.
    Stat = 2,
    /// The content of the file it leads to.
    Read = 3,
    /// All members of the directory it leads to.
    List = 4,
    /// As [`Want::Read`], of a program that is to be executed.
    Execute = 5,
}

/// What the layer asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A TCP or UDP socket is about to connect; it comes along as a descriptor.
    Connect {
        /// SO_COOKIE of the socket.
        cookie: u64,
        /// Where the program wants to go.
        to: Addr,
        /// Whether it leaves from the pod depends on a name: the session is to look.
        is_undecided: bool,
        /// It is about to send a datagram there, and stays unconnected.
        is_send: bool,
    },
    /// The address is taken on this machine.
    Bind {
        /// What the program asked for.
        wanted: Addr,
        /// Whether the socket has SO_REUSEPORT.
        reuse_port: bool,
        /// And is one of UDP.
        is_udp: bool,
    },
    /// A socket listens, or a UDP socket is bound.
    Listen {
        /// What the program asked for.
        wanted: Addr,
        /// Where it really listens.
        real: Addr,
        /// Not to be subscribed.
        is_local: bool,
        /// Of which kind it is.
        is_udp: bool,
    },
    /// A host's addresses.
    Resolve {
        /// None: both.
        family: Option<Family>,
        /// As the program gave it.
        name: &'a [u8],
    },
    /// A unix socket of streams or messages is about to connect; it comes along as a descriptor. An errno of -1: to this machine's.
    Unix {
        /// As the program gave it, absolute.
        path: &'a [u8],
    },
    /// The name of an address.
    Name {
        /// IPv4 as ::ffff:a.b.c.d.
        ip: [u8; 16],
    },
    /// What the pod's name servers answer.
    Question {
        /// Whether the name is looked for as the pod's search list says.
        searches: bool,
        /// A query of DNS.
        message: &'a [u8],
    },
    /// A path is to be in the replica.
    File {
        /// How much of it.
        want: Want,
        /// Absolute, normalised.
        path: &'a [u8],
    },
    /// A program runs outside the pod.
    Warn {
        /// [`inpod_rules::elf::Why::word`], or as src/inpod/protocol/layer says.
        why: &'static str,
        /// Of the program.
        path: &'a [u8],
    },
    /// The asking process is about to become a traced program.
    Trace {
        /// The number of its filter's listener, in it; -1 when there is none.
        listener: i32,
        /// Why not; 0 when there is one.
        errno: i32,
        /// Of the program.
        path: &'a [u8],
    },
}

/// Returns the datagram of a request, in `room`. None when it does not fit.
pub fn encode<'r>(request: &Request<'_>, room: &'r mut [u8]) -> Option<&'r [u8]> {
    let mut to = Writer { room, at: 0 };
    match *request {
        Request::Connect { cookie, to: address, is_undecided, is_send } => {
            let flags = flags(is_undecided, is_send);
            to.kind(1)?.put(&cookie.to_le_bytes())?.put(&address.to_bytes())?.put(&[flags])?;
        }
        Request::Bind { wanted, reuse_port, is_udp } => {
            to.kind(2)?.put(&wanted.to_bytes())?.put(&[flags(reuse_port, is_udp)])?;
        }
        Request::Listen { wanted, real, is_local, is_udp } => {
            to.kind(3)?.put(&wanted.to_bytes())?.put(&real.to_bytes())?.put(&[flags(is_local, is_udp)])?;
        }
        Request::Resolve { family, name } => {
            let family = match family {
                None => 0,
                Some(Family::V4) => 4,
                Some(Family::V6) => 6,
            };
            to.kind(4)?.put(&[family])?.text(name)?;
        }
        Request::Unix { path } => {
            to.kind(9)?.text(path)?;
        }
        Request::Name { ip } => {
            to.kind(8)?.put(&ip)?;
        }
        Request::Question { searches, message } => {
            to.kind(10)?.put(&[u8::from(searches)])?.text(message)?;
        }
        Request::File { want, path } => {
            to.kind(5)?.put(&[want as u8])?.text(path)?;
        }
        Request::Warn { why, path } => {
            to.kind(6)?.text(why.as_bytes())?.text(path)?;
        }
        Request::Trace { listener, errno, path } => {
            to.kind(7)?.put(&listener.to_le_bytes())?.put(&errno.to_le_bytes())?.text(path)?;
        }
    }
    let Writer { room, at } = to;
    room.get(..at)
}

fn flags(first: bool, second: bool) -> u8 {
    u8::from(first) | u8::from(second) << 1
}

/// Returns the errno of a reply and the rest of it. None: cut short.
pub fn decode_reply(data: &[u8]) -> Option<(i32, &[u8])> {
    let (errno, body) = data.split_first_chunk::<4>()?;
    Some((i32::from_le_bytes(*errno), body))
}

/// Returns the address in the body of a reply to CONNECT.
pub fn decode_redirect(body: &[u8]) -> Option<Addr> {
    Addr::from_bytes(body.first_chunk::<ADDR_BYTES>()?)
}

/// The body of a reply to RESOLVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    addresses: &'a [u8],
    /// Empty when unknown.
    pub canonical: &'a [u8],
}

impl<'a> Resolved<'a> {
    /// In the order of the answer.
    pub fn addresses(&self) -> impl Iterator<Item = [u8; 16]> + Clone + 'a {
        self.addresses.chunks_exact(16).filter_map(|bytes| bytes.try_into().ok())
    }
}

/// Reads the body of a reply to RESOLVE or NAME. None: cut short.
pub fn decode_resolved(body: &[u8]) -> Option<Resolved<'_>> {
    let (count, rest) = body.split_first()?;
    let (addresses, rest) = rest.split_at_checked(usize::from(*count) * 16)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let canonical = rest.get(..u32::from_le_bytes(*length) as usize)?;
    Some(Resolved { addresses, canonical })
}

struct Writer<'r> {
    room: &'r mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn kind(&mut self, kind: u16) -> Option<&mut Self> {
        self.put(&kind.to_le_bytes())
    }

    fn text(&mut self, text: &[u8]) -> Option<&mut Self> {
        let length = u32::try_from(text.len()).ok()?;
        self.put(&length.to_le_bytes())?.put(text)
    }

    fn put(&mut self, bytes: &[u8]) -> Option<&mut Self> {
        let end = self.at + bytes.len();
        self.room.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(self)
    }
}
